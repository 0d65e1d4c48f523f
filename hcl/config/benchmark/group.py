"""Benchmarks by name, or by their data and how tasks are made of them."""

from collections.abc import Mapping
from typing import Any

from hcl.config.benchmark.info import BENCHMARKS
from hcl.config.benchmark.settings import BenchmarkConfig
from hcl.config.plugins import is_import_path
from hcl.config.schema import Group, build

# Settings that a user's own data have, for each sequence; one of their own has those of split.
OWN_DEFAULTS: dict[str, dict[str, Any]] = {
    "split": {"num_tasks": 5, "classes_per_task": 2},
    "permuted": {"num_tasks": 10, "classes_per_task": 0},
}


class _Group(Group):
    """Benchmarks by name, or by a pair of data and sequence, whose short name is then used."""

    def build(self, values: Mapping[str, Any], prefix: str, errors: list[str]) -> Any:
        sizes = values.get("classes_per_task")
        if isinstance(sizes, list | tuple) and sizes:
            values = {"num_tasks": len(sizes), **values}
        sequence, data = values.get("sequence", ""), values.get("data", "")
        if not (sequence or data):
            return super().build(values, prefix, errors)
        rest = {k: v for k, v in values.items() if k not in ("name", "sequence", "data")}
        names = [
            n for n, i in BENCHMARKS.items() if (i.sequence, i.sources) == (sequence, (data,))
        ]
        name = names[0] if names else f"{sequence} {data}".strip()
        problems = [] if names else _problems_of_pair(sequence, data)
        if values.get("name", name) != name:
            problems.append(f"name: {values['name']!r} is not {name!r}; leave it out")
        if problems:
            errors += [f"{prefix}{problem}" for problem in problems]
            return None
        if names:
            return super().build({"name": name, **rest}, prefix, errors)
        own = {"name": name, "sequence": sequence, "data": data}
        defaults = OWN_DEFAULTS.get(sequence, OWN_DEFAULTS["split"])
        return build(BenchmarkConfig, {**defaults, **rest, **own}, prefix, errors)


def _problems_of_pair(sequence: Any, data: Any) -> list[str]:
    """Say what is wrong with a pair that has no short name."""
    known = {source for info in BENCHMARKS.values() for source in info.sources}
    if not (isinstance(sequence, str) and isinstance(data, str)):
        return [f"data: and sequence must be names but got {data!r} and {sequence!r}"]
    is_own = data.endswith(".npz") or data.startswith("torchvision:") or is_import_path(data)
    if is_import_path(sequence) and (is_own or not data or data in known):
        return []
    problems = []
    if sequence not in OWN_DEFAULTS:
        problems.append(f"sequence: unknown sequence {sequence!r}; use split, permuted or an"
                        " import path")  # fmt: skip
    if data in known:
        pairs = ", ".join(f"{i.sequence} {i.sources[0]}" for i in BENCHMARKS.values() if i.sources)
        problems.append(f"data: no tasks are made of {data!r} so; there are {pairs}")
    elif not is_own:
        problems.append(
            f"data: unknown data {data!r}; use {', '.join(sorted(known))}, a path ending in .npz,"
            " torchvision:NAME or an import path"
        )
    return problems


GROUP = _Group(
    choices={
        name: (BenchmarkConfig, {"name": name, **info.defaults})
        for name, info in BENCHMARKS.items()
    },
    default=BenchmarkConfig.name,
    selector="name",
    noun="benchmark",
)
