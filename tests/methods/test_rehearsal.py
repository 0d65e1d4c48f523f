"""Methods with a buffer against their formulas, computed sample by sample."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import batch, build, learn, trial
from torch import Tensor

from hcl.methods.agem import project
from hcl.methods.rehearsal import Rehearsal
from hcl.networks.features import features
from hcl.scenario import OutputLayout

SCENARIOS = ("task", "domain", "class")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def in_second_task(name: str, scenario: str, **more: Any) -> tuple[Any, Tensor, Tensor]:
    """Learn a task, take a step of the second one; gives the method and its next batch."""
    made, data = build(trial(name, scenario, **more))
    assert isinstance(made, Rehearsal)
    learn(made, data, 0)
    made.start_task(data.tasks[1])
    made.train()
    made.train_step(*batch(data, made, 1))
    return made, *batch(data, made, 1, 16)


def drawn_next(made: Any, count: int) -> Tensor:
    """Places that the next draw of the buffer will give; the draw itself is not made."""
    before = made.buffer.draws.get_state()
    places = made.buffer.draw(count)
    made.buffer.draws.set_state(before)
    return places


def own_outputs(layout: OutputLayout, unit: int) -> list[int]:
    return list(range(unit // 2 * 2, unit // 2 * 2 + 2)) if layout.scenario == "task" else []


def label_loss(made: Any, places: Tensor) -> Tensor:
    """Cross-entropy of kept samples: own head, shared head, or the two tasks' four outputs."""
    total = torch.zeros(())
    for place in places.tolist():
        unit = int(made.buffer.kept_y[place])
        logits = made.network(made.buffer.inputs(torch.tensor([place])))[0]
        some = own_outputs(made.layout, unit) or list(range(min(4, len(logits))))
        total = total - logits[some].log_softmax(0)[some.index(unit)]
    return total / len(places)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", ["der", "der_plus"])
def test_der(name: str, scenario: str) -> None:
    made, x, y = in_second_task(name, scenario, method__der_alpha=0.7)
    places = drawn_next(made, 16)
    distances = []
    for place in places.tolist():
        outputs = made.network(made.buffer.inputs(torch.tensor([place])))[0]
        some = own_outputs(made.layout, int(made.buffer.kept_y[place])) or slice(None)
        distances += (outputs - made.buffer.kept_logits[place]).square()[some].tolist()
    losses = made.losses(x, y)
    torch.testing.assert_close(losses["task"], made.layout.cross_entropy(made.network(x), y, 1))
    assert losses["replay"].item() == pytest.approx(0.7 * sum(distances) / len(distances))
    assert losses["replay"] > 0 and ("replay_labels" in losses) == (name == "der_plus")
    if name == "der_plus":
        before = made.buffer.draws.get_state()
        made.buffer.draw(16)
        second = drawn_next(made, 16)
        made.buffer.draws.set_state(before)
        labels = made.losses(x, y)["replay_labels"]
        torch.testing.assert_close(labels, 0.5 * label_loss(made, second))


def test_der_keeps_outputs_from_before_the_step() -> None:
    made, data = build(trial("der", "class", method__buffer_size=100))
    made.start_task(data.tasks[0])
    made.train()
    x, y = batch(data, made, 0)
    before = made.network(x).detach()
    assert "replay" not in made.train_step(x, y)
    assert len(made.buffer) == 16
    for kept, logits in zip(made.buffer.inputs(slice(None)), made.buffer.kept_logits, strict=True):
        (row,) = (x - kept).abs().sum(1).lt(1e-4).nonzero()[:1, 0]
        torch.testing.assert_close(logits, before[row])
    assert "replay" in made.train_step(x, y)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_er_ace(scenario: str) -> None:
    made, x, y = in_second_task("er_ace", scenario)
    places = drawn_next(made, 16)
    losses = made.losses(x, y)
    head = slice(0, 2) if scenario == "domain" else slice(2, 4)
    expected = F.cross_entropy(made.network(x)[:, head], y - head.start)
    torch.testing.assert_close(losses["task"], expected)
    torch.testing.assert_close(losses["replay"], label_loss(made, places))
    if scenario != "domain":  # samples of the current task are kept too
        assert set((made.buffer.kept_y // 2).tolist()) == {0, 1}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_agem_takes_the_turned_gradient(scenario: str) -> None:
    made, x, y = in_second_task("agem", scenario)
    parameters = list(made.network.parameters())
    places = drawn_next(made, 16)
    loss = made.layout.cross_entropy(made.network(x), y, 1)
    g = torch.cat([t.flatten() for t in torch.autograd.grad(loss, parameters)])
    past = label_loss(made, places)
    r = torch.cat([t.flatten() for t in torch.autograd.grad(past, parameters)])
    losses = made.train_step(x, y)
    assert losses["reference"].item() == pytest.approx(past.item(), rel=1e-4)
    taken = torch.cat([p.grad.flatten() for p in parameters])
    expected = g if g @ r >= 0 else g - (g @ r) / (r @ r) * r
    torch.testing.assert_close(taken, expected, rtol=1e-3, atol=1e-6)


def test_a_gradient_is_turned_only_against_the_past() -> None:
    g = (torch.tensor([1.0, 0.0]), torch.tensor([2.0]))
    with_it, against = (
        (torch.tensor([3.0, 1.0]), torch.tensor([0.0])),
        (
            torch.tensor([-1.0, 1.0]),
            torch.tensor([0.0]),
        ),
    )
    assert [t.tolist() for t in project(g, with_it)] == [[1.0, 0.0], [2.0]]
    turned = project(g, against)
    assert [t.tolist() for t in turned] == [[0.5, 0.5], [2.0]]
    nothing = (torch.zeros(2), torch.zeros(1))
    assert [t.tolist() for t in project(g, nothing)] == [[1.0, 0.0], [2.0]]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_icarls_loss_against_a_loop(temperature: float) -> None:
    more = {"method__buffer_size": 8, "method__temperature": temperature}
    made, x, y = in_second_task("icarl", "class", **more)
    assert made.buffer.counts == [4, 4]
    made.share_kept = 0.0  # no exemplar in this batch
    new, old = made.network(x).detach(), made.setup.build_network()
    old.requires_grad_(False).load_state_dict(made.previous)
    total = 0.0
    for n in range(16):
        for unit in range(4):
            softened = (old(x)[n, unit] / temperature).sigmoid()
            target = float(softened) if unit < 2 else float(y[n] == unit)
            p = float(new[n, unit].double().sigmoid())
            total -= target * torch.tensor(p).log().item()
            total -= (1 - target) * torch.tensor(1 - p).log().item()
    assert made.losses(x, y)["task"].item() == pytest.approx(total / 16, rel=1e-4)


def test_icarls_batches_have_the_exemplars_share() -> None:
    made, x, y = in_second_task("icarl", "class", method__buffer_size=8)
    num_new = round(8 / made.share_kept) - 8
    assert made.share_kept == 8 / (8 + num_new) and num_new > 100
    seen: list[Tensor] = []
    made.network.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    made.share_kept = 1.0  # nothing but exemplars
    made.losses(x, y)
    kept = made.buffer.inputs(slice(None))
    assert all((row == kept).all(1).any() for row in seen[-1])


def test_icarl_predicts_the_nearest_mean() -> None:
    made, data = build(trial("icarl", "class"))
    for task_id in range(2):
        learn(made, data, task_id, steps=6)
    made.eval()
    x = data.tasks[0].test.batch(torch.arange(30))[0]
    with torch.no_grad():
        found = made.predict(x, None).logits
    assert found.shape == (30, 6) and (found[:, 4:] == -torch.inf).all()
    means = []
    for unit in range(4):
        own = made.buffer.inputs(made.buffer.kept_y == unit)
        mean = features(made.network, 6, own).mean(0)
        means.append(mean / mean.norm())
    hidden = made.network[:-1](x).detach()
    for n in range(30):
        at = hidden[n] / hidden[n].norm()
        distances = torch.stack([(at - mean).norm() for mean in means])
        torch.testing.assert_close(-found[n, :4], distances, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["er", "er_ace", "der", "agem", "icarl"])
def test_the_buffers_bytes_are_stored_numbers(name: str) -> None:
    scenario = "class"
    small, _ = build(trial(name, scenario, method__buffer_size=10))
    large, _ = build(trial(name, scenario, method__buffer_size=30))
    per_sample = 64 + 8 + (4 * 6 if name == "der" else 0)  # pixels, label, logits
    assert large.num_stored() - small.num_stored() == 20 * per_sample // 4
