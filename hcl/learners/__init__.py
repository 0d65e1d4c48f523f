"""Trained learners as objects: they predict, give their networks away, and live in one file."""

from hcl.learners.learner import Answers, LearnedTask, Learner
from hcl.learners.load import load

__all__ = ["Answers", "LearnedTask", "Learner", "load"]
