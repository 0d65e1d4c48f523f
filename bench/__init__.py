"""Benchmarks of speed and memory, mostly as ratios against a plain implementation."""
