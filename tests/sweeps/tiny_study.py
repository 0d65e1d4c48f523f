"""A tiny study, and outcomes of it whose accuracies a test decides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcl.results import Result
from sweeps.comparison.plan import Part, make_plan
from sweeps.comparison.run import Outcome, Spent, StudyRequest
from sweeps.comparison.study_file import StudySpec, parse_study
from sweeps.launch.confirm import Chosen
from sweeps.records.folder import SweepFolder
from sweeps.space.yaml_file import parse_yaml

TEXT = """
description: tiny
benchmarks: [{name: split_digits, num_tasks: 3}]
scenarios: [task]
effort: {trials: 2}
confirmation: {pairs: 3}
trial:
  benchmark: {val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  train: {iterations: 10, batch_size: 16}
sweep: {sampler: random}
methods:
  si:
    trial: {method/name: si}
    search: {method/c: {type: float, low: 0.1, high: 10.0, log: true}}
  finetune:
    trial: {method/name: finetune, train/iterations: 999}
    search: {train/lr: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}}
"""


def document(**changes: Any) -> dict[str, Any]:
    return {**parse_yaml(TEXT), **changes}


def study(**changes: Any) -> StudySpec:
    return parse_study(document(**changes), "tiny")


def request(spec: StudySpec, storage: Path = Path("nowhere")) -> StudyRequest:
    return StudyRequest(spec, tuple(make_plan(spec)), SweepFolder(storage, spec.name))


def outcomes(
    spec: StudySpec, accuracies: dict[str, dict[int, float]], parts: Sequence[Part] = ()
) -> list[Outcome]:
    """Make outcomes as if each method had these test accuracies (fractions), by seed."""
    found = []
    for part in parts or make_plan(spec):
        (params,) = part.space.corners(0)
        results = {
            seed: Result(
                part.confirmation(params, seed).to_dict(), {}, {},
                {f"test/{part.scenario}/average_accuracy": value, "wall_seconds": 36.0},
                "digest",
            )
            for seed, value in accuracies[part.method].items()
        }  # fmt: skip
        chosen = Chosen(1, (0.9,), params)
        found.append(Outcome(part, chosen, Spent(2, 0, 0, 0.5, 1), results))
    return found
