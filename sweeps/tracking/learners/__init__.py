"""Trained learners as MLflow's logged models, which `mlflow models serve` serves."""
