"""The soak sees what does not hold in made-up records, and breaks things in a fixed order."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from bench.soak.checks import Left, Sample, differences, growth, thirds
from bench.soak.driver import Driver
from bench.soak.faults import FAULTS, flip, order
from sweeps.records.folder import SweepFolder

MATRICES = {"test/task": [[1.0], [0.5, 1.0]]}
POINTS = {"val/task/average_accuracy": [(1, 1.0), (2, 0.75)]}
SEEDS = ("0000/seed_1", "0001/seed_1")
WHOLE = Left(
    trials=[(number, "COMPLETE", 0.75, {"train/lr": 0.1}) for number in (0, 1)],
    results=dict.fromkeys(SEEDS, MATRICES),
    journals={seed: {"settings": [{"seed": 1}]} for seed in SEEDS},
    runs=[(seed, "FINISHED", MATRICES, POINTS) for seed in SEEDS],
)
FIRST, SECOND = WHOLE.runs


def test_equal_records_differ_in_nothing() -> None:
    assert differences(WHOLE, WHOLE) == []


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (replace(WHOLE, trials=WHOLE.trials[:1]), "the study has 1 trials, not 2"),
        (
            replace(WHOLE, trials=[WHOLE.trials[0], (1, "FAIL", 0.75, {"train/lr": 0.1})]),
            "trial 1 of the study: state FAIL, undisturbed COMPLETE",
        ),
        (
            replace(WHOLE, trials=[WHOLE.trials[0], (1, "COMPLETE", 0.7, {"train/lr": 0.1})]),
            "trial 1 of the study: value 0.7, undisturbed 0.75",
        ),
        (replace(WHOLE, results={SEEDS[0]: MATRICES}), "0001/seed_1 has no result: missing"),
        (
            replace(WHOLE, results={**WHOLE.results, SEEDS[1]: {"test/task": [[1.0]]}}),
            "0001/seed_1: its result differs from the undisturbed sweep's",
        ),
        (
            replace(WHOLE, journals={**WHOLE.journals, SEEDS[1]: {"settings": [{"seed": 3}]}}),
            "0001/seed_1: its journal differs from the undisturbed sweep's",
        ),
        (
            replace(WHOLE, journals={**WHOLE.journals, SEEDS[1]: "line 2 is not JSON"}),
            "0001/seed_1 has no journal: line 2 is not JSON",
        ),
        (replace(WHOLE, runs=[FIRST]), "0001/seed_1 has 0 MLflow runs"),
        (replace(WHOLE, runs=[FIRST, SECOND, SECOND]), "0001/seed_1 has 2 MLflow runs"),
        (
            replace(WHOLE, runs=[*WHOLE.runs, ("0002/seed_1", *FIRST[1:])]),
            "0002/seed_1 has 1 MLflow runs",
        ),
        (
            replace(WHOLE, runs=[FIRST, (SEEDS[1], "RUNNING", None, POINTS)]),
            "0001/seed_1: its MLflow run is RUNNING",
        ),
        (
            replace(WHOLE, runs=[FIRST, (SEEDS[1], "FINISHED", {}, POINTS)]),
            "0001/seed_1: MLflow's matrices differ from the undisturbed sweep's",
        ),
        (
            replace(WHOLE, runs=[FIRST, (*SECOND[:3], {"val/task/average_accuracy": [(1, 1.0)]})]),
            "0001/seed_1: 1 values in MLflow differ, first val/task/average_accuracy:"
            " [(1, 1.0)], undisturbed [(1, 1.0), (2, 0.75)]",
        ),
    ],
)
def test_every_difference_is_said(left: Left, words: str) -> None:
    assert differences(left, WHOLE) == [words]


def samples(mb: float, descriptors: int) -> list[Sample]:
    """Six samples whose last third is as given."""
    return [Sample(at, 500.0, 100) for at in range(4)] + [Sample(9, mb, descriptors)] * 2


def test_memory_and_descriptors_may_not_grow() -> None:
    assert growth(thirds(samples(520, 110))) == []
    assert growth(thirds(samples(600, 110))) == ["the driver's mb grew from 500 to 600"]
    assert growth(thirds(samples(500, 150))) == ["the driver's descriptors grew from 100 to 150"]
    assert len(growth(thirds([]))) == 1


def test_faults_come_in_an_order_that_the_seed_decides() -> None:
    first, same, other = order(0), order(0), order(1)
    kinds = [first() for _ in range(3 * len(FAULTS))]
    assert kinds == [same() for _ in kinds] != [other() for _ in kinds]
    assert all(kinds.count(kind) == 3 for kind in FAULTS)


def test_one_bit_is_flipped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = b'{"kind": "start"}\n'
    path.write_bytes(before)
    assert flip(path, random.Random(0), 1).startswith("(line 1, byte ")
    changed = [a ^ b for a, b in zip(before, path.read_bytes(), strict=True) if a != b]
    assert len(changed) == 1 and changed[0].bit_count() == 1


def test_a_file_is_set_aside_where_a_message_says_that_it_blocks(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "soak00")
    journal, other = (folder.seed_folder(number, 1) / "journal.jsonl" for number in (3, 4))
    for path in (journal, other):
        path.parent.mkdir(parents=True)
        path.write_text("damaged")
    driver = Driver(tmp_path / "soak.yaml", folder, "http://127.0.0.1:9", None, tmp_path, starts=1)
    said = f"trial 3 failed: seed 1: {journal}, line 2 is not JSON; see {tmp_path}/soak.yaml\n"
    said += f"{other.parent} cannot be delivered: {other}, line 2 is not JSON\n"
    said += f"{other}, line 2 is damaged: no JSON; it was set aside, its records were made again\n"
    (tmp_path / "soak00-01.log").write_text(said)
    assert driver.set_aside_what_is_named() == ["0003/seed_1/journal.jsonl"]
    assert not journal.exists() and other.exists()
