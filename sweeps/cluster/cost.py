"""Cost of trainings: sizes from shapes, hours from steps timed on this machine."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from rich.progress import track

from hcl import Runtime, benchmarks
from hcl.benchmarks.arrays import Benchmark
from hcl.config import BenchmarkConfig, ConfigError, TrialConfig
from hcl.measure.needs import ResourceNeeds, resource_needs
from hcl.measure.probe import probe
from sweeps.cluster.resources import GIB
from sweeps.output.metric_names import duration
from sweeps.output.table import Table

ORDERS = ("seed", "benchmark/class_order", "benchmark/order_seed")
ROOM = 0.8  # share of the free memory up to which a step is tried
_MIB = 2**20


@dataclass(frozen=True)
class Planned:
    """Trainings of one configuration, or of several whose steps cost the same.

    Attributes:
        name: what the table calls them.
        config: one of the configurations.
        count: how many trainings.
    """

    name: str
    config: TrialConfig
    count: int


@dataclass(frozen=True)
class Needs:
    """Needs of one training.

    Attributes:
        planned: which training.
        sizes: parameters and bytes.
        step_seconds: time of a step; None where none was timed.
        why_not: why none was timed.
        num_steps: steps of one training.
    """

    planned: Planned
    sizes: ResourceNeeds
    step_seconds: float | None
    why_not: str = ""
    num_steps: int = 0

    @property
    def hours(self) -> float | None:
        """Hours of one training without evaluation; None where no step was timed."""
        if self.step_seconds is None:
            return None
        return self.step_seconds * self.num_steps / 3600


def group(configs: Iterable[tuple[str, TrialConfig, int]]) -> list[Planned]:
    """Join trainings that cost the same: they differ in seeds, orders, beta, a learning rate.

    Args:
        configs: name, configuration and number of trainings of each.
    """
    found: dict[str, Planned] = {}
    for name, config, count in configs:
        flat = config.to_dict()
        size = {k: v for k, v in flat.items() if not isinstance(v, float) and k not in ORDERS}
        size["train/epochs"] = config.train.epochs
        same = found.get(str(size))
        if same is None:
            found[str(size)] = Planned(name, config, count)
        else:
            names = same.name if name in same.name.split(", ") else f"{same.name}, {name}"
            found[str(size)] = Planned(names, same.config, same.count + count)
    return list(found.values())


def measure(planned: Sequence[Planned], runtime: Runtime) -> list[Needs]:
    """Compute the sizes of each, and time a step where it is expected to fit into memory.

    Raises:
        ConfigError: data are missing, or the device is not there.
    """
    found = track(planned, "timing steps", transient=True)
    return [_measure(one, runtime) for one in found]


def _measure(planned: Planned, runtime: Runtime) -> Needs:
    config = planned.config
    sizes = resource_needs(config, _benchmark(config.benchmark, runtime.data_root))
    free = free_bytes(runtime.device)
    if sizes.peak_bytes > ROOM * free:
        why = (
            f"{planned.name}: no step was timed, for about {sizes.peak_bytes / GIB:.1f} GiB are"
            f" expected and {free / GIB:.1f} GiB are free"
        )
        return Needs(planned, sizes, None, why)
    try:
        timed = probe(config, runtime)
        return Needs(planned, sizes, timed.mean, num_steps=sum(timed.steps))
    except ConfigError:
        raise
    except (RuntimeError, MemoryError) as error:  # torch's, of memory above all
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Needs(planned, sizes, None, f"{planned.name}: no step was timed: {reason}")


@lru_cache(maxsize=2)
def _benchmark(config: BenchmarkConfig, data_root: Path | str | None) -> Benchmark:
    return benchmarks.load(config, data_root)


def free_bytes(device: str) -> int:
    """Return the memory that a process may still take on `device`, as far as the system says.

    On a CPU that is what Linux calls available, within the limit of a container; elsewhere all
    of the machine's memory.
    """
    if device != "cpu":
        return int(torch.cuda.mem_get_info(device)[0])
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (meminfo := Path("/proc/meminfo")).is_file():  # Linux
        lines = meminfo.read_text().splitlines()
        known = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
        free = int(known[0]) * 1024 if known else free
    bound, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if bound.is_file() and (text := bound.read_text().strip()) != "max":
        free = min(free, int(text) - int(used.read_text()))  # a container's limit
    return free


def table(title: str, needs: Sequence[Needs], device: str, more: Sequence[str] = ()) -> Table:
    """Make a table with a row for each and their sum; `more` are further notes."""
    columns = ("", "target weights", "stored", "ratio", "weights MiB", "optimizer MiB",
               "kept MiB", "peak MiB", "steps/s", "each", "trainings", "all")  # fmt: skip
    total, rows = sum_hours(needs), [_row(one) for one in needs]
    count = sum(one.planned.count for one in needs)
    rows.append(("sum", *[""] * 9, f"{count:,}", _time(total)))
    notes = (
        "stored: numbers kept to predict (hypernetwork and embeddings); ratio: of them to the"
        " target's weights",
        "optimizer: Adam's moments; kept: by the method, of past tasks; peak: these, the data set"
        " and a step's own tensors, estimated for the last task, without the libraries' memory",
        f"steps of the first and the last task were timed on {device} just now, beside whatever"
        " else runs here; times: one training after the other, without evaluation and the start of"
        " processes (seconds for each search)",
        *(one.why_not for one in needs if one.why_not),
        *more,
    )
    return Table(title, columns, tuple(rows), notes)


def _row(one: Needs) -> tuple[str, ...]:
    sizes, hours = one.sizes, one.hours
    parts = (sizes.weight_bytes, sizes.optimizer_bytes, sizes.kept_bytes, sizes.peak_bytes)
    return (
        one.planned.name,
        f"{sizes.target_weights:,}",
        f"{sizes.stored:,}",
        f"{sizes.compression_ratio:.3f}",
        *(f"{size / _MIB:,.1f}" for size in parts),
        _short(None if one.step_seconds is None else 1 / one.step_seconds),
        _time(hours),
        f"{one.planned.count:,}",
        _time(None if hours is None else hours * one.planned.count),
    )


def _short(value: float | None) -> str:
    """Write two or three significant digits."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def _time(hours: float | None) -> str:
    return "?" if hours is None else duration(3600 * hours)


def sum_hours(needs: Sequence[Needs]) -> float | None:
    """Return the hours of all trainings; None where those of one are not known."""
    hours = [one.hours for one in needs]
    if any(each is None for each in hours):
        return None
    return sum((each or 0) * one.planned.count for each, one in zip(hours, needs, strict=True))
