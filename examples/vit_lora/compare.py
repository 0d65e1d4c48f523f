"""Train the hypernetwork of vit_lora.yaml and what it is compared with; print a table."""

import argparse
import time
from pathlib import Path
from statistics import mean, median, stdev

import torch
import yaml

import hcl

# What each row changes in vit_lora.yaml. Learning rates were chosen on validation data.
ROWS = {
    "HNET, lora(8)": {},
    "LoRA per task": {"method": {"name": "lora_per_task:LoraPerTask", "rank": 8}},
    "fine-tuning": {"method": {"name": "finetune"}, "train": {"lr": 3.0e-4}},
    "a network per task": {"method": {"name": "from_scratch"}, "train": {"lr": 3.0e-4}},
    "joint": {"method": {"name": "joint"}, "train": {"lr": 1.0e-3}},
}
COLUMNS = ("", "accuracy, %", "forgetting, %", "stored per task", "step, ms")
TIMED = 20  # steps of each


def trial(changes, seed, iterations):
    """Make a row's settings: those of vit_lora.yaml and its own."""
    base = yaml.safe_load(Path(__file__).with_name("vit_lora.yaml").read_text())
    train = base["train"] | changes.get("train", {})
    train["iterations"] = iterations or train["iterations"]
    return base | changes | {"train": train, "seed": seed}


def train(settings):
    """Train a row with one seed; a call that was interrupted goes on."""
    folder = Path("runs") / hcl.TrialConfig.from_dict(settings).digest()
    return hcl.run(settings, runtime=hcl.Runtime(checkpoint_dir=folder))


def step_times(learners):
    """Take steps of the last task with one learner after the other; each one's median, in ms."""
    task = hcl.load_benchmark(learners[0].config).tasks[-1]
    size = learners[0].config.train.batch_size
    seconds = [[] for _ in learners]
    for start in range(0, TIMED * size, size):
        x, y = task.train.batch(torch.arange(start, start + size) % len(task.train))
        for learner, taken in zip(learners, seconds, strict=True):
            method, began = learner.method.train(), time.perf_counter()
            method.train_step(x, method.layout.targets(y, task.task_id))
            taken.append(time.perf_counter() - began)
    return [f"{1000 * median(taken):.0f}" for taken in seconds]


def estimate(values):
    """Write mean ± SEM of fractions, in percent."""
    sem = f" ± {100 * stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{sem}"


def main():
    """Train every row with every seed, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--iterations", type=int, help="steps per task, in place of the file's")
    given = parser.parse_args()
    found, seeds = {}, range(1, given.seeds + 1)
    for name, changes in ROWS.items():
        found[name] = [train(trial(changes, seed, given.iterations)) for seed in seeds]
        print(name, [r.metrics["test/task/average_accuracy"] for r in found[name]], flush=True)
    times = step_times([results[0].learner for results in found.values()])
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for (name, results), milliseconds in zip(found.items(), times, strict=True):
        per_task = results[0].metrics["num_weights"] / len(results[0].learner.tasks)
        scores = (
            estimate([result.metrics[f"test/task/{metric}"] for result in results])
            for metric in ("average_accuracy", "forgetting")
        )
        print("|", " | ".join((name, *scores, f"{per_task:,.0f}", milliseconds)), "|")


if __name__ == "__main__":
    main()
