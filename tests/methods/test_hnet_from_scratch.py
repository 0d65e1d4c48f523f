"""From scratch as hypernetworks: every task has a new one, and keeps its network."""

import torch
from tiny import assert_same, batch, build, errors_of, go, learn, trial

from hcl.methods.hnet import Hnet
from hcl.methods.hnet_from_scratch import HnetFromScratch


def test_a_task_begins_with_a_new_hypernetwork_and_keeps_its_network() -> None:
    torch.set_num_threads(1)
    method, data = build(trial("hnet_from_scratch"))
    assert isinstance(method, HnetFromScratch)
    learn(method, data, 0)
    x, _ = batch(data, method, 0)
    first = method.eval().predict(x, 0).logits
    learned = [p.detach().clone() for p in method.one_hypernet.parameters()]
    method.start_task(data.tasks[1])
    fresh = [p.detach() for p in method.one_hypernet.parameters()]
    biases = [p for p in fresh if p.ndim == 1 and len(p) != method.config.embedding_size]
    assert not any(torch.equal(a, b) for a, b in zip(learned, fresh, strict=True) if a.ndim > 1)
    assert len(biases) == 2 and not any(bias.any() for bias in biases)
    # From here on it is HNET that learns this task alone.
    alone, _ = build(trial("hnet", method__beta=0.0))
    assert isinstance(alone, Hnet)
    alone.start_task(data.tasks[1])
    with torch.no_grad():
        for own, value in zip(alone.one_hypernet.parameters(), fresh, strict=True):
            own.copy_(value)
    for step in range(3):
        mine, theirs = (m.train().train_step(*batch(data, m, 1, step)) for m in (method, alone))
        assert_same(mine, theirs)
    second, _ = batch(data, method, 1)
    assert_same(method.eval().predict(second, 1), alone.eval().predict(second, 1))
    assert_same(method.predict(x, 0).logits, first)


def test_nothing_is_forgotten() -> None:
    rows = go(trial("hnet_from_scratch", train__iterations=20)).accuracy["test/task"]
    assert [row[0] for row in rows] == [rows[0][0]] * 3
    assert rows[2][1] == rows[1][1]


def test_what_it_cannot_have() -> None:
    settings = {"method/name": "hnet_from_scratch"}
    (beta,) = errors_of({**settings, "method/beta": 0.01})
    assert beta.startswith("method/beta: must be <= 0 but got 0.01")
    (generate,) = errors_of({**settings, "method/generate": "lora(2)"})
    assert generate.startswith("method/generate: no task shares weights with another one")
