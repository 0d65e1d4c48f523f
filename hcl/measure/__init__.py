"""Memory and time that a trial will need, and the embedding space of a trained hypernetwork."""
