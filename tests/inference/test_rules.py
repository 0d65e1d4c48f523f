"""Rules of task inference against closed forms, and from one training."""

import pytest
import torch
from tiny import assert_same, build, errors_of, go, learn, trial
from torch import Tensor

from hcl import load_benchmark
from hcl.inference import rules
from hcl.inference.rules import Evidence
from hcl.measure.task_inference import RULES, score_rules
from hcl.networks.target import TargetNetwork

X, WEIGHTS = torch.randn(7, 3), torch.randn(4, 15)  # networks of a matrix (3, 5)


def run(flat: Tensor, x: Tensor) -> Tensor:
    return x @ flat.view(3, 5)


def evidence() -> Evidence:
    heads = torch.stack([run(one, X) for one in WEIGHTS])
    return Evidence(X, WEIGHTS, heads)


def test_the_largest_logit_wins() -> None:
    heads = torch.tensor([[[1.0, -9.0], [0.0, 2.0]], [[0.5, 0.4], [5.0, 5.0]]])
    found = rules.max_logit(Evidence(X, WEIGHTS, heads))
    assert found.tolist() == [[1.0, 2.0], [0.5, 5.0]] and found.argmax(0).tolist() == [0, 1]


def test_gaps_are_compared_in_units_of_their_own_task() -> None:
    """A gap of 6 is less than usual for the first task, and more for the second one."""
    statistics = torch.stack(
        [
            rules.gap_statistics(torch.tensor([[9.0, 1.0, 0.0], [0.0, 12.0, 0.0]])),
            rules.gap_statistics(torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 4.0]])),
        ]
    )
    assert statistics.tolist() == [[10.0, 2.0], [3.0, 1.0]]
    heads = torch.tensor([[[6.0, 0.0, -1.0]], [[5.0, 1.0, 0.0]]])
    found = rules.gap_zscore(statistics)(Evidence(X, WEIGHTS, heads))
    assert found.tolist() == [[-2.0], [1.0]]


def test_the_gradient_of_the_entropy_has_its_closed_form() -> None:
    """dH/dz_j = -p_j (log p_j + H), and dz/dalpha_t = x W_t, for a network of one matrix."""
    found = rules.entropy_gradient(run)(evidence())
    log_p = run(WEIGHTS.mean(0), X).double().log_softmax(1)
    spread = -(log_p.exp() * log_p).sum(1, keepdim=True)
    by_logit = -log_p.exp() * (log_p + spread)
    expected = [-(by_logit * run(one, X)).sum(1) for one in WEIGHTS]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("generate", ["all", "lora(2)"])
@torch.no_grad()
def test_the_gradient_agrees_with_differences(generate: str) -> None:
    """Of a trained HNET: entropies of mixtures with a little more of one network."""
    made, data = build(trial("hnet", "class", method__generate=generate, method__chunk_size=20))
    for task_id in range(3):
        with torch.enable_grad():
            learn(made, data, task_id)
    made.double().eval()
    x = data.tasks[0].test.batch(torch.arange(9))[0].double()
    weights = made.networks.weights(range(3))
    found = rules.entropy_gradient(made._run_mixture)(Evidence(x, weights, weights))
    for task_id, own in enumerate(weights):
        at = [made._run_mixture(weights.mean(0) + step * own, x) for step in (1e-5, -1e-5)]
        more, less = (torch.special.entr(z.softmax(1)).sum(1) for z in at)
        torch.testing.assert_close(found[task_id], -(more - less) / 2e-5, rtol=1e-4, atol=1e-7)


def test_the_mixture_has_the_mean_of_the_statistics() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    target = TargetNetwork(network)
    target.train(False)
    means = {**target.initial_buffers, "1.running_mean": torch.full((4,), 2.0)}
    flat = torch.randn(target.num_weights)
    moved = target.run_plainly(flat, X, means)
    plain = target(flat, X, target.initial_buffers)
    scale = target.generated.unflatten(flat)["1.weight"] / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(moved, plain - 2 * scale)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_all_rules_are_scored_from_one_training(scenario: str) -> None:
    """Each as a training of its own with that rule scores, whose weights are the same."""
    learned = go(trial("hnet", scenario, method__inference="gap_zscore")).learner
    benchmark = load_benchmark(learned.config)
    found = score_rules(learned, benchmark)
    assert tuple(found) == RULES and learned.method.config.inference == "gap_zscore"
    scored = "domain" if scenario == "domain" else "class"
    for rule in RULES:
        result = go(trial("hnet", scenario, method__inference=rule, eval_scenarios=[scored]))
        assert_same(
            result.learner.method.task_hypernet.state_dict(),
            learned.method.task_hypernet.state_dict(),
        )
        assert found[rule].accuracy == result.accuracy[f"test/{scored}"][-1]
        assert found[rule].inferred == result.inference[f"test/{scored}"][-1]
    plain = go(trial("hnet", scenario)).learner
    assert tuple(score_rules(plain, benchmark)) == ("entropy", "max_logit", "entropy_gradient")


@pytest.mark.parametrize("method", ["hnet_tir", "hnet_from_scratch"])
def test_methods_without_the_choice_refuse_it(method: str) -> None:
    values = {"method/name": method, "method/inference": "max_logit"}
    if method == "hnet_tir":
        values["scenario"] = "class"
    assert errors_of(values) == [f"method/inference: {method} has no choice of it; leave it out"]
