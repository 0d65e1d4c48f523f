"""`hcl validate --estimate` and the plan of `hcl reproduce`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hcl.config import TrialConfig
from hcl.training.process import Runtime
from sweeps.cli import app
from sweeps.cluster import cost

pytestmark = pytest.mark.timeout(60)  # the first one imports torch
TINY = {
    "benchmark/name": "split_digits",
    "benchmark/num_tasks": 2,
    "target/hidden_sizes": [8],
    "train/iterations": 20,
    "train/batch_size": 16,
}
TRIAL = "benchmark: {name: split_digits}\ntarget: {hidden_sizes: [8]}\nmethod: {name: si}\n"
SPACE = """
trial: {benchmark/name: split_digits, benchmark/val_fraction: 0.1, method/name: hnet, method/chunk_size: 100}
search: {method/embedding_size: {type: int, low: 4, high: 64}}
sweep: {num_trials: 5, seeds: [1, 2]}
"""  # noqa: E501
TABLE = """
title: Two
seeds: 3
columns: {si: SI, finetune: Fine-tuning}
rows:
  CL1:
    trial: {benchmark/name: split_digits, target/hidden_sizes: [8]}
    cells: {si: {trial: {method/name: si}}, finetune: {trial: {method/name: finetune}}}
"""


def config(**more: object) -> TrialConfig:
    return TrialConfig.from_dict({**TINY, **{k.replace("__", "/"): v for k, v in more.items()}})


def shown(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["validate", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (TRIAL, ["file"]),
        (SPACE, ["lower ends", "upper ends", "sum"]),
        (TABLE, ["CL1 si", "CL1"]),
    ],
)
def test_every_kind_of_file_is_estimated(tmp_path: Path, text: str, lines: list[str]) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    told = shown("--estimate", path)
    assert f"{path}: ok" in told and "steps/s" in told and "peak" in told
    for line in lines:
        assert line in told


def test_what_costs_the_same_is_timed_once() -> None:
    named = [
        ("a", config(method__beta=0.1, seed=1), 2),
        ("b", config(method__beta=0.2, seed=2), 3),
        ("c", config(method__embedding_size=3), 1),
    ]
    first, second = cost.group(named)
    assert (first.name, first.count) == ("a, b", 5) and second.count == 1


def test_hours_are_steps_times_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcl.measure.probe._step_seconds", lambda trial, batches: 0.5)
    (one,) = cost.measure(cost.group([("a", config(), 3)]), Runtime(threads=1))
    assert one.hours == pytest.approx(0.5 * 20 * 2 / 3600)
    assert cost.sum_hours([one]) == pytest.approx(3 * 0.5 * 20 * 2 / 3600)


def test_what_does_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of ten million gigabytes: a step of it would not end well."""
    large = config(target__hidden_sizes=[50_000_000, 50_000_000], method__chunk_size=10**6)
    (one,) = cost.measure(cost.group([("large", large, 1)]), Runtime(threads=1))
    assert one.hours is None and "no step was timed, for about" in one.why_not
    table = cost.table("t", [one], "cpu")
    assert table.rows[0][-1] == table.rows[-1][-1] == "?" and one.why_not in table.notes
    assert cost.sum_hours([one]) is None


def test_torch_may_run_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(trial: object, batches: object) -> float:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory\nat 0x0")

    monkeypatch.setattr("hcl.measure.probe._step_seconds", step)
    (one,) = cost.measure(cost.group([("large", config(), 1)]), Runtime(threads=1))
    message = "large: no step was timed: DefaultCPUAllocator: can't allocate memory"
    assert one.hours is None and one.why_not == message


def test_the_probe_ends_after_one_long_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from hcl.measure import probe
    from hcl.methods.finetune import Finetune

    steps: list[int] = []
    original = Finetune.train_step
    monkeypatch.setattr(probe, "LONG", 0.0)
    monkeypatch.setattr(
        Finetune, "train_step", lambda self, x, y: steps.append(1) or original(self, x, y)
    )
    found = probe.probe(config(method__name="finetune"), Runtime(threads=1))
    assert len(steps) == 2 and found.first > 0 and found.last > 0


def test_there_is_memory_here() -> None:
    assert 2**20 < cost.free_bytes("cpu") < 2**50
