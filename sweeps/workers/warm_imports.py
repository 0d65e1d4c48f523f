"""What torch, Ray, Optuna and MLflow cost a process beside their imports."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """A stretch that mostly imports, in three quarters of its time.

    Imports make half a million objects that stay. The garbage collector looks at them again and
    again while they come, whenever it collects later, and for 2 s when the process ends: here it
    rests, and what is there at the end it never looks at again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
