"""The Optuna study, which is the source of truth of a search."""
