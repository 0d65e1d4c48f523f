"""MLflow's environment variables and log levels, set when this package is imported.

What the user has set stays.
"""

import logging
import os
import warnings

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for every run that ends
}

# MLflow announces every migration step of a new database, and logs the stack trace of every
# error that it also raises. That is noise to a user.
LOG_LEVELS = {"alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}

# MLflow warns of its own classes when its models are imported.
warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType")

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
for _name, _level in LOG_LEVELS.items():
    logging.getLogger(_name).setLevel(_level)
