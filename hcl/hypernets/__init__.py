"""Hypernetworks and the regularizer that keeps what they generate. Start with plain.py."""

from hcl.hypernets.candidate_adam import CandidateAdam
from hcl.hypernets.grouped import GroupedTaskHypernet
from hcl.hypernets.hypernet import Hypernet
from hcl.hypernets.output_regularizer import OutputRegularizer
from hcl.hypernets.task_hypernet import TaskHypernet

__all__ = ["CandidateAdam", "GroupedTaskHypernet", "Hypernet", "OutputRegularizer", "TaskHypernet"]
