"""Benchmarks by name, or by their data and how tasks are made of them."""

from collections.abc import Mapping
from typing import Any

from hcl.config.benchmark.info import BENCHMARKS
from hcl.config.benchmark.settings import KNOWN, BenchmarkConfig
from hcl.config.plugins import is_import_path
from hcl.config.schema import Group, build

# Settings that a user's own data have, for each sequence; one of their own has those of split.
# 0 classes: as many as the data have.
OWN_DEFAULTS: dict[str, dict[str, Any]] = {
    "split": {"num_tasks": 5, "classes_per_task": 2},
    "permuted": {"num_tasks": 10, "classes_per_task": 0},
    "rotated": {"num_tasks": 5, "classes_per_task": 0},
    "chained": {"num_tasks": 2, "classes_per_task": 0},
    "given": {"num_tasks": 5, "classes_per_task": 0},
}
# Settings that list something for each task, and so say how many tasks there are.
LISTED = ("classes_per_task", "angles")


class _Group(Group):
    """Benchmarks by name, or by a pair of data and sequence, whose short name is then used."""

    def build(self, values: Mapping[str, Any], prefix: str, errors: list[str]) -> Any:
        sequence, data = values.get("sequence", ""), values.get("data", "")
        for listed in (*map(values.get, LISTED), data):
            if isinstance(listed, list | tuple) and listed:
                values = {"num_tasks": len(listed), **values}
        if not (sequence or data):
            return super().build(values, prefix, errors)
        rest = {k: v for k, v in values.items() if k not in ("name", "sequence", "data")}
        names = [
            n for n, i in BENCHMARKS.items() if (i.sequence, i.sources) == (sequence, (data,))
        ]
        problems = [] if names else _problems_of_pair(sequence, data)
        name = names[0] if names else f"{sequence} {'+'.join(map(str, _listed(data)))}".strip()
        if not problems and values.get("name", name) != name:
            problems.append(f"name: {values['name']!r} is not {name!r}; leave it out")
        if problems:
            errors += [f"{prefix}{problem}" for problem in problems]
            return None
        if names:
            return super().build({"name": name, **rest}, prefix, errors)
        own = {"name": name, "sequence": sequence, "data": data}
        defaults = OWN_DEFAULTS.get(sequence, OWN_DEFAULTS["split"])
        return build(BenchmarkConfig, {**defaults, **rest, **own}, prefix, errors)


def _listed(data: Any) -> list[Any]:
    return list(data) if isinstance(data, list | tuple) else [data]


def _problems_of_pair(sequence: Any, data: Any) -> list[str]:
    """Say what is wrong with a pair that has no short name."""
    sources = _listed(data)
    if not all(isinstance(name, str) for name in (sequence, *sources)):
        return [f"data: and sequence must be names but got {data!r} and {sequence!r}"]
    known = sorted(KNOWN)
    is_own_sequence, problems = is_import_path(sequence), []
    if not is_own_sequence and sequence not in OWN_DEFAULTS:
        problems.append(
            f"sequence: unknown sequence {sequence!r}; use {', '.join(OWN_DEFAULTS)} or an import"
            " path"
        )
    elif isinstance(data, str) == (sequence == "chained"):
        what = "a list of data sets" if isinstance(data, str) else "one data set"
        problems.append(f"data: {sequence} takes {what} but got {data!r}")
    problems += [
        f"data: unknown data {source!r}; use {', '.join(known)}, a path ending in .npz,"
        " torchvision:NAME or an import path"
        for source in sources
        if not (source in known or _is_own(source) or (is_own_sequence and not source))
    ]
    if sequence == "permuted" and data in known:  # the others have short names
        pairs = ", ".join(f"{i.sequence} {i.sources[0]}" for i in BENCHMARKS.values() if i.sources)
        problems.append(f"data: no tasks are made of {data!r} so; there are {pairs}")
    return problems


def _is_own(source: str) -> bool:
    is_file = source.endswith(".npz") or source.startswith("torchvision:")
    return is_file or is_import_path(source)


GROUP = _Group(
    choices={
        name: (BenchmarkConfig, {"name": name, **info.defaults})
        for name, info in BENCHMARKS.items()
    },
    default=BenchmarkConfig.name,
    selector="name",
    noun="benchmark",
)
