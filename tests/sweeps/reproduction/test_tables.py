"""Table files, and tables made from real records of tiny trainings."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from made import TINY, table, tiny, train_all, train_seed
from made import request as reproduction_request

from hcl.benchmarks import digits, sources
from hcl.config import ConfigError, TrialConfig
from hcl.results import NUMERICS_VERSION
from sweeps.launch.request import store_of
from sweeps.output.table import Estimate
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.reproduction.request import TableRequest, folder_name
from sweeps.reproduction.results import cell_label, read_results
from sweeps.reproduction.table_file import load_table, names
from sweeps.reproduction.tables import Origin, protocol
from sweeps.reproduction.trainings import check_data, missing_trainings
from sweeps.reproduction.write import write_all
from sweeps.tracking import Store, prepare, runs_frame
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import read_result

pytestmark = [
    pytest.mark.timeout(60),  # the first test to record pays for the database
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        tiny(text)
    return caught.value.errors


@pytest.mark.parametrize("name", names())
def test_every_table_file_is_valid(name: str) -> None:
    table = load_table(name)
    assert table.head.title and table.cells
    assert len(table.trainings([1, 2])) == 2 * len(table.trainings([1]))
    for cell in table.at_budget("smoke").cells:
        assert cell.config.train.iterations >= 1
        assert ("order_seed trial" in protocol(cell)) == cell.draws_tasks
        assert cell.has_papers_tasks


def test_there_are_tables() -> None:
    assert "table1" in names()


def test_cells_of_one_training_share_it() -> None:
    assert len(tiny().cells) == 3
    assert len(tiny().trainings([1, 2])) == 4


def test_every_mistake_is_reported_at_once() -> None:
    text = TINY.replace("base: digits\n    cells", "base: digit\n    cells")
    text = text.replace("title: A tiny table", "titel: A tiny table").replace(
        "sem: 0.5", "sm: 0.5"
    )
    text = text.replace("      si: {trial", "      sii: {trial")
    found = "\n".join(errors_of(text))
    assert "titel: unknown key" in found and "title: is missing" in found
    assert "rows.CL1.base: there is no base 'digit'; did you mean digits?" in found
    assert "rows.CL1.cells.sii: is not a column; did you mean si?" in found
    assert "rows.CL1.cells.sii.paper.sm: unknown key" in found


def test_columns_need_names_of_their_own() -> None:
    (error,) = errors_of(TINY.replace("hnet_tir: HNET+TIR", "hnet_tir: SI"))
    assert error == "columns: each needs a name of its own but got ['SI', 'HNET+ENT', 'SI']"


def test_a_cell_must_be_scored_where_its_row_is() -> None:
    found = errors_of(TINY.replace("[task, class]}}", "[task]}}"))
    assert any("is not scored in 'class'" in error for error in found)


@pytest.mark.parametrize(
    ("budget", "iterations"), [("paper", 20), ("quick", 2), ("smoke", 1), ("0.25", 5), ("2e-1", 4)]
)
def test_a_budget_is_a_share_of_the_iterations(budget: str, iterations: int) -> None:
    table = tiny().at_budget(budget)
    assert {cell.config.train.iterations for cell in table.cells} == {iterations}


def test_a_fraction_is_one_budget_however_it_is_written() -> None:
    assert [tiny().at_budget(b).budget for b in ("0.10", "1", "0.020")] == [
        "quick",
        "paper",
        "0.02",
    ]
    assert tiny().at_budget("0.02").fraction == 0.02
    assert folder_name(tiny().at_budget("0.02")) == "tiny-0.02"
    for wrong in ("0", "1.5", "-0.1", "nan", "half", "1e-5"):
        with pytest.raises(
            ConfigError, match=f"--budget '{wrong}': use one of paper, quick, smoke"
        ):
            tiny().at_budget(wrong)


def test_only_takes_rows_and_columns() -> None:
    assert [c.column for c in tiny().only(["CL1", "si"]).cells] == ["si"]
    assert [c.row for c in tiny().only(["CL3"]).cells] == ["CL3"]
    with pytest.raises(ConfigError, match="--only 'CL9': tiny has no such row or column"):
        tiny().only(["CL9"])
    with pytest.raises(ConfigError, match="no such cell"):
        tiny().only(["CL3", "si"])


# --- from records to tables ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(storage: Path) -> TableRequest:
    """Record three of the four trainings of the tiny table, as `hcl reproduce` does."""
    folder = SweepFolder(storage, "tiny-table")
    request = TableRequest(tiny(), (1, 2), folder, store_of(folder, None))
    prepare(request.store)
    for config in missing_trainings(request, read_results(request))[:3]:
        _train(request, config)
    return request


def label_of(request: TableRequest, config: TrialConfig) -> str:
    return cell_label(config, check_data(request, [config]))


def _train(request: TableRequest, config: TrialConfig) -> None:
    label = label_of(request, config)
    context = RunContext(request.folder.name, request.store, phase="table", threads=1)
    train_seed(config, context, request.folder.seed_folder(label, config.seed), label)


def test_finished_trainings_are_not_missing(made: TableRequest) -> None:
    found = read_results(made)
    assert sorted(found.cells["CL1", "si"].runs) == [1, 2]
    assert sorted(found.cells["CL1", "hnet_ent"].runs) == [1]
    assert sorted(found.cells["CL3", "hnet_ent"].runs) == [1]
    (left,) = missing_trainings(made, found)
    assert left.method_name == "hnet" and left.seed == 2


def test_cells_hold_what_the_runs_recorded(made: TableRequest) -> None:
    found = read_results(made)
    for key, result in found.cells.items():
        for seed, run in result.runs.items():
            config = replace(result.cell.config, seed=seed)
            recorded = read_result(made.folder.seed_folder(label_of(made, config), seed), config)
            assert recorded is not None
            assert run.value == pytest.approx(recorded.metrics[result.cell.metric]), key


def test_another_version_of_the_numbers_does_not_count_unless_asked(
    made: TableRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made.spec.cells[0].config
    before = label_of(made, config)
    monkeypatch.setattr("sweeps.reproduction.results.NUMERICS_VERSION", 2)
    assert label_of(made, config) != before
    strict = read_results(made)
    assert not strict.cells["CL1", "si"].runs
    assert (strict.num_other_version, strict.num_other_data) == (3, 0)
    assert len(missing_trainings(made, strict)) == 4
    notes = write_all(made, strict, Origin("hcl", "abc"))[0].notes
    assert any("3 finished runs of these settings with another NUMERICS" in n for n in notes)
    asked = replace(made, any_version=True)
    every = read_results(asked)
    assert all(run.is_other for run in every.cells["CL1", "si"].runs.values())
    assert sorted(every.cells["CL1", "si"].runs) == [1, 2]
    assert every.num_other_version == 0
    notes = write_all(asked, every, Origin("hcl", "abc"))[0].notes
    assert any("counted by --any-version" in note for note in notes)


def test_of_two_data_the_newest_counts(
    made: TableRequest, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Change the digits after the first seed, which must then be trained again."""
    folder = SweepFolder(storage, "new-data")
    request = replace(made, folder=folder, store=replace(made.store, experiment="new-data"))
    request = replace(request, spec=request.spec.only(["CL1", "si"]), seeds=(1, 2))
    prepare(request.store)
    first, second = missing_trainings(request, read_results(request))
    _train(request, first)
    raw = digits.load()
    with monkeypatch.context() as patch:
        patch.setattr(digits, "load", lambda: {**raw, "x_train": raw["x_train"] // 2})
        sources._read.cache_clear()
        _train(request, second)
        found = read_results(request)
        assert sorted(found.cells["CL1", "si"].runs) == [2]
        assert (found.num_other_version, found.num_other_data) == (0, 1)
        notes = write_all(request, found, Origin("hcl", "abc"))[0].notes
        assert any("1 finished runs of these settings on other data" in note for note in notes)
        assert missing_trainings(request, found) == [first]
        _train(request, first)
        assert sorted(read_results(request).cells["CL1", "si"].runs) == [1, 2]
    sources._read.cache_clear()
    both = read_results(replace(request, any_version=True))
    assert not any(run.is_other for run in both.cells["CL1", "si"].runs.values())


def test_every_record_names_the_version(made: TableRequest) -> None:
    config = replace(made.spec.only(["CL1", "si"]).cells[0].config, seed=1)
    folder = made.folder.seed_folder(label_of(made, config), 1)
    start, *_, end = Journal(folder).records()
    assert start["tags"]["numerics_version"] == NUMERICS_VERSION
    assert end["versions"]["numerics"] == str(NUMERICS_VERSION)
    frame = runs_frame(made.store, made.folder.name)
    assert set(frame["tags.numerics_version"]) == {str(NUMERICS_VERSION)}
    assert set(frame["data_digest"]) == {end["data_digest"]}


def test_runs_of_other_sweeps_count_when_named(made: TableRequest) -> None:
    folder = SweepFolder(made.folder.storage, "another-table")
    other = replace(made, folder=folder, store=replace(made.store, experiment="another-table"))
    assert not read_results(other).cells["CL1", "si"].runs
    assert read_results(replace(other, runs_from=("tiny-table",))).cells["CL1", "si"].runs


def test_every_form_says_what_its_numbers_are(made: TableRequest) -> None:
    tables = write_all(made, read_results(made), Origin("hcl reproduce tiny", "abc"))
    grid = tables[0]
    assert grid.columns == ("", "", "SI", "HNET+ENT", "HNET+TIR")
    ours, paper, verdict, other, seeds = grid.rows
    assert ours[:2] == ("CL1", "ours") and paper[:2] == ("CL1", "paper")
    assert str(ours[2]).endswith("(2)") and str(ours[3]).endswith("(n = 1)") and ours[4] is None
    assert paper[2:] == (Estimate(12, 0.5, 20), Estimate(99, None, 20), None)
    assert verdict[2:] == ("too few seeds", "too few seeds†, 1 of 2 seeds", "")
    assert other[1] == "ours" and seeds[2:] == ("", "1 of 2 seeds", "")
    assert "CL3: split_digits, 2 tasks, the task is not given, all classes compete" in grid.notes
    assert [row[1] for row in grid.narrow.rows] == ["SI", "HNET+ENT", "HNET+ENT"]
    out = made.output
    for form in ("md", "tex", "html"):
        text = (out / f"tiny-table.{form}").read_text()
        assert "hcl reproduce tiny" in text and "not complete" in text, form
    rows = list(csv.DictReader((out / "tiny-table.csv").read_text().splitlines()))
    ours, paper = rows[:2]
    assert [(row["method"], row["column"], row["unit"]) for row in (ours, paper)] == [
        ("SI", "ours", "%"), ("SI", "paper", "%")]  # fmt: skip
    assert ours["verdict"] == "too few seeds" and ours["95% from"] == ""
    assert float(ours["mean"]) == pytest.approx(float(ours["difference"]) + 12, abs=0.01)
    page = (out / "tiny-table.html").read_text()
    assert page.count("<script") == 2 and "script-src 'sha256-" in page  # its data, its own script


OWN_TASKS = """
title: Some seeds have tasks of their own
columns: {si: SI, si_drawn: SI (drawn), lwf: LwF, ewc: Online EWC}
bases:
  digits:
    benchmark: {name: split_digits, num_tasks: 2}
    target: {hidden_sizes: [8]}
    train: {iterations: 2, batch_size: 16}
  drawn: {benchmark: {class_order: shuffled, order_seed: trial}}
rows:
  CL1:
    base: digits
    cells:
      si: {trial: {method/name: si}, paper: {mean: 50, sem: 1, mark: CONFIRMED, order_seed: trial}}
      si_drawn:
        base: drawn
        trial: {method/name: si}
        paper: {mean: 50, sem: 1, mark: CONFIRMED, order_seed: trial}
      lwf: {base: drawn, trial: {method: {name: lwf, distillation: mean_over_classes}}}
      ewc: {trial: {method/name: online_ewc}}
"""


def test_seeds_with_tasks_of_their_own_are_compared_with_such_seeds_alone(storage: Path) -> None:
    request = reproduction_request(storage, table(OWN_TASKS, "own-tasks"), (1, 2, 3))
    train_all(request)
    found = read_results(request)
    assert all(result.is_complete for result in found.cells.values()) and not found.num_other_data
    later = replace(request, seeds=(2, 3))  # the records are found, whichever seed is first
    assert not missing_trainings(later, read_results(later))
    assert label_of(request, replace(found.cells["CL1", "lwf"].cell.config, seed=3)) == label_of(
        request, found.cells["CL1", "lwf"].cell.config
    )
    grid, every, tests = write_all(request, found, Origin("hcl", "abc"))
    assert grid.rows[2][1:3] == ("verdict", "not comparable")
    assert grid.rows[2][3] in ("below", "above", "agrees") and grid.rows[2][4:] == ("", "")
    assert "protocol of SI (drawn): class_order shuffled, order_seed trial" in grid.notes
    kinds = {row[1]: (row[8], row[9]) for row in every.rows}
    assert kinds["SI"] == ("not comparable", "")
    assert kinds["SI (drawn)"][0] in ("below", "above", "agrees")
    shuffled = "class_order shuffled, order_seed trial"
    assert kinds["LwF"] == ("", f"{shuffled}, distillation mean_over_classes")
    pairs = {(row[0], row[1]) for row in tests.rows}
    assert pairs <= {("CL1", "SI - Online EWC"), ("CL1, order_seed trial", "SI (drawn) - LwF")}
    assert pairs


def test_a_smaller_budget_is_named_and_not_compared(made: TableRequest) -> None:
    quick = replace(made, spec=made.spec.at_budget("quick"))
    tables = write_all(quick, read_results(quick), Origin("hcl", "abc"))
    grid = tables[0]
    assert ", 10% of the iterations: average accuracy (%)" in grid.title
    assert grid.banner.startswith("10% of the iterations, not the paper's setting")
    assert grid.rows[1][1:3] == ("paper", Estimate(12, 0.5, 20))
    assert grid.rows[2][2] == "missing, 2 seeds" and not any("Welch" in n for n in grid.notes)
    page = (quick.output / "tiny-table.html").read_text()
    assert "<section class=uncompared>" in page and '<tr class="paper">' in page
    for form in ("md", "tex", "html"):
        text = (quick.output / f"tiny-table.{form}").read_text()
        assert "not the paper" in text and "12.00" in text, form


def test_a_store_that_nobody_made_holds_nothing(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "nothing")
    store: Store = store_of(folder, None)
    request = TableRequest(tiny(), (1,), folder, store)
    assert len(missing_trainings(request, read_results(request))) == 2
    assert not list(tmp_path.iterdir())
