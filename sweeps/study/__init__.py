"""A sweep's Optuna study, the source of truth of its search."""
