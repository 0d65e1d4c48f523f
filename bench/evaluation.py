"""HNET+ENT: tasks inferred for 10 tasks x 10,000 images, batched, against one image at a time.

`python -m bench.evaluation`: the reference generates every task's weights for every image, as the
authors' test loop does (batch size 1); it is timed on a few images and scaled.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from bench.reference import SETTINGS, Reference
from bench.steps import ours
from hcl.memory import keep_freed_memory
from hcl.products import fastest_float32

RESULTS = Path(__file__).parent / "evaluation.json"
SETTING, TASKS, IMAGES, SUBSET = "p10", 10, 10_000, 100


def main() -> None:
    """Measure and write bench/evaluation.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.evaluation", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    keep_freed_memory()  # as the learner does; the reference has it too
    reference = Reference(SETTINGS[SETTING], TASKS - 1)
    images = torch.rand(IMAGES, SETTINGS[SETTING].inputs)
    reference_ms, theirs = _reference(reference, images[:SUBSET])
    ours_ms, mine = _ours(reference, images)
    if mine[:SUBSET].tolist() != theirs:
        raise SystemExit(f"the two infer different tasks: {mine[:SUBSET].tolist()}, {theirs}")
    found = {
        "setting": SETTING,
        "tasks": TASKS,
        "images": IMAGES,
        "ours_ms_per_image": round(ours_ms, 4),
        "reference_ms_per_image": round(reference_ms, 2),
        "ratio": round(reference_ms / ours_ms, 1),
        "threads": torch.get_num_threads(),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


@torch.no_grad()
def _ours(reference: Reference, images: torch.Tensor) -> tuple[float, torch.Tensor]:
    """ms per image with all weights generated once per pass, and the tasks inferred."""
    from hcl.hypernets.hypernet import output_layer

    method = ours(SETTINGS[SETTING], TASKS - 1)
    learned = method.one_hypernet
    *hidden, weight, bias = reference.theta
    for p, q in zip(learned.hypernet.theta(), [*hidden, output_layer(weight, bias)], strict=True):
        p.copy_(q)
    for task, embedding in enumerate(reference.embeddings):
        learned.embeddings[task].copy_(embedding)
    method.buffers_of = {task: {} for task in range(TASKS)}
    times = []
    for _ in range(4):
        method.eval()  # forgets generated weights, as before every row of the matrix
        began = time.perf_counter()
        with fastest_float32():
            parts = [method.predict(part, None).task_ids for part in images.split(2000)]
        times.append(time.perf_counter() - began)
    found = torch.cat([part for part in parts if part is not None])
    return 1e3 * statistics.median(times[1:]) / len(images), found


@torch.no_grad()
def _reference(reference: Reference, images: torch.Tensor) -> tuple[float, list[int]]:
    """Median ms of an image (now and then one takes twice as long), and the tasks inferred."""
    reference.infer_one(images[:1])
    times, found = [], []
    for i in range(len(images)):
        began = time.perf_counter()
        found.append(reference.infer_one(images[i : i + 1]))
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times), found


if __name__ == "__main__":
    main()
