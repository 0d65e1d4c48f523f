"""Trained learners as objects: they predict, give their networks away, and live in one file."""

from hcl.learners.find import load
from hcl.learners.learner import Answers, LearnedTask, Learner

__all__ = ["Answers", "LearnedTask", "Learner", "load"]
