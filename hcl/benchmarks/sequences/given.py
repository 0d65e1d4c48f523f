"""Each task has the samples that the data themselves say are its own."""

import numpy as np

from hcl.benchmarks.arrays import Benchmark
from hcl.benchmarks.files import RawArrays
from hcl.benchmarks.sequences.tasks import arrange, make_benchmark, make_task
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError


def given(config: BenchmarkConfig, parts: list[Part], _: int) -> Benchmark:
    """Give each task the samples whose `t_train`, `t_val` and `t_test` are its number.

    Its classes are those of its training samples, in sorted order; tasks may have classes in
    common, and different numbers of them.
    """
    (part,) = parts
    (name,) = config.sources
    arrays = arrange(part.arrays, config.padding)
    _check_ids(arrays, name, config.num_tasks)
    tasks, drawn, sizes = [], [], []
    for task_id in range(config.num_tasks):

        def members(split: str, wanted: int = task_id) -> np.ndarray:
            return np.flatnonzero(arrays[f"t_{split}"] == wanted)

        classes = None
        if not config.info.is_regression:
            classes = np.unique(arrays["y_train"][members("train")])
            _check_labels(arrays, name, task_id, classes)
        task, kept = make_task(task_id, arrays, config, members, classes)
        tasks.append(task)
        drawn.append(kept)
        sizes.append(part.num_classes if classes is None else len(classes))
    return make_benchmark(config, tasks, part.digest, drawn, sizes)


def _check_ids(arrays: RawArrays, name: str, num_tasks: int) -> None:
    if "t_train" not in arrays:
        raise DataError(
            f"benchmark/data: {name} has no t_train and t_test, the task of each sample, which the"
            " sequence `given` needs; add them, or use another sequence"
        )
    there = int(arrays["t_train"].max()) + 1
    if num_tasks > there:
        raise DataError(
            f"benchmark/num_tasks: {name} has {there} tasks (t_train) but got {num_tasks}; set it"
            f" to {there} or less"
        )


def _check_labels(arrays: RawArrays, name: str, task_id: int, classes: np.ndarray) -> None:
    """Refuse a task of one class, and validation and test labels that its training part lacks."""
    if len(classes) < 2:
        raise DataError(
            f"benchmark/data: {name}: task {task_id} has only one class; a task needs two"
        )
    for split in ("val", "test"):
        if f"y_{split}" in arrays:
            own = arrays[f"y_{split}"][arrays[f"t_{split}"] == task_id]
            strange = np.setdiff1d(own, classes)
            if len(strange):
                raise DataError(
                    f"benchmark/data: {name}: y_{split} of task {task_id} has the classes"
                    f" {', '.join(map(str, strange[:3]))} (in sorted order), which its y_train has"
                    " not"
                )
