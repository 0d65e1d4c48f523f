"""What runs in a Ray worker."""
