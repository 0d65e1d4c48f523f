"""Replicas, that is seeds of one configuration, trained together. Made for GPUs."""

from hcl.replicas.learner import Replica, run_replicas

__all__ = ["Replica", "run_replicas"]
