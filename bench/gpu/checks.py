"""Checks of a device against the CPU: the same scores, resumed trainings, bounded memory.

Everything here needs torch and numpy alone.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hcl import Runtime, run
from hcl.config import TrialConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.results import Progress, Result

CLASSES, TRAIN, TEST, SIDE = 4, 60, 25, 8  # images per class; pixels per side
# Two trainings whose products are rounded differently part slowly: after 60 steps they answer
# nearly all of a task's 50 images alike. Methods that replay draw their noise on the device,
# which has another generator.
TOLERANCE, TOLERANCE_WITH_NOISE = 0.1, 0.3
DRAW_ON_DEVICE = ("hnet_r", "hnet_tir", "dgr", "dgr_distill")
SIZES = {
    "chunk_size": 400,
    "hidden_sizes": [10, 10],
    "hypernet_sizes": [10],
    "encoder_sizes": [32],
    "decoder_sizes": [32],
    "latent_size": 8,
    "buffer_size": 40,
}


@dataclass(frozen=True)
class Check:
    """A check that was made; `problem` is "" where it holds."""

    name: str
    problem: str = ""
    difference: float | None = None  # largest difference of two accuracies


def write_data(folder: Path) -> Path:
    """Write images of four classes, each a pattern of its own with noise, as an .npz."""
    draws = np.random.RandomState(0)
    patterns = draws.uniform(40, 215, (CLASSES, SIDE, SIDE))
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        labels = np.repeat(np.arange(CLASSES), count)
        images = patterns[labels] + 25 * draws.randn(len(labels), SIDE, SIDE)
        arrays |= {f"x_{part}": images.clip(0, 255).astype(np.uint8), f"y_{part}": labels}
    path = folder / "patterns.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def cells() -> list[tuple[str, str, str]]:
    """List every method, each of its scenarios, and both sequences that images can have."""
    return [
        (method, scenario, sequence)
        for method, config in METHOD_CONFIGS.items()
        for scenario in config.SCENARIOS
        for sequence in ("split", "permuted")
    ]


def settings(method: str, scenario: str, sequence: str, data: Path) -> TrialConfig:
    """Make a trial of two short tasks."""
    own = METHOD_CONFIGS[method].__dataclass_fields__
    small = {
        f"method/{name}": value
        for name in own
        for ending, value in SIZES.items()
        if name.endswith(ending)
    }
    return TrialConfig.from_dict(
        {
            "benchmark": {"sequence": sequence, "data": str(data), "num_tasks": 2},
            "scenario": scenario,
            "target/hidden_sizes": [32, 32],
            "method/name": method,
            "train/iterations": 60,
            "train/batch_size": 32,
            "train/lr": 0.003,
            **small,
        }
    )


def agrees(cell: tuple[str, str, str], data: Path, device: str) -> Check:
    """Train on the CPU and on the device, and compare every accuracy."""
    config = settings(*cell, data)
    allowed = TOLERANCE_WITH_NOISE if cell[0] in DRAW_ON_DEVICE else TOLERANCE
    return _compared(
        f"{' '.join(cell)}: as on the CPU",
        lambda: run(config, runtime=Runtime(device="cpu")),
        lambda: run(config, runtime=Runtime(device=device)),
        allowed,
    )


def resumes(method: str, data: Path, device: str) -> Check:
    """Stop a training in its second task, go on from its checkpoint, compare with a whole one."""
    config = settings(method, METHOD_CONFIGS[method].SCENARIOS[0], "split", data)

    def stopped() -> Result:
        with tempfile.TemporaryDirectory() as folder:
            runtime = Runtime(device=device, checkpoint_dir=folder, checkpoint_every=20)
            with suppress(_Stop):
                run(config, progress=_stop_in_second_task, runtime=runtime)
            return run(config, runtime=runtime)

    name = f"{method}: resumed as if never stopped"
    return _compared(name, lambda: run(config, runtime=Runtime(device=device)), stopped, TOLERANCE)


def bounded(data: Path, device: str) -> Check:
    """Require that too large a training fails for memory, and that a small one then works."""
    name = "a training beyond its share of memory fails, and the next one works"
    small = settings("hnet", "task", "split", data)
    values = {**small.to_dict(), "target/hidden_sizes": [60_000, 60_000]}
    with _share(0.02):
        try:
            run(TrialConfig.from_dict(values), runtime=Runtime(device=device))
        except torch.OutOfMemoryError:
            run(small, runtime=Runtime(device=device))
            return Check(name)
    return Check(name, "14 GB of weights were trained within 2% of the memory")


class _Stop(Exception):
    """Ends a training as a kill would."""


def _stop_in_second_task(place: Progress) -> None:
    if place.task_id == 1:
        raise _Stop


@contextmanager
def _share(part: float) -> Iterator[None]:
    """Hold this process to a part of the GPU's memory."""
    torch.cuda.set_per_process_memory_fraction(part)
    try:
        yield
    finally:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0)


def _compared(
    name: str, one: Callable[[], Result], other: Callable[[], Result], allowed: float
) -> Check:
    """Compare two trainings' accuracies; one that raises is a check that does not hold."""
    try:
        pairs = zip(_numbers(one()), _numbers(other()), strict=True)
    except Exception as error:  # whatever a device raises is what is wanted to be known
        return Check(name, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    worst = max(abs(a - b) for a, b in pairs)
    problem = "" if worst <= allowed else f"accuracies differ by {worst:.3f}, allowed {allowed}"
    return Check(name, problem, worst)


def _numbers(result: Result) -> list[Any]:
    matrices = (result.accuracy[scenario] for scenario in sorted(result.accuracy))
    return [value for matrix in matrices for value in chain(*matrix) if value is not None]
