"""Time of inferring the task of each image (HNET+ENT) against the authors' test loop.

`python -m bench.evaluation` measures one row of the accuracy matrix, 10 tasks x 10,000 images,
with networks of permuted-10's sizes: untrained, and trained for some steps per task if MNIST is
there. Ours generates each task's weights once. The reference generates every task's weights for
every image, as the authors' loop does (batch size 1); it runs on a few images between our rows.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from bench.steps import ours
from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError
from hcl.hypernets.plain import SETTINGS, PlainHnet
from hcl.kernels.matmul import fastest_float32
from hcl.learners.inputs import inputs_at_once
from hcl.methods.hnet import Hnet
from hcl.training.batches import Batches
from hcl.training.process import Runtime, keep_freed_memory
from hcl.training.trial_state import load_benchmark

RESULTS = Path(__file__).parent / "evaluation.json"
SETTING, TASKS, ROUNDS, IMAGES = "p10", 10, 5, 30  # IMAGES: for the reference, in each round
Row = dict[str, float | int | str]


def main() -> None:
    """Measure both kinds of networks and write bench/evaluation.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200, help="training steps per task")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as the learner does; the reference profits from it too
    found = [measure(ours(SETTINGS[SETTING], TASKS - 1), random_images(), "untrained")]
    try:
        data = load_benchmark(ours(SETTINGS[SETTING], 0).setup.config, Runtime())
    except ConfigError as error:
        print(f"only untrained networks are measured: {error}")
    else:
        found.append(measure(trained(data, options.steps), test_images(data), "trained"))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def random_images() -> list[Tensor]:
    """Draw 10,000 images for each task."""
    return [torch.rand(10_000, SETTINGS[SETTING].inputs) for _ in range(TASKS)]


def test_images(data: Benchmark) -> list[Tensor]:
    """Return the images of each task's test set."""
    return [task.test.batch(torch.arange(len(task.test)))[0] for task in data.tasks]


def trained(data: Benchmark, steps: int) -> Hnet:
    """Train the method for a few steps on each task."""
    method = ours(SETTINGS[SETTING], 0)
    with fastest_float32():
        for task in data.tasks:
            method.start_task(task)
            batches = Batches(task, method.layout, 128, seed=1)
            for step in range(steps):
                method.train_step(*batches.at(step))
    return method


@torch.no_grad()
def measure(method: Hnet, sets: list[Tensor], name: str) -> Row:
    """Time our rows and a few images of the reference in alternation."""
    reference = reference_of(method)
    turns = [image for one in zip(*(images.split(1) for images in sets), strict=True)
             for image in one]  # fmt: skip
    infer_row(method, sets)
    row_times: list[float] = []
    set_times: list[float] = []
    image_times: list[float] = []
    for r in range(ROUNDS):
        few = turns[r * IMAGES : (r + 1) * IMAGES]
        times, theirs = zip(*infer_each(reference, few), strict=True)
        image_times += times
        row, first, mine = infer_row(method, sets)
        row_times.append(row)
        set_times.append(first)
        places = range(r * IMAGES, (r + 1) * IMAGES)
        if list(theirs) != [int(mine[i % TASKS][i // TASKS]) for i in places]:
            raise SystemExit(f"{name} networks: ours and the reference infer different tasks")
    num_images = sum(map(len, sets))
    ours_ms, reference_ms = (
        statistics.median(row_times) / num_images,
        statistics.median(image_times),
    )
    found: Row = {
        "setting": SETTING,
        "networks": name,
        "images": num_images,
        "ours_ms_per_image": round(ours_ms, 4),
        "first_set_ms_per_image": round(statistics.median(set_times) / len(sets[0]), 4),
        "reference_ms_per_image": round(reference_ms, 2),
        "ratio": round(reference_ms / ours_ms, 1),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(found, indent=1))
    return found


def reference_of(method: Hnet) -> PlainHnet:
    """Copy the networks into the plain implementation."""
    reference = PlainHnet(SETTINGS[SETTING], TASKS - 1)
    *hidden, output = method.one_hypernet.hypernet.theta()
    for p, q in zip(reference.theta, [*hidden, output[:-1].T, output[-1]], strict=True):
        p.copy_(q)
    for p, q in zip(reference.embeddings, method.one_hypernet.embeddings, strict=True):
        p.copy_(q)
    return reference


def infer_row(method: Hnet, sets: list[Tensor]) -> tuple[float, float, list[Tensor]]:
    """Infer every image's task; return the ms of all sets, of the first set, and the tasks."""
    method.statistics.sets = {task_id: {} for task_id in range(TASKS)}
    method.eval()  # drops generated weights, as before every row of the matrix
    ends, found = [time.perf_counter()], []
    at_once = inputs_at_once(sets[0])
    with fastest_float32():
        for images in sets:
            parts = [method.predict(part, None).task_ids for part in images.split(at_once)]
            found.append(torch.cat([part for part in parts if part is not None]))
            ends.append(time.perf_counter())
    return 1e3 * (ends[-1] - ends[0]), 1e3 * (ends[1] - ends[0]), found


def infer_each(reference: PlainHnet, images: list[Tensor]) -> Iterator[tuple[float, int]]:
    """Infer the task of one image after the other; yield its ms and its task."""
    for image in images:
        began = time.perf_counter()
        task_id = reference.infer_task(image)
        yield 1e3 * (time.perf_counter() - began), task_id


if __name__ == "__main__":
    main()
