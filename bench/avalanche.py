"""Steps of Avalanche's methods on split MNIST's network, where Avalanche is installed.

`pip install avalanche-lib`; the rest of the bench does without. Its training loop is timed whole,
batches and hooks included, as its users run it; ours has its own data loop outside of the step,
which takes less than 2% of it.
"""

import time
import warnings
from typing import Any

import torch

from bench.steps import wait_for

BATCH, STEPS, TASKS = 128, 60, 5
SI_C, EWC_LAMBDA = 0.1, 100.0


def avalanche_steps(device: str) -> dict[str, float]:
    """Return the ms of a training step in the last of five tasks; empty without Avalanche."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from avalanche.benchmarks import tensors_benchmark
            from avalanche.models import SimpleMLP
            from avalanche.training.supervised import EWC, Naive, SynapticIntelligence
    except ImportError:
        return {}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "naive": (Naive, {}),
        "si": (SynapticIntelligence, {"si_lambda": SI_C}),
        "ewc": (EWC, {"ewc_lambda": EWC_LAMBDA, "mode": "online", "decay_factor": 1.0}),
    }
    draws = torch.Generator().manual_seed(0)
    sizes = [*[2 * BATCH] * (TASKS - 1), BATCH * STEPS]
    data = [
        (torch.rand(n, 784, generator=draws), 2 * i + torch.randint(2, (n,), generator=draws))
        for i, n in enumerate(sizes)
    ]
    found = {}
    for name, (kind, settings) in kinds.items():
        model = SimpleMLP(10, input_size=784, hidden_size=400, hidden_layers=2, drop_rate=0.0)
        strategy = kind(
            model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
            criterion=torch.nn.CrossEntropyLoss(), train_mb_size=BATCH, train_epochs=1,
            device=device, evaluator=None, **settings,
        )  # fmt: skip
        stream = tensors_benchmark(
            train_tensors=data, test_tensors=data, task_labels=[0] * TASKS
        ).train_stream
        for task_id in range(TASKS - 1):
            strategy.train(stream[task_id])
        began = time.perf_counter()
        strategy.train(stream[TASKS - 1])
        wait_for(device)
        found[name] = round(1e3 * (time.perf_counter() - began) / STEPS, 2)
    return found
