"""Each task is a data set of its own."""

from hcl.benchmarks.arrays import Benchmark
from hcl.benchmarks.sequences.tasks import (
    all_classes,
    arrange,
    everything,
    make_benchmark,
    make_task,
)
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError


def chained(config: BenchmarkConfig, parts: list[Part], _: int) -> Benchmark:
    """Give each task a whole data set, with that set's own number of classes."""
    tasks, drawn = [], []
    for task_id, part in enumerate(parts):
        arrays = arrange(part.arrays, config.padding)
        index, classes = everything(arrays), all_classes(config, part)
        task, kept = make_task(task_id, arrays, config, index, classes)
        tasks.append(task)
        drawn.append(kept)
    _refuse_other_shapes(config, parts)
    sizes = [part.num_classes for part in parts]
    if config.info.is_regression and len(set(sizes)) > 1:
        raise DataError(
            f"benchmark/data: all tasks of a regression share their outputs, but the data sets"
            f" have {', '.join(map(str, sizes))} of them"
        )
    digests = "".join(part.digest for part in parts)
    return make_benchmark(config, tasks, digests, drawn, sizes)


def _refuse_other_shapes(config: BenchmarkConfig, parts: list[Part]) -> None:
    first, shape = config.sources[0], parts[0].arrays["x_train"].shape[1:]
    for name, part in zip(config.sources, parts, strict=True):
        other = part.arrays["x_train"].shape[1:]
        if other != shape:
            raise DataError(
                f"benchmark/data: samples of {first} have the shape {shape} and those of {name}"
                f" {other}; bring them into one shape in an .npz or a function of yours"
            )
