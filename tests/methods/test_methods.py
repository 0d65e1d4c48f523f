"""The contract of a method: every one in the registry, in every scenario that it supports."""

import io
from typing import get_args

import pytest
import torch
from tiny import EVERY_CELL, VARIANTS, assert_same, batch, build, learn, trial, variant

from hcl.config import ConfigError, TrialConfig
from hcl.config.methods import METHOD_CONFIGS, ScenarioName
from hcl.hypernets import TaskHypernet
from hcl.measure.contract import check_trial
from hcl.methods import METHODS
from hcl.training.learner import run

SCENARIOS = get_args(ScenarioName)
UNSUPPORTED = [
    (m, s) for m, c in METHOD_CONFIGS.items() for s in SCENARIOS if s not in c.SCENARIOS
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_registries_agree() -> None:
    assert METHODS.keys() == METHOD_CONFIGS.keys()
    for name, config in METHOD_CONFIGS.items():
        assert name.replace("_", "").isalnum() and name == name.lower()
        assert config.SCENARIOS and set(config.SCENARIOS) <= set(SCENARIOS)
        for trained, others in config.ALSO_SCORES.items():
            assert trained in config.SCENARIOS and set(others) <= set(SCENARIOS) - {trained}
        defaults = TrialConfig.from_dict({"method/name": name, "scenario": config.SCENARIOS[0]})
        assert defaults.method == config(name=name) and defaults.method_name == name
        assert METHODS[name].__doc__ and config.__doc__
        assert "name" not in vars(config).get("__annotations__", {})  # it is the registry key
    assert list(METHODS) == list(METHOD_CONFIGS), "one order, that of a table's columns"


def test_every_method_has_a_label_of_its_own() -> None:
    labels = [
        {config.label(scenario) for scenario in config.SCENARIOS}
        for config in METHOD_CONFIGS.values()
    ]
    assert all("" not in found for found in labels)
    assert len(set().union(*labels)) == sum(map(len, labels))


@pytest.mark.parametrize("kernels", ["fast", "plain"])
@pytest.mark.parametrize("name", METHODS)
def test_label_smoothing_is_for_true_labels(name: str, kernels: str) -> None:
    """(1 - e) cross-entropy + e (a mean over classes) is linear in e, and no replay moves."""
    own = {"hnet", "hnet_tir", "hnet_r", "pr_bbb"}  # the others have no hypernetwork's kernels
    if kernels == "plain" and name not in own:
        pytest.skip("has no kernels of its own")
    learned, data = build(trial(name, train__kernels=kernels))
    learn(learned, data, 0)
    losses = []
    for smoothing in (0.0, 0.1, 0.3):
        method, _ = build(trial(name, train__kernels=kernels, train__label_smoothing=smoothing))
        method.load_state_dict(learned.state_dict())
        torch.manual_seed(0)
        (found,) = learn(method, data, 1, steps=1)
        losses.append(found)
    # What is kept has its true label.
    kept = {"replay"} if name in ("er", "er_ace") else {"replay_labels", "reference"}
    smoothed = {"task", "task_inference", *kept}
    for key in losses[0]:
        none, little, much = (found[key] for found in losses)
        if key in smoothed:
            torch.testing.assert_close((much - none) / 3, little - none, rtol=1e-3, atol=1e-6)
            assert abs(much - none) > 1e-4
        elif key != "regularizer":  # looks ahead along the task's gradient
            torch.testing.assert_close(much, none)


@pytest.mark.parametrize(("method", "scenario"), UNSUPPORTED)
def test_unsupported_scenario_is_refused_in_one_sentence(method: str, scenario: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trial(method, scenario)
    (error,) = caught.value.errors
    assert error.startswith("scenario: ") and method in error and scenario in error
    assert METHOD_CONFIGS[method].WHY_NOT in error


@pytest.mark.parametrize(("method", "scenario"), [(m, s) for m, s, b in EVERY_CELL if "sp" in b])
def test_scoring_elsewhere_is_refused_unless_declared(method: str, scenario: str) -> None:
    allowed = {scenario, *METHOD_CONFIGS[method].ALSO_SCORES.get(scenario, ())}
    for other in SCENARIOS:
        if other in allowed:
            assert trial(method, scenario, eval_scenarios=[other]).eval_scenarios == (other,)
        else:
            with pytest.raises(ConfigError, match=f"cannot be scored in the {other} scenario"):
                trial(method, scenario, eval_scenarios=[other])


@pytest.mark.parametrize(("method", "scenario", "benchmark"), EVERY_CELL)
def test_a_method_learns_and_predicts(method: str, scenario: str, benchmark: str) -> None:
    made, data = build(trial(method, scenario, benchmark))
    for task_id in range(2):
        for losses in learn(made, data, task_id):
            assert "task" in losses
            # The regularizer leaves the first task alone.
            assert task_id > 0 or "regularizer" not in losses
            for loss in losses.values():
                assert loss.shape == () and loss.isfinite() and not loss.requires_grad
        assert made.task_id == task_id and made.num_learned == task_id + 1
        made.eval()
        for past in range(task_id + 1):
            x, _ = batch(data, made, past)
            with torch.no_grad():
                logits, task_ids = made.predict(x, past if scenario == "task" else None)
            assert logits.shape == (16, made.layout.num_outputs)
            assert not logits[:, made.layout.head(past)].isnan().any()
            if task_ids is not None:
                assert task_ids.shape == (16,) and task_ids.dtype == torch.int64
                assert task_ids.min() >= 0 and task_ids.max() <= task_id
    assert made.num_stored() > 0 and made.num_target_weights() > 0


@pytest.mark.parametrize(("method", "scenario", "benchmark"), EVERY_CELL)
def test_a_method_keeps_the_contract(method: str, scenario: str, benchmark: str) -> None:
    """What `hcl check` asks of a user's own: finite, repeatable, resumed to the bit, in shape."""
    torch.randn(7)  # what else a process draws does not matter
    findings = list(check_trial(trial(method, scenario, benchmark, benchmark__num_tasks=2)))
    assert len(findings) == 5 and not [finding for finding in findings if finding.problem]


@pytest.mark.parametrize("name", VARIANTS)
def test_state_dict_holds_all_that_matters(name: str) -> None:
    """A method saved inside its third task and one that loads this go on alike, to the bit."""
    config = variant(name)
    one, data = build(config)
    for task_id in range(2):
        learn(one, data, task_id)
    one.start_task(data.tasks[2])
    one.train_step(*batch(data, one, 2))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other, _ = build(variant(name, seed=99))
    # With another seed: random streams must come from the state, not from a new generator.
    other.load_state_dict(torch.load(file, weights_only=True))
    for made in (one, other):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for first in (16, 32):
                made.train_step(*batch(data, made, 2, first))
            made.end_task(data.tasks[2])
    assert_same(one.state_dict(), other.state_dict())
    for made in (one, other):
        made.eval()
    x, _ = batch(data, one, 0)
    with torch.no_grad():
        assert_same(tuple(one.predict(x, 0)), tuple(other.predict(x, 0)))


@pytest.mark.parametrize("method", METHODS)
def test_predictions_follow_a_loaded_state(method: str) -> None:
    """What was computed for an evaluation is dropped when other weights are loaded."""
    one, data = build(trial(method))
    other, _ = build(trial(method, seed=2))
    x, _ = batch(data, one, 0)
    for made in (one, other):
        learn(made, data, 0)
        made.eval()
    with torch.no_grad():
        other.predict(x, 0)
        other.load_state_dict(one.state_dict())
        assert_same(tuple(other.predict(x, 0)), tuple(one.predict(x, 0)))


@pytest.mark.parametrize("method", METHODS)
def test_predictions_between_steps_follow_them(method: str) -> None:
    made, data = build(trial(method))
    task_id = 1 if made.layout.scenario == "task" else None
    learn(made, data, 0)
    made.start_task(data.tasks[1])
    made.train()
    x, y = batch(data, made, 1)
    with torch.no_grad():
        made.predict(x, task_id)
    made.train_step(x, y)
    with torch.no_grad():
        between = made.predict(x, task_id).logits
        made.eval()
        assert_same(between, made.predict(x, task_id).logits)


def test_no_task_is_generated_twice_for_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the matrix generates each task's weights once, for both scenarios and splits."""
    config = trial("hnet", eval_scenarios=["task", "class"], benchmark__val_fraction=0.2)
    generated: list[range] = []
    plain = TaskHypernet.forward

    def forward(self: TaskHypernet, task_ids: range) -> torch.Tensor:
        generated.append(task_ids)
        return plain(self, task_ids)

    monkeypatch.setattr(TaskHypernet, "forward", forward)
    run(config)
    assert generated == [range(1), range(2), range(3)]
