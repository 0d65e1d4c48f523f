"""Trainings as Ray workers run them, and `hcl run` too."""
