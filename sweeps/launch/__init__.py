"""A sweep from request to outcome."""
