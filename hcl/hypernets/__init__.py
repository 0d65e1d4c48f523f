"""Hypernetworks and the regularizer that keeps what they generate."""

from hcl.hypernets.hypernet import Hypernet
from hcl.hypernets.lookahead import CandidateAdam
from hcl.hypernets.output_regularizer import OutputRegularizer

__all__ = ["CandidateAdam", "Hypernet", "OutputRegularizer"]
