"""Training of one trial: the loop is in `learner.py`."""
