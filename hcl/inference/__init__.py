"""The choice of the task that an input is from, where nobody says."""
