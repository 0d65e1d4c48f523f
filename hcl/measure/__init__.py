"""What a trial will cost, and what a trained hypernetwork has learned."""
