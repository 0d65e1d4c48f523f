"""The plan of a study: a sweep for each method, benchmark and scenario, then confirmations."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcl.config import ConfigError, TrialConfig
from sweeps.comparison.protocol import Settings, confirmed, searched
from sweeps.comparison.study_file import StudySpec, benchmark_name
from sweeps.space import search_space
from sweeps.space.search_space import SearchSpace

Training = tuple[str, TrialConfig, int]  # name, configuration, how many like it

REPLACED = ("benchmark", "scenario", "eval_scenarios")  # of a method's own search space


@dataclass(frozen=True)
class Part:
    """A method on one benchmark in one scenario: a sweep, and the confirmation of its best.

    Attributes:
        row: the benchmark and the scenario, in words; methods are compared within it.
        method: name of the method in the study.
        space: what its sweep searches.
        benchmarks: pair's seed -> benchmark settings of the confirmation.
    """

    row: str
    method: str
    scenario: str
    space: SearchSpace
    benchmarks: dict[int, Settings]

    def confirmation(self, params: dict[str, Any], seed: int) -> TrialConfig:
        """Build the training that confirms a configuration of the search on one pair.

        Raises:
            ConfigError: the configuration does not fit the benchmark that it is confirmed on.
        """
        found = self.space.trial_config(params, seed).to_dict()
        own = {key: value for key, value in found.items() if not key.startswith("benchmark/")}
        own.pop("code", None)
        return TrialConfig.from_dict({**own, **self.benchmarks[seed]})


def make_plan(spec: StudySpec) -> list[Part]:
    """List the parts of a study, with everything checked that needs no data.

    Raises:
        ConfigError: every mistake, each with the part that it is in.
    """
    parts, errors = [], []
    for benchmark in spec.benchmarks:
        for scenario in spec.scenarios:
            for method in spec.methods:
                try:
                    parts.append(_make_part(spec, benchmark, scenario, method))
                except ConfigError as error:
                    errors += [f"methods.{method}, {scenario}: {text}" for text in error.errors]
    if errors:
        raise ConfigError(list(dict.fromkeys(errors)))
    used = set(parts[0].space.sweep.seeds) & set(spec.confirmation.seeds)
    if used:
        raise ConfigError(
            f"confirmation: the searches use the seeds {', '.join(map(str, sorted(used)))} too;"
            " set confirmation.first_seed to another one"
        )
    return parts


def expected_trainings(
    spec: StudySpec, parts: Sequence[Part], todo: Collection[str]
) -> Iterator[Training]:
    """Yield the trainings of a study that has not finished its searches, to estimate their cost.

    What a search will choose is not known. The points that it is given stand for it, or both ends
    of its ranges, in equal shares. Searches that core-hours end are left out.

    Args:
        spec: the study.
        parts: its plan.
        todo: names of the sweeps that are still to run.
    """
    left = set(todo) if spec.effort.trials else set()
    for part in parts:
        name, space = f"{part.method} {part.scenario}", part.space
        points = space.stored_points() or [*space.corners(0), *space.corners(-1)]
        if space.name in left:
            left.remove(space.name)
            trials = spec.effort.trials * len(space.sweep.seeds)
            for params, count in _shared_out(points, trials):
                yield name, space.trial_config(params, space.sweep.seeds[0]), count
        for params, count in _shared_out(points, spec.confirmation.pairs):
            yield name, part.confirmation(params, spec.confirmation.first_seed), count


def _shared_out(
    points: Sequence[dict[str, Any]], count: int
) -> Iterator[tuple[dict[str, Any], int]]:
    share, rest = divmod(count, len(points))
    for index, point in enumerate(points[:count]):
        yield point, share + (index < rest)


def _make_part(spec: StudySpec, benchmark: Settings, scenario: str, method: str) -> Part:
    shared = {key: value for key, value in spec.trial.items() if key.startswith("benchmark/")}
    whole = {**shared, **benchmark}
    settings = searched(whole, spec.protocol)
    space = _space(spec, settings, scenario, method)
    orders = spec.confirmation.orders
    benchmarks = {
        seed: confirmed(whole, spec.protocol, orders, seed) for seed in spec.confirmation.seeds
    }
    seed = spec.confirmation.first_seed
    config = TrialConfig.from_dict({**benchmarks[seed], "method/name": "finetune"}).benchmark
    name = " ".join(Path(word).name for word in config.name.split(" "))  # files without folders
    row = f"{name}, {config.num_tasks} tasks, {scenario}"
    part = Part(row, method, scenario, space, benchmarks)
    for params in (*space.corners(0), *space.corners(-1)):
        part.confirmation(params, seed)
    return part


def _space(spec: StudySpec, benchmark: Settings, scenario: str, method: str) -> SearchSpace:
    """Make the search space of a part: the method's own, under the study's settings."""
    sections = spec.methods[method]
    own = {k: v for k, v in sections["trial"].items() if k.split("/")[0] not in REPLACED}
    shared = {k: v for k, v in spec.trial.items() if not k.startswith("benchmark/")}
    sweep = {
        **spec.sweep,
        **spec.effort.settings(),
        "objective": f"val/{scenario}/average_accuracy",
    }
    document = {
        "description": f"{method} in the study {spec.name}",
        "trial": {**own, **shared, **benchmark, "scenario": scenario},
        "search": sections.get("search"),
        "points_to_evaluate": sections.get("points_to_evaluate"),
        "sweep": sweep,
    }
    words = f"{spec.name}-{benchmark_name(benchmark)}-{scenario}-{method}"
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", words)
    return search_space.parse(document, name)
