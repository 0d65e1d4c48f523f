"""Records of an older version (tests/data/records/README.md), which this one still reads."""

import json
import sqlite3
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from made import tiny, train_seed
from tiny import trial

from hcl.storage import checkpoint
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.reports.report import report
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.results import read_results, running_averages
from sweeps.reproduction.trainings import missing_trainings, train_missing
from sweeps.tracking import Store, runs_frame
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import read_result

pytestmark = [
    pytest.mark.timeout(60),  # the first test to record pays for the database
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

RECORDS = Path(__file__).resolve().parents[2] / "data" / "records"
UNDISTURBED = json.loads((RECORDS / "undisturbed.json").read_text())
LABELS = {"si": "ab834ff21c32-98eb1088", "hnet": "da2f0a9ebcc3-9f811bad"}
NUM_STEPS = 4  # of the last task: in the interrupted seeds' checkpoints


def unpack(name: str, storage: Path) -> Path:
    with tarfile.open(RECORDS / f"{name}.tar.xz") as archive:
        archive.extractall(storage, filter="data")
    return storage


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> TableRequest:
    """Make the tiny table's request, with its old records in place."""
    home = tmp_path_factory.mktemp("old")
    storage = unpack("finished_cells", home / "storage")
    database = sqlite3.connect(storage / "mlflow.db")
    database.executescript((storage / "mlflow.sql").read_text().replace("{home}", str(home)))
    database.close()
    folder = SweepFolder(storage, "tiny-table")
    return TableRequest(tiny(), (1, 2), folder, store_of(folder, None))


def test_a_finished_cell_is_found_and_not_trained_again(old: TableRequest) -> None:
    found = read_results(old)
    assert (found.num_other_version, found.num_other_data) == (0, 0)
    seeds = {key: sorted(result.runs) for key, result in found.cells.items()}
    assert seeds == {("CL1", "si"): [1, 2], ("CL1", "hnet_ent"): [1], ("CL3", "hnet_ent"): [1]}
    (left,) = missing_trainings(old, found)
    assert (left.method_name, left.seed) == ("hnet", 2)
    done = replace(old, spec=old.spec.only(["CL1", "si"]))
    before = sorted(old.folder.path.rglob("*"))
    assert missing_trainings(done, read_results(done)) == []
    train_missing(done, None)
    assert sorted(old.folder.path.rglob("*")) == before


def test_it_counts_as_version_1(old: TableRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.reproduction.results.NUMERICS_VERSION", 2)
    found = read_results(old)
    assert found.num_other_version == 3 and not any(cell.runs for cell in found.cells.values())


def test_its_result_and_journal_read(old: TableRequest) -> None:
    for result in read_results(old).cells.values():
        for seed, run in result.runs.items():
            config = replace(result.cell.config, seed=seed)
            folder = old.folder.seed_folder(LABELS[config.method_name], seed)
            recorded = read_result(folder, config)
            assert recorded is not None and recorded.config["seed"] == seed
            assert run.value == recorded.metrics[result.cell.metric]
            kinds = [record["kind"] for record in Journal(folder).records()]
            assert kinds == ["start", "task", "task", "end"]


def test_the_old_store_is_read(old: TableRequest) -> None:
    frame = runs_frame(old.store, "tiny-table")
    assert sorted(frame["method/name"]) == ["hnet", "si", "si"]
    assert list(frame["tasks_learned"]) == [2, 2, 2]
    text = report("tiny-table", old.store)
    assert "| split_digits (2 tasks) | task | 84.72 (n = 1) | - | 66.32 ± 4.51 (2) |" in text, text
    averages = running_averages(old.store, read_results(old).cells["CL1", "si"])
    assert [len(values) for values in averages] == [2, 2]


@pytest.mark.parametrize("method", UNDISTURBED)
def test_an_old_checkpoint_goes_on(method: str, tmp_path: Path, store: Store) -> None:
    config = trial(method)
    sweep = SweepFolder(unpack("interrupted_seeds", tmp_path), "interrupted")
    label = config.digest(without_seed=True)
    folder = sweep.seed_folder(label, 1)
    state = checkpoint.load_latest(folder / "checkpoints")
    assert state is not None
    assert (state["tasks_learned"], state["step"]) == (2, NUM_STEPS)
    context = RunContext("interrupted", store, phase="single", threads=1)
    result = train_seed(config, context, folder, label)
    records = Journal(folder).records()
    assert [record["kind"] for record in records] == ["start", "task", "task", "resume", "task", "end"]  # fmt: skip # noqa: E501
    # Another CPU adds in another order: a sample at the border may fall on its other side.
    for name, matrix in UNDISTURBED[method]["accuracy"].items():
        for mine, theirs in zip(result.accuracy[name], matrix, strict=True):
            assert mine == pytest.approx(theirs, abs=0.03)
    for name, value in UNDISTURBED[method]["losses"].items():
        assert records[4]["metrics"][name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
