"""Statistics of results: Welch's interval, paired tests, rank correlations."""
