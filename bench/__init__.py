"""Speed, as ratios against a plain implementation within one process."""
