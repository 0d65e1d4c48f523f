"""Finished runs -> tables."""
