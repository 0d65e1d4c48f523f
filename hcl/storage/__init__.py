"""Storage: checkpoints, locks, atomic writes, classifiers that trials share."""
