"""Trials small enough to run hundreds of, shared by the library's tests."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # (optimizers import it late, in seconds: not in a test's time)
from torch import Tensor

from hcl import seeding
from hcl.benchmarks import load
from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError, TrialConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.methods import Method, Setup, make_method
from hcl.results import Result
from hcl.scenario import make_layout
from hcl.training.learner import Runtime, run

# A field whose name ends so is made small, in methods that are yet to come too.
SMALL = {
    "chunk_embedding_size": 3,
    "chunk_size": 150,
    "embedding_size": 4,
    "hidden_sizes": [6, 5],
    "hypernet_sizes": [6],
    "encoder_sizes": [7],
    "decoder_sizes": [7],
    "latent_size": 3,
    "buffer_size": 20,
    "fisher_samples": 50,
    "importance_samples": 50,
}
ITERATIONS = 6
EVERY_CELL = [
    (method, scenario, benchmark)
    for method, config in METHOD_CONFIGS.items()
    for scenario in config.SCENARIOS
    for benchmark in ("split_digits", "permuted_digits")
]
# Settings with state of their own to lose in a restart.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHOD_CONFIGS},
    "hnet-subset": ("hnet", {"method/reg_tasks": 1}),
    "hnet-off": ("hnet", {"method/lookahead": "off"}),
    "hnet-full": ("hnet", {"method/lookahead": "full", "method/activation": "elu"}),
    "hnet-masked": ("hnet", {"method/mask_heads": True}),
    "hnet-unchunked": ("hnet", {"method/chunk_size": 0, "method/hidden_sizes": []}),
    "hnet-part": ("hnet", {"method/generate": "^0", "target/hidden_sizes": [8, 7]}),
    "hnet-lora": ("hnet", {"method/generate": "lora(2)", "method/chunk_size": 20}),
    "hnet-grouped": ("hnet", {"method/chunk_groups": ["0=60", "bias=5"], "method/beta": 1.0}),
    "hnet-gaps": ("hnet", {"method/inference": "gap_zscore", "scenario": "class"}),
    "er-herding": ("er", {"method/keep": "herding"}),
    "agem-per_class": ("agem", {"method/keep": "per_class"}),
    "xdg-si": ("xdg", {"method/c": 1.0}),
    "ewc-sampled": ("ewc", {"method/fisher_labels": "sampled"}),
}


def trial(
    method: str = "hnet",
    scenario: str | None = None,
    benchmark: str = "split_digits",
    **more: Any,
) -> TrialConfig:
    """Make a trial of three tasks in the method's first scenario; `more`: `train__lr=0.1`."""
    values: dict[str, Any] = {
        "benchmark/name": benchmark,
        "benchmark/num_tasks": 3,
        "scenario": scenario or METHOD_CONFIGS[method].SCENARIOS[0],
        "target/hidden_sizes": [8],
        "method/name": method,
        "train/iterations": ITERATIONS,
        "train/batch_size": 16,
        "train/lr": 0.01,
        **_small(method),
    }
    values |= {key.replace("__", "/"): value for key, value in more.items()}
    return TrialConfig.from_dict(values)


def settings_it_has(method: str, **values: Any) -> dict[str, Any]:
    """Those of some settings that a method has, as `trial` takes them."""
    own = {field.name for field in fields(METHOD_CONFIGS[method])}
    return {f"method__{key}": value for key, value in values.items() if key in own}


def fisher_of(method: str) -> dict[str, Any]:
    """The labels that a Fisher may have in a regression, where the method has one."""
    return settings_it_has(method, fisher_labels="expected")


def variant(name: str, **more: Any) -> TrialConfig:
    """Make one of VARIANTS."""
    method, settings = VARIANTS[name]
    return trial(method, **{**settings, **more})


def errors_of(values: dict[str, Any]) -> list[str]:
    """List the mistakes in a configuration, a sentence each."""
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_dict(values)
    assert str(caught.value) == "\n".join(caught.value.errors)
    return caught.value.errors


def _small(method: str) -> dict[str, Any]:
    if method not in METHOD_CONFIGS:
        return {}
    small = {}
    for field in fields(METHOD_CONFIGS[method]):
        ending = next((end for end in SMALL if field.name.endswith(end)), None)
        if ending:
            small[f"method/{field.name}"] = SMALL[ending]
    return small


def go(
    config: TrialConfig,
    folder: Path | None = None,
    every: int = 0,
    report: Any = None,
    progress: Any = None,
) -> Result:
    """Run a trial on one thread: no fight over the cores, and equal bits."""
    runtime = Runtime(threads=1, checkpoint_dir=folder, checkpoint_every=every)
    return run(config, report, progress, runtime)


def build(config: TrialConfig) -> tuple[Method, Benchmark]:
    """Make the method and the data of a trial, as `run` does."""
    benchmark = load(config.benchmark)
    layout = make_layout(config, len(benchmark.tasks), benchmark.classes_per_task)
    with seeding.isolated(config.seed, "trial"):
        statistics = benchmark.pixel_statistics
        setup = Setup(config, layout, benchmark.input_shape, pixel_statistics=statistics)
        return make_method(setup), benchmark


def batch(benchmark: Benchmark, method: Method, task_id: int, first: int = 0) -> Any:
    """Take sixteen training samples of a task: x, and y as index of the output unit."""
    train = benchmark.tasks[task_id].train
    x, y = train.batch(torch.arange(first, first + 16) % len(train))
    return x.to(torch.get_default_dtype()), method.layout.targets(y, task_id)


def learn(method: Method, benchmark: Benchmark, task_id: int, steps: int = 3) -> list[Any]:
    """Learn one task as the learner does, and return the losses of each step."""
    task = benchmark.tasks[task_id]
    method.start_task(task)
    method.train()
    losses = [method.train_step(*batch(benchmark, method, task_id, 16 * i)) for i in range(steps)]
    method.end_task(task)
    return losses


def assert_same(mine: Any, theirs: Any, path: str = "") -> None:
    """Require equal bits, through dicts, lists and tensors."""
    assert type(mine) is type(theirs), path
    if isinstance(mine, Tensor):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape, path
        assert torch.equal(mine, theirs), f"{path}: {(mine - theirs).abs().max()}"
    elif isinstance(mine, dict):
        assert mine.keys() == theirs.keys(), path
        for key in mine:
            assert_same(mine[key], theirs[key], f"{path}/{key}")
    elif isinstance(mine, list | tuple):
        assert len(mine) == len(theirs), path
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            assert_same(a, b, f"{path}/{i}")
    else:
        assert mine == theirs, path
