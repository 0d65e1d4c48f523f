"""A search space: YAML -> SearchSpace."""
