"""A study's file: which methods are compared, on what, under which protocol and effort."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hcl.config import ConfigError
from hcl.config.schema import build, setting, suggest
from sweeps.comparison.protocol import Protocol, Settings, parse_protocol
from sweeps.output.metric_names import SCENARIOS
from sweeps.space.bundled import find_file
from sweeps.space.yaml_file import load_yaml, read_flat, read_mapping, refuse_unknown

SECTIONS = ("trial", "search", "points_to_evaluate", "description", "sweep")
OWN_SWEEP = ("objective", "mode", "num_trials", "core_hours")  # the study decides these
MOST_TRIALS = 1000  # of a search that core-hours end


@dataclass(frozen=True)
class Effort:
    """Effort that each method's search may take: so many trials, or so many core-hours."""

    trials: int = setting(0, ge=0)
    core_hours: float = setting(0.0, ge=0)

    def __str__(self) -> str:
        trials = "1 trial" if self.trials == 1 else f"{self.trials} trials"
        return trials if self.trials else f"{self.core_hours:g} core-hours"

    def settings(self) -> Settings:
        """Return the settings of a sweep that spends it."""
        if self.trials:
            return {"num_trials": self.trials}
        return {"num_trials": MOST_TRIALS, "core_hours": self.core_hours}


@dataclass(frozen=True)
class Confirmation:
    """Fresh seeds of the best configurations; with shuffled orders each has its own order."""

    pairs: int = setting(6, ge=2)  # seeds; a seed with its order of tasks is a pair
    first_seed: int = setting(101, ge=0)
    orders: Literal["shuffled", "fixed"] = "shuffled"

    @property
    def seeds(self) -> list[int]:
        """The seeds of the pairs."""
        return list(range(self.first_seed, self.first_seed + self.pairs))


@dataclass(frozen=True)
class _Head:
    """The keys of a study's file that are plain values."""

    description: str = ""
    scenarios: tuple[str, ...] = ("task",)
    reference: str = ""  # compare each method with this one alone, which needs fewer pairs


@dataclass(frozen=True)
class StudySpec:
    """A checked study file.

    Attributes:
        name: of the study.
        description: its question, one line.
        benchmarks: settings of each sequence of tasks, flat.
        scenarios: keys of the scenarios.
        protocol: what tuning may see.
        effort: of each search.
        confirmation: seeds and orders.
        reference: the method that others are compared with; "" = all with all.
        trial: settings of every training, flat.
        sweep: settings of every search, those that the study decides left out.
        methods: name -> the sections of its search space.
    """

    name: str
    description: str
    benchmarks: tuple[Settings, ...]
    scenarios: tuple[str, ...]
    protocol: Protocol
    effort: Effort
    confirmation: Confirmation
    reference: str
    trial: Settings
    sweep: Settings
    methods: dict[str, dict[str, Any]]

    @property
    def num_tests(self) -> int:
        """Comparisons in each benchmark and scenario, which p values are corrected for."""
        count = len(self.methods)
        return count - 1 if self.reference else count * (count - 1) // 2


def load_study(
    path: Path, name: str = "", change: Callable[[Settings], Settings] | None = None
) -> StudySpec:
    """Read a study's file.

    Args:
        path: of the file.
        name: of the study; "" = the file's.
        change: changes what the file holds, as a user asks on the command line.

    Raises:
        ConfigError: every problem of the file.
    """
    try:
        document = load_yaml(path)
        # A change may name a key of a section that the file leaves out.
        left_out: Settings = {key: {} for key in ("confirmation", "sweep", "trial")}
        document = change(left_out | document) if change else document
        return parse_study(document, name or path.stem, path.parent)
    except ConfigError as error:
        said = [message.removeprefix(f"{path}: ") for message in error.errors]
        raise ConfigError([f"{path}: {message}" for message in said]) from None


def parse_study(document: Mapping[str, Any], name: str, folder: Path = Path()) -> StudySpec:
    """Check the content of a study's file.

    Args:
        document: what it holds.
        name: of the study.
        folder: where the search spaces that it names are looked for first.

    Raises:
        ConfigError: every problem of the content.
    """
    errors: list[str] = []
    named = ("benchmarks", "protocol", "effort", "confirmation", "trial", "sweep", "methods")
    head = build(_Head, {k: v for k, v in document.items() if k not in named}, "", errors)
    given = read_mapping(document.get("confirmation", {}), "confirmation", errors)
    confirmation = build(Confirmation, given, "confirmation.", errors)
    spec = StudySpec(
        name=name,
        description=head.description if head else "",
        benchmarks=_read_benchmarks(document.get("benchmarks"), errors),
        scenarios=head.scenarios if head else _Head.scenarios,
        protocol=parse_protocol(document.get("protocol", "full"), errors),
        effort=_read_effort(document, errors),
        confirmation=confirmation or Confirmation(),
        reference=head.reference if head else "",
        trial=read_flat(document.get("trial", {}), "trial", errors),
        sweep=read_mapping(document.get("sweep", {}), "sweep", errors),
        methods=_read_methods(document, folder, errors),
    )
    _check(spec, errors)
    if errors:
        raise ConfigError(errors)
    return spec


def _check(spec: StudySpec, errors: list[str]) -> None:
    """Report what does not fit together."""
    errors += [
        f"scenarios: unknown scenario {name!r}{suggest(name, SCENARIOS)}"
        for name in spec.scenarios
        if name not in SCENARIOS
    ]
    if not spec.scenarios or len(set(spec.scenarios)) < len(spec.scenarios):
        errors.append(f"scenarios: must be different ones but got {list(spec.scenarios)}")
    if spec.reference and spec.reference not in spec.methods:
        known = suggest(spec.reference, spec.methods)
        errors.append(f"reference: {spec.reference!r} is not among the methods{known}")
    errors += [
        f"sweep.{key}: the study decides it; leave it out, or use effort"
        for key in OWN_SWEEP
        if key in spec.sweep
    ]
    errors += [
        f"trial.{key}: the study decides it; use scenarios and methods"
        for key in spec.trial
        if key in ("scenario", "eval_scenarios", "seed", "method/name")
    ]
    if spec.sweep.get("gpus_per_trial") == "auto":
        errors.append("sweep.gpus_per_trial: auto is for a single sweep; give a number")
    names = [benchmark_name(benchmark) for benchmark in spec.benchmarks]
    if len(set(names)) < len(names):
        errors.append(f"benchmarks: each stands once, but got {', '.join(names)}")


def benchmark_name(benchmark: Settings) -> str:
    """Name a benchmark by its short name, or by its sequence and data; files without folders."""
    given = [benchmark.get(f"benchmark/{key}") for key in ("name", "sequence", "data")]
    return "-".join(Path(str(part)).name for part in given if part)


def _read_benchmarks(value: Any, errors: list[str]) -> tuple[Settings, ...]:
    if not isinstance(value, list) or not value:
        errors.append(f"benchmarks: must be a list such as [split_digits] but got {value!r}")
        return ()
    found = []
    for index, item in enumerate(value):
        given = {"name": item} if isinstance(item, str) else item
        flat = read_flat(given, f"benchmarks[{index}]", errors)
        found.append({f"benchmark/{key}": value for key, value in flat.items()})
    return tuple(found)


def _read_effort(document: Mapping[str, Any], errors: list[str]) -> Effort:
    given = read_mapping(document.get("effort", {}), "effort", errors)
    effort = build(Effort, given, "effort.", errors)
    if effort and bool(effort.trials) == bool(effort.core_hours):
        errors.append(f"effort: give trials or core_hours, above 0, but got {given or None}")
    return effort or Effort(trials=1)


def _read_methods(
    document: Mapping[str, Any], folder: Path, errors: list[str]
) -> dict[str, dict[str, Any]]:
    """Read each method's search space: a file's name, or its sections in place."""
    found: dict[str, dict[str, Any]] = {}
    for name, given in read_mapping(document.get("methods", {}), "methods", errors).items():
        path = f"methods.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", str(name)):
            errors.append(f"{path}: use letters, digits, '_', '-' and '.' for its name")
        try:
            sections = _load_space(given, folder) if isinstance(given, str) else given
        except ConfigError as error:
            errors += [f"{path}: {message}" for message in error.errors]
            continue
        if not isinstance(sections, Mapping):
            errors.append(f"{path}: must be a search space or its file but got {given!r}")
            continue
        refuse_unknown(sections, SECTIONS, f"{path}.", errors)
        if sections is given and "sweep" in given:  # a search space's file always has one
            errors.append(f"{path}.sweep: searches are alike for all methods; use the study's own")
        trial = read_flat(sections.get("trial", {}), f"{path}.trial", errors)
        found[str(name)] = {**sections, "trial": trial}
    if len(found) < 2 and not errors:
        errors.append(f"methods: a study compares two or more but got {len(found)}")
    return found


def _load_space(name: str, folder: Path) -> dict[str, Any]:
    """Read a search space beside the study's file, here, or bundled."""
    own = folder / name
    return load_yaml(own if own.is_file() else find_file(name, "search space"))
