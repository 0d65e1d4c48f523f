"""Trained learners as objects: they predict, export their networks, and are saved in one file."""

from hcl.learners.find import load
from hcl.learners.learner import Answers, LearnedTask, Learner

__all__ = ["Answers", "LearnedTask", "Learner", "load"]
