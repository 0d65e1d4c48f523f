"""The commands of `hcl`. Their functions import torch, Ray, Optuna and MLflow themselves.

Nowhere else are imports lazy: `hcl --help`, `hcl validate` and mistakes in arguments must answer
at once.
"""
