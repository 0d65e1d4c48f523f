"""`hcl demo`: a small study on the bundled digits, without a download."""

from typing import Annotated

import typer

from sweeps.commands.options import STORAGE, Storage, say
from sweeps.commands.study import make_request, run
from sweeps.space.bundled import bundled_files

STUDY = "split_digits-study"

NumTrials = Annotated[int | None, typer.Option(help="Trials of each search.", min=1)]
Pairs = Annotated[
    int | None, typer.Option(help="Fresh seeds, each with its own order of tasks.", min=2)
]


def demo(num_trials: NumTrials = None, pairs: Pairs = None, storage: Storage = STORAGE) -> None:
    """Compare hypernetworks with SI, online EWC and fine-tuning on the bundled digits.

    It is `hcl study split_digits-study`: a search for each method, the best of each on fresh seeds
    and orders of tasks, exact paired tests. Downloads nothing; takes a minute or two on two CPU
    cores. After an interruption the same command resumes it.

    \b
    Examples:
      hcl demo
      hcl demo --num-trials 1 --pairs 2

    \b
    Exit status: 0 complete, 1 some pairs have no result, 2 something to correct, 3 Ray itself
    died, 130 interrupted.
    """
    changes = [("effort/trials", num_trials), ("confirmation/pairs", pairs)]
    given = [f"{key}={value}" for key, value in changes if value is not None]
    path = bundled_files("study")[STUDY]
    request = make_request(path, STUDY, given, storage=storage)
    say(request.spec.description)
    run(request)
