"""The same numbers, sooner: optional reading."""
