"""Search the settings of two methods, compare them, and use the best learner."""

import sys

import torch

import hcl
import sweeps

TRIAL = {
    "benchmark": {"name": "split_digits", "num_tasks": 2, "val_fraction": 0.2},
    "target": {"hidden_sizes": [10]},
    "train": {"iterations": 50, "batch_size": 16},
}
METHODS = {
    "hnet": {"method/beta": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}},
    "si": {"method/c": {"type": "float", "low": 1.0, "high": 100.0, "log": True}},
}


def main(storage: str = "storage") -> None:
    """Sweep, compare, predict."""
    for name, searched in METHODS.items():
        trial = {**TRIAL, "method": {"name": name}}
        space = {"trial": trial, "search": searched, "sweep": {"num_trials": 2, "seeds": [1, 2]}}
        outcome = sweeps.run_sweep(space, f"digits-{name}", storage, quiet=True)
        print(name, "on validation data:", outcome.best[0]["value"], outcome.best[0]["params"])
    print(sweeps.compare(["digits-hnet", "digits-si"], form="terminal", storage=storage))

    frame = sweeps.runs("digits-hnet", storage)  # one row per seed
    run = frame.sort_values("val/task/average_accuracy").iloc[-1]
    seed = f"trials/{run['tags.trial']:04d}/seed_{run['tags.seed']}"
    learner = hcl.load(f"{storage}/sweeps/digits-hnet/{seed}")
    print("an empty image is a", learner.predict(torch.zeros(1, 64), task=0).labels.item())


if __name__ == "__main__":
    main(*sys.argv[1:])
