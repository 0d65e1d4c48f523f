"""A study's files: Markdown, LaTeX, CSV and one HTML page, with figures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hcl.storage.files import write_atomically
from sweeps.comparison.run import Outcome, StudyRequest
from sweeps.comparison.verdict import answer, by_row, complete_values, verdict_tables
from sweeps.output.html_page import Head, html_page
from sweeps.output.latex import as_latex
from sweeps.output.plots import png
from sweeps.output.rank_plots import pairs
from sweeps.output.table import Table, numbers_csv
from sweeps.records.entries import read_recorded
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.reports.page import page_data
from sweeps.reports.stopping import EarlyRank, find_early_ranks, stopping_tables
from sweeps.reports.summary import stopping_pictures
from sweeps.tracking.sweep_run import VERDICT


def output_folder(folder: SweepFolder) -> Path:
    """Return where the files of a study are."""
    return folder.storage / "studies" / folder.name


def early_ranks(request: StudyRequest) -> list[EarlyRank]:
    """Measure in every search which trials could have been stopped early, in the plan's order."""
    names = {part.space.name: f"{part.method}, {part.scenario}" for part in request.parts}
    ranks = []
    for sweep, name in names.items():
        folder = SweepFolder(request.folder.storage, sweep)
        found = find_early_ranks(read_recorded([folder]))
        ranks += [replace(rank, method=name) for rank in found]
    return ranks


def write_verdict(request: StudyRequest, outcomes: Sequence[Outcome]) -> list[Table]:
    """Write every file of a study.

    Returns:
        The tables, for the terminal.

    Raises:
        ConfigError: methods were confirmed on different data.
    """
    tables, spec = verdict_tables(request, outcomes), request.spec
    folder, name = output_folder(request.folder), request.folder.name
    folder.mkdir(parents=True, exist_ok=True)
    groups = {row: complete_values(spec, found) for row, found in by_row(outcomes).items()}
    said = answer(spec, groups)
    ranks = early_ranks(request)
    tables += stopping_tables(ranks)
    pictures = {row: png(pairs(values)) for row, values in groups.items() if values}
    pictures |= stopping_pictures(ranks)
    for number, content in enumerate(pictures.values(), start=1):
        (folder / f"figure-{number}.png").write_bytes(content)
    commit = str(git_tags().get("git_commit", "?"))
    links = [f"![{title}](figure-{n}.png)\n" for n, title in enumerate(pictures, start=1)]
    origin = f"{said}\n\n- command: {request.command}\n- commit: {commit}\n"
    text = "\n".join([origin, *(table.markdown() for table in tables), *links])
    write_atomically(folder / f"{name}.md", text)
    write_atomically(folder / f"{name}.tex", "\n".join(map(as_latex, tables)))
    write_atomically(folder / f"{name}.csv", numbers_csv(tables))
    head = Head(
        title=name, kind="study", lead=spec.description, answer=("", said),
        facts={"protocol": str(spec.protocol), "effort": str(spec.effort), "commit": commit[:12]},
        command=request.command,
    )  # fmt: skip
    page = html_page(head, tables, pictures, page_data(read_recorded([request.folder]), {}))
    write_atomically(folder / f"{name}.html", page)
    write_atomically(request.folder.path / VERDICT, page)
    return tables
