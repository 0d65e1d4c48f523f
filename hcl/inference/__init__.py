"""Infer which task an input is from."""
