"""Hypernetworks and the regularizer that keeps what they generate. Start with plain.py.

To try another regularizer, edit output_regularizer.py and train with `train/kernels: plain`; it is
the same for the other clear files. tests/kernels/test_fast_parts.py then names each part of
hcl/kernels that no longer agrees and has to follow, or to go.
"""

from hcl.hypernets.candidate_adam import CandidateAdam
from hcl.hypernets.grouped import GroupedTaskHypernet
from hcl.hypernets.hypernet import Hypernet
from hcl.hypernets.output_regularizer import HeadMask, OutputRegularizer
from hcl.hypernets.task_hypernet import TaskHypernet

__all__ = [
    "CandidateAdam",
    "GroupedTaskHypernet",
    "HeadMask",
    "Hypernet",
    "OutputRegularizer",
    "TaskHypernet",
]
