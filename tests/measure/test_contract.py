"""`hcl check`: what is wrong with a method, in words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from own_code import METHOD, write

from hcl.config import plugins
from hcl.measure.contract import Finding, check_method

BROKEN = """
import random

from hcl.methods import Prediction


class Forgets(Finetune):
    Config = Config

    def start_task(self, task):
        super().start_task(task)
        self.count = 0.0

    def losses(self, x, y):
        self.count += 1.0
        return {name: loss * self.count for name, loss in super().losses(x, y).items()}


class Random(Finetune):
    Config = Config

    def losses(self, x, y):
        return {name: loss * random.random() for name, loss in super().losses(x, y).items()}


class Endless(Finetune):
    Config = Config

    def losses(self, x, y):
        return {name: loss / 0.0 for name, loss in super().losses(x, y).items()}


class Fixed(Finetune):
    Config = Config

    def __init__(self, setup):
        super().__init__(setup)
        for p in self.network.parameters():
            p.data.fill_(0.1)

    def losses(self, x, y):
        return {"task": sum(p.sum() for p in self.network.parameters())}


class Elsewhere(Finetune):
    Config = Config

    def predict(self, x, task_id):
        found = super().predict(x, task_id)
        return Prediction(found.logits, found.logits.argmax(1) + 7)


class Narrow(Finetune):
    Config = Config

    def predict(self, x, task_id):
        found = super().predict(x, task_id)
        return Prediction(found.logits, found.logits.argmax(1).float())


class Learning(Finetune):
    Config = Config

    def predict(self, x, task_id):
        for p in self.network.parameters():
            p.data.mul_(0.99)
        return super().predict(x, task_id)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    write(tmp_path)
    (tmp_path / "broken.py").write_text(METHOD + BROKEN)
    with plugins.importable(tmp_path):
        yield tmp_path


@pytest.mark.parametrize("name", ["mine:Shrinking", "si"])
def test_good_methods(folder: Path, name: str) -> None:
    findings = list(check_method(name))
    assert len(findings) == 15 and not any(finding.problem for finding in findings)


@pytest.mark.parametrize(
    ("name", "tried", "words"),
    [
        ("Forgets", "a training that was killed", "no attribute 'count' (broken.py, line "),
        ("Random", "the same seed gives the same result", "draw random numbers from torch's"),
        ("Endless", "two tasks are learned", "the task loss is nan at step 6 of task 0"),
        ("Fixed", "the same seed gives the same result", "another seed gives the same losses, ["),
        ("Elsewhere", "predictions have the right shape", "but only tasks 0 and 1 have been"),
        ("Learning", "predictions between two steps", "train/eval_every ends elsewhere than one"),
        ("Narrow", "predictions have the right shape", "task_ids are torch.float32 (5,), not"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, name: str, tried: str, words: str) -> None:
    problems = [finding for finding in check_method(f"broken:{name}") if finding.problem]
    assert all(isinstance(problem, Finding) for problem in problems)
    assert any(tried in p.tried and words in p.problem for p in problems), problems
