"""When a silent trial is asked for, and what is said; faults/test_ray.py stops a real one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.cluster.silence import EVERY, LEAST, MAY_BE_SLOW, TIMES, SilenceCallback, describe
from sweeps.workers.process_state import ProcessState


def running(number: int) -> SimpleNamespace:
    process = SimpleNamespace(ray_actor="an actor")
    return SimpleNamespace(config={"number": number}, status="RUNNING", temporary_state=process)


class Watch:
    """A callback over trials 0 and 1, a clock, and what it asked and said."""

    def __init__(self, folder: Path, answer: str | None) -> None:
        self.now, self.folder, self.answer = 0.0, folder, answer
        self.said: list[str] = []
        self.asked: list[int] = []
        self.trials = [running(number) for number in (0, 1)]
        self.callback = SilenceCallback(
            self.said.append, lambda n: [folder / str(n)], self.ask, lambda: self.now
        )

    def ask(self, trial: Any) -> Any:
        self.asked.append(trial.config["number"])
        return SimpleNamespace(answer=lambda is_last: self.answer or ("gone" if is_last else None))

    def go_on(self, seconds: float, reports: int | None = None) -> None:
        """Let time pass; trial 1 reports every ten seconds, and at the end a trial does."""
        until = self.now + seconds
        while self.now < until:
            self.now += EVERY
            self.report(1)
            self.callback.on_step_end(0, self.trials)
        if reports is not None:
            self.report(reports)

    def report(self, number: int) -> None:
        self.callback.on_trial_result(0, self.trials, self.trials[number], {})


def test_a_trial_that_hangs_is_named_once_and_again_after_twice_the_time(tmp_path: Path) -> None:
    watch = Watch(tmp_path, "it hangs")
    watch.go_on(LEAST)
    assert watch.asked == watch.said == []
    watch.go_on(3 * EVERY)
    assert watch.asked == [0]
    assert watch.said == ["trial 0: no news for 320 s (at most 10 s before); it hangs"]
    watch.go_on(LEAST)
    assert len(watch.said) == 1
    watch.go_on(LEAST / 2)
    assert len(watch.said) == 2
    watch.report(0)
    watch.go_on(LEAST - EVERY)
    assert len(watch.said) == 2


def test_trials_whose_tasks_take_long_are_given_that_time(tmp_path: Path) -> None:
    watch = Watch(tmp_path, "it hangs")
    watch.go_on(200, reports=0)
    watch.go_on(TIMES * 190)  # the first look is at 10 s
    assert watch.asked == []
    watch.go_on(3 * EVERY)
    assert watch.asked == [0] and "(at most 190 s before)" in watch.said[0]


@pytest.mark.parametrize("name", ["journal.jsonl", "checkpoints"])
def test_what_a_trial_writes_is_news(tmp_path: Path, name: str) -> None:
    watch = Watch(tmp_path, "it hangs")
    for _ in range(5):
        (tmp_path / "0" / name).mkdir(parents=True)
        watch.go_on(LEAST - EVERY)
        (tmp_path / "0" / name).rmdir()
        watch.go_on(2 * EVERY)
    assert watch.asked == []


def test_a_node_that_does_not_answer_is_said_after_a_minute(tmp_path: Path) -> None:
    watch = Watch(tmp_path, None)
    watch.go_on(LEAST + 5 * EVERY)
    assert watch.asked == [0] and watch.said == []
    watch.go_on(6 * EVERY)
    assert len(watch.said) == 1 and watch.said[0].endswith("; gone")


def test_before_any_news_a_trial_that_computes_is_not_called_slow(tmp_path: Path) -> None:
    watch = Watch(tmp_path, f"{MAY_BE_SLOW}; kill it")
    watch.trials.pop()
    watch.report = lambda number: None  # type: ignore[method-assign]
    watch.go_on(3 * LEAST)
    assert watch.asked == [0, 0] and watch.said == []


def test_what_is_said_names_the_remedy() -> None:
    assert describe(ProcessState("T", 0.0), 7, "10.0.0.2") == (
        "its process is stopped: kill -CONT 7 on 10.0.0.2 lets it go on, and kill -9 7 on"
        " 10.0.0.2 starts it again from its last checkpoint"
    )
    assert "does nothing: kill -9 7 on" in describe(ProcessState("S", 0.0), 7, "10.0.0.2")
    assert describe(ProcessState("R", 1.0), 7, "x").startswith(MAY_BE_SLOW)
    assert "has ended" in describe(ProcessState("", 0.0), 7, "x")
