"""Search spaces: YAML files read into a checked SearchSpace."""
