"""Keys of what a trial reports to Ray, in a module that imports neither Ray nor Optuna."""

OBJECTIVE = "objective"
VALUES = "values"  # one for each objective, at the end
TASKS_LEARNED = "tasks_learned"
NUM_TASKS = "num_tasks"
FAILURE = "failure"
