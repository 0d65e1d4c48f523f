"""The progress that a person reads while a sweep runs."""

import pickle
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from sweeps.cluster.progress import Counts, ProgressCallback, Size, duration
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.records.trial_ends import seed_folders


def counts(**more: Any) -> Counts:
    objective = "val/task/average_accuracy"
    known = {"size": Size(5), "mode": "max", "objective": objective, "started": 0.0}
    return Counts(total=10, **{**known, **more})


def test_the_line_says_done_running_failed_best_and_time_left() -> None:
    state = counts(done=2, failed=1, best=(0.9, 0), running={4: (2,), 5: ()})
    state.end(3, 0.95)
    state.end(6, None)
    # In 60 s: 2 trials ended and 2 of 5 tasks; 10 - 5 - 0.4 are left.
    assert state.seconds_left(60.0) == pytest.approx(60 / 2.4 * 4.6)
    assert state.line(60.0) == (
        "3/10 trials done, best 95.00 % (trial 3), about 2 min left, 2 failed,"
        " 2 running (trial 4: 2/5 tasks, trial 5: 0/5 tasks)"
    )


def test_nothing_is_promised_before_the_first_task() -> None:
    state = counts(done=4, running={4: (0,)})
    assert state.seconds_left(100.0) is None
    assert state.line(100.0) == "4/10 trials done, 1 running (trial 4: 0/5 tasks)"


def test_the_time_left_counts_down_between_two_tasks() -> None:
    state = counts()
    state.running = {0: (1,)}
    assert state.seconds_left(60.0) == pytest.approx(60 * 49)  # 1 of 50 tasks takes a minute
    assert state.seconds_left(90.0) == pytest.approx(60 * 49 - 30)
    assert state.seconds_left(500.0) == pytest.approx(60 * 48), "what is left after this task"
    state.running = {0: (2,)}
    assert state.seconds_left(500.0) == pytest.approx(250 * 48)


def test_a_time_limit_that_comes_first_is_said() -> None:
    state = counts(done=2, running={4: (2,)}, stop_at=3600.0)
    assert "stops in 50 min, about 3 h 10 min left, 1 running" in state.line(600.0)
    assert "stops in 0 s, about" in state.line(3700.0)
    assert "stops in 59 min, 1 running" in counts(running={4: ()}, stop_at=3600.0).line(60.0)
    assert "stops in" not in counts(done=2, running={4: (2,)}, stop_at=36000.0).line(600.0)


def test_several_seeds_are_told_apart() -> None:
    state = counts(size=Size(5, 3), running={4: (5, 2), 5: (5, 5, 5), 6: (5,)})
    # In 60 s: 22 of 3 x 5 tasks; 10 trials less these are left.
    assert state.seconds_left(60.0) == pytest.approx(60 / (22 / 15 + 1) * (10 - 37 / 15), rel=0.5)
    said = "trial 4: seed 2/3, 2/5 tasks, trial 5: seed 3/3, 5/5 tasks, trial 6: seed 1/3, 5/5"
    assert said in state.line(60.0)


def test_trials_of_different_sizes_count_by_their_work() -> None:
    sizes = [Size(10, work=10.0), Size(50, work=50.0), Size(50, 2, 100.0)]
    state = Counts(total=3, size=Size(10), mode="", sizes=sizes, started=0.0)
    state.running = {0: (5,), 2: (50, 20)}
    # In 60 s: 5 of 10 tasks and 70 of 100; 85 of 160 are left.
    assert state.seconds_left(60.0) == pytest.approx(60 / 75 * 85)
    assert "(trial 0: 5/10 tasks, trial 2: seed 2/2, 20/50 tasks)" in state.line(60.0)
    state.end(0, 1.0)
    state.running[1] = (0,)
    assert state.seconds_left(80.0) == pytest.approx(80 / 80 * 80)


def test_many_running_trials_are_one_number() -> None:
    line = counts(running={number: (2,) for number in range(64)}).line(1.0)
    assert "64 running (128 of their 320 tasks learned)" in line


@pytest.mark.parametrize(("mode", "best"), [("max", 0.9), ("min", 0.1)])
def test_the_best_follows_the_mode(mode: str, best: float) -> None:
    state = Counts(total=3, size=Size(5), mode=mode)
    for number, value in enumerate([0.5, 0.9, 0.1]):
        state.end(number, value)
    state.end(9, float("nan"))
    assert state.best is not None and state.best[0] == best
    assert (state.done, state.failed) == (3, 1)


def folders(root: Path) -> Callable[[int], list[Path]]:
    return partial(seed_folders, SweepFolder(root, "mine"))


def learn(root: Path, number: int, tasks: int, seed: int = 1) -> None:
    """Let the journal of a seed have this many tasks."""
    journal = Journal(SweepFolder(root, "mine").seed_folder(number, seed))
    for learned in range(journal.count_tasks() + 1, tasks + 1):
        journal.append("task", tasks_learned=learned, metrics={})


def trial(number: int, **last: Any) -> SimpleNamespace:
    return SimpleNamespace(config={"number": number}, last_result=last)


def test_without_a_terminal_there_is_a_line_every_ten_seconds_and_failures_at_once(
    tmp_path: Path,
) -> None:
    out, now = StringIO(), [0.0]
    console = Console(file=out, width=40)
    callback = ProgressCallback(counts(), console, folders(tmp_path), clock=lambda: now[0])
    callback.setup()
    for second in range(25):
        now[0] = float(second)
        if second == 1:
            callback.on_trial_start(0, [], trial(0))
            callback.on_trial_start(0, [], trial(1))
        if second == 8:
            learn(tmp_path, 0, 2)
            callback.on_trial_result(0, [], trial(0), {"tasks_learned": 2, "num_tasks": 5})
        if second == 12:
            callback.on_trial_complete(0, [], trial(0, objective=0.5))
            callback.on_trial_complete(0, [], trial(1, objective=None, failure="lr [too] large"))
        callback.on_step_end(0, [])
    callback.on_experiment_end([])
    assert out.getvalue().splitlines() == [
        "0/10 trials done, 0 running",
        "0/10 trials done, about 4 min left, 2 running (trial 0: 2/5 tasks, trial 1: 0/5 tasks)",
        "trial 1 failed: lr [too] large",
        "1/10 trials done, best 50.00 % (trial 0), 1 failed, 0 running",
    ]


def test_on_a_terminal_it_draws_a_bar_and_gives_the_terminal_back(tmp_path: Path) -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    callback = ProgressCallback(counts(), console, folders(tmp_path))
    callback.setup()
    callback.on_trial_start(0, [], trial(7))
    callback.on_trial_error(0, [], trial(7))
    callback.on_step_end(0, [])
    callback.on_experiment_end([])
    callback.close()
    assert "1 failed" in out.getvalue() and "trial 7 failed" in out.getvalue()
    assert "\x1b[?25h" in out.getvalue()  # the cursor is shown again


def test_a_trial_that_ray_gives_up_early_is_run_again_within_its_retries(tmp_path: Path) -> None:
    out = StringIO()
    console = Console(file=out, width=200)
    callback = ProgressCallback(counts(), console, folders(tmp_path), max_failures=1)
    for times in (1, 2):  # both events of one death come in one step
        callback.on_trial_recover(0, [], trial(3))
        assert callback.gave_up_early(3) is (times == 1)
        callback.on_trial_error(0, [], trial(3))
        callback.on_step_end(0, [])
        assert callback.take_early() == ([3] if times == 1 else [])
        assert callback.counts.failed == times - 1
    assert out.getvalue().count("trial 3 failed") == 1
    callback.on_trial_recover(0, [], trial(4))
    callback.on_step_end(0, [])
    callback.on_trial_error(0, [], trial(4))  # a step later it is another death
    assert callback.take_early() == [] and callback.counts.failed == 2


def test_ray_can_pickle_it(tmp_path: Path) -> None:
    callback = ProgressCallback(counts(), Console(), folders(tmp_path))
    assert isinstance(pickle.loads(pickle.dumps(callback)), ProgressCallback)


def test_a_trial_that_goes_on_begins_where_its_journals_end(tmp_path: Path) -> None:
    now = [0.0]
    state = counts(size=Size(5, 2))
    callback = ProgressCallback(state, Console(file=StringIO()), folders(tmp_path),
                                clock=lambda: now[0])  # fmt: skip
    learn(tmp_path, 3, 4)
    callback.on_trial_start(0, [], trial(3))
    assert "trial 3: seed 1/2, 4/5 tasks" in state.line(1.0)
    learn(tmp_path, 3, 5)
    learn(tmp_path, 3, 1, seed=2)  # this seed reports nothing to Ray
    now[0] = 6.0
    callback.on_step_end(0, [])
    assert "trial 3: seed 2/2, 1/5 tasks" in state.line(1.0)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_of_any_width_shows_the_best_and_the_time_left(
    tmp_path: Path, width: int
) -> None:
    out, now = StringIO(), [0.0]
    console = Console(file=out, force_terminal=True, width=width, no_color=True)
    state = counts(done=2, best=(0.9951, 12))
    callback = ProgressCallback(state, console, folders(tmp_path), clock=lambda: now[0])
    callback.setup()
    for number in range(4):
        learn(tmp_path, number, 3)
        callback.on_trial_start(0, [], trial(number))
    now[0] = 60.0
    callback.on_step_end(0, [])
    callback.on_experiment_end([])
    shown = out.getvalue().splitlines()[-2]
    assert "best 99.51 % (trial 12), about 2 min left" in shown
    assert (width < 200) == shown.endswith("…")
    assert "\x1b[3" not in shown  # no colour


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (89, "89 s"), (300, "5 min"), (5340, "89 min"), (12000, "3 h 20 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
