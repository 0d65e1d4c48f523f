"""Seeds of one configuration trained as a batch, for GPUs."""

from hcl.replicas.batch_learner import Replica, run_replicas

__all__ = ["Replica", "run_replicas"]
