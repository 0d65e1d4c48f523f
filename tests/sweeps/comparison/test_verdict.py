"""The verdict over outcomes whose true means are known, by hand and in simulation."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from journals import write_journal
from tiny_study import document, outcomes, request, study

from hcl.config import ConfigError
from sweeps.comparison.study_file import StudySpec
from sweeps.comparison.verdict import answer, by_row, complete_values, verdict_tables
from sweeps.comparison.write import write_verdict
from sweeps.output.table import Estimate, Table


def spec_of(pairs: int, methods: int = 2, **changes: object) -> StudySpec:
    one = document()["methods"]["si"]
    named = {f"m{i}": one for i in range(methods)}
    return study(methods=named, confirmation={"pairs": pairs}, **changes)


def tables_of(spec: StudySpec, values: dict[str, list[float]]) -> dict[str, Table]:
    by_seed = {m: dict(zip(spec.confirmation.seeds, v, strict=True)) for m, v in values.items()}
    tables = verdict_tables(request(spec), outcomes(spec, by_seed))
    return {table.title.partition(": ")[2] or "verdict": table for table in tables}


def test_the_best_is_named_with_what_the_numbers_show() -> None:
    spec = spec_of(6)
    high, low = [0.9, 0.92, 0.91, 0.93, 0.9, 0.94], [0.8, 0.81, 0.8, 0.82, 0.79, 0.83]
    found = tables_of(spec, {"m0": low, "m1": high})
    first, second = found["verdict"].rows
    assert first[1:3] == ("1", "m1") and first[-1] == "best"
    assert isinstance(first[3], Estimate) and first[3].mean == pytest.approx(91.67, abs=0.01)
    assert second[1:3] == ("2", "m0") and second[-1] == "differ, p 0.031"
    assert str(second[5]).startswith("-10.83 [-11.")
    by_seed = {m: dict(zip(spec.confirmation.seeds, v, strict=True))
               for m, v in (("m0", low), ("m1", high))}  # fmt: skip
    groups = {r: complete_values(spec, o) for r, o in by_row(outcomes(spec, by_seed)).items()}
    assert answer(spec, groups).endswith("m1 has the highest mean; better than m0")


def test_the_answer_is_about_the_reference_where_there_is_one() -> None:
    spec = spec_of(8, methods=3, reference="m0")
    values = {"m0": [0.8, 0.81, 0.79, 0.8, 0.82, 0.8, 0.78, 0.81]}
    values |= {"m1": [v + 0.1 for v in values["m0"]], "m2": [v - 0.1 for v in values["m0"]]}
    numbered = {m: dict(zip(spec.confirmation.seeds, v, strict=True)) for m, v in values.items()}
    said = answer(spec, {"row": numbered})
    assert said == "row: m0 is below m1 in the mean; better than m2; worse than m1"
    assert answer(spec, {"row": {}}) == "row: fewer than two methods have every pair"


def test_what_n_can_show_stands_in_the_notes() -> None:
    spec = spec_of(6, methods=3)
    notes = tables_of(spec, {f"m{i}": [0.9 + 0.01 * i] * 6 for i in range(3)})["verdict"].notes
    assert any("10 pairs" not in note and "7 pairs are needed for 0.05" in note for note in notes)
    assert any(note.startswith("protocol: full; effort: 2 trials") for note in notes)


def test_a_tie_is_called_one() -> None:
    values = {"m0": [0.90, 0.94, 0.92], "m1": [0.91, 0.93, 0.915]}
    rows = tables_of(spec_of(3), values)["verdict"].rows
    assert [row[-1] for row in rows] == ["best", "tie with the best; too few pairs, p 1"]


def test_a_method_without_every_pair_is_not_tested() -> None:
    spec = spec_of(3, methods=3)
    values = {"m0": {101: 0.9, 102: 0.9, 103: 0.91}, "m1": {101: 0.8, 102: 0.81, 103: 0.8},
              "m2": {101: 0.99}}  # fmt: skip
    verdict, tests, *_ = verdict_tables(request(spec), outcomes(spec, values))
    assert verdict.rows[-1][-1] == "1 of 3 pairs: not tested"
    assert [row[1] for row in tests.rows] == ["m0 - m1"]


def test_other_data_are_an_error() -> None:
    spec = spec_of(3)
    found = outcomes(spec, {f"m{i}": {101: 0.9, 102: 0.9, 103: 0.9} for i in (0, 1)})
    other = replace(found[1].results[102], data_digest="other")
    found[1].results[102] = other
    with pytest.raises(ConfigError, match="seed 102: methods saw different data: m0 digest, m1 o"):
        verdict_tables(request(spec), found)


def test_unequal_effort_is_said() -> None:
    spec = spec_of(3)
    found = outcomes(spec, {f"m{i}": {101: 0.9, 102: 0.91, 103: 0.9} for i in (0, 1)})
    found[0] = replace(found[0], spent=replace(found[0].spent, done=1))
    effort = next(t for t in verdict_tables(request(spec), found) if t.title.endswith("effort"))
    assert any("effort is unequal: numbers of trials differ" in note for note in effort.notes)
    hours = study(effort={"core_hours": 0.5}, confirmation={"pairs": 3})
    found = outcomes(hours, {m: {101: 0.9, 102: 0.91, 103: 0.9} for m in ("si", "finetune")})
    found[0] = replace(found[0], spent=replace(found[0].spent, hours=0.6))
    effort = next(t for t in verdict_tables(request(hours), found) if t.title.endswith("effort"))
    assert any("core-hours differ by more than 10%" in note for note in effort.notes)


def test_every_form_is_written(tmp_path: Path) -> None:
    spec = spec_of(3)
    found = outcomes(spec, {f"m{i}": {101: 0.9, 102: 0.9 + 0.01 * i, 103: 0.8} for i in (0, 1)})
    asked = request(spec, tmp_path)
    asked.folder.path.mkdir(parents=True)
    write_verdict(asked, found)
    folder = tmp_path / "studies" / "tiny"
    names = {path.name for path in folder.iterdir()}
    assert names == {"tiny.md", "tiny.tex", "tiny.csv", "tiny.html", "figure-1.png"}
    assert "protocol: full" in (folder / "tiny.md").read_text()
    assert "<h1>tiny</h1>" in (folder / "tiny.html").read_text()


def test_the_page_says_what_could_have_been_stopped_early(tmp_path: Path) -> None:
    spec = spec_of(3)
    asked = request(spec, tmp_path)
    asked.folder.path.mkdir(parents=True)
    (sweep, _) = asked.sweeps().values()
    for trial in range(6):
        key = f"{sweep.folder.name}/{trial:04d}/seed_1"
        made = write_journal(tmp_path / "made", key, offset=-0.02 * trial)
        shutil.move(made, sweep.folder.seed_folder(trial, 1))
    found = outcomes(spec, {f"m{i}": {101: 0.9, 102: 0.9 + 0.01 * i, 103: 0.8} for i in (0, 1)})
    tables = write_verdict(asked, found)
    assert tables[-1].title == "Early stopping"
    assert [row[:4] for row in tables[-1].rows] == [
        ("m0, task", "6", "1", "1.00"), ("m0, task", "6", "2", "1.00"),
    ]  # fmt: skip
    folder = tmp_path / "studies" / "tiny"
    assert 'alt="Figure: Early stopping"' in (folder / "tiny.html").read_text()
    assert "![Early stopping](figure-2.png)" in (folder / "tiny.md").read_text()
    assert (folder / "figure-2.png").is_file()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("effect", [0.0, 0.03])
def test_synthetic_methods_are_judged_as_often_right_as_promised(effect: float) -> None:
    """The first of three methods is better by `effect`; 10 pairs, 100 studies.

    Without an effect 5% of studies may name a difference; with three standard deviations nearly
    all must find both true ones, and none may call the two equal methods different too often.
    """
    spec, seeds = spec_of(10, methods=3), range(101, 111)
    named, covered, asked = [], [], request(spec)
    for number in range(100):
        draw = np.random.default_rng(number)
        shared = draw.normal(0.9, 0.02, 10)
        own = {f"m{i}": shared + draw.normal(0, 0.01, 10) + (effect if i == 0 else 0.0)
               for i in range(3)}  # fmt: skip
        values = {m: dict(zip(seeds, map(float, v), strict=True)) for m, v in own.items()}
        tests = verdict_tables(asked, outcomes(spec, values, asked.parts))[1]
        named.append({str(row[1]) for row in tests.rows if row[-1] == "differ"})
        for row in tests.rows:
            true = 100 * effect * ("m0" in str(row[1]))
            low, high = map(float, str(row[3]).strip("[]").split(","))
            covered.append(low <= true <= high)
    assert np.mean(["m1 - m2" in pairs for pairs in named]) <= 0.1
    assert np.mean([bool(pairs) for pairs in named]) == pytest.approx(1 if effect else 0, abs=0.1)
    if effect:
        assert np.mean([{"m0 - m1", "m0 - m2"} <= pairs for pairs in named]) >= 0.9
    assert np.mean(covered) == pytest.approx(0.94, abs=0.03)
