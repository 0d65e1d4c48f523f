"""Faster code for the same numbers: optional reading."""
