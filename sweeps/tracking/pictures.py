"""The accuracy matrices of one run as the artifacts that people look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.output.plots import Matrix, accuracy_heat_map, accuracy_thumbnail, image

if TYPE_CHECKING:
    from PIL.Image import Image


DPI = 160
PICTURE_KEY = "accuracy_matrix"  # one key for all runs: the UI puts their pictures side by side


def accuracy_picture(accuracy: dict[str, Matrix], title: str) -> Image:
    """Heat maps of the test matrices side by side, in full resolution."""
    return image(accuracy_heat_map(_shown(accuracy), title), DPI)


def accuracy_thumbnails(accuracy: dict[str, Matrix], scenario: str) -> dict[str, Image]:
    """Key to picture for the UI's image grid, which shows 256 x 256 pixels: one matrix each.

    The scenario that a run was trained in has the key of all runs; another one that it was scored
    in adds its name, as in accuracy_matrix_class.
    """
    pictures = {}
    for name, rows in _shown(accuracy).items():
        tested = name.rpartition("/")[2]
        key = PICTURE_KEY if tested == scenario else f"{PICTURE_KEY}_{tested}"
        pictures[key] = image(accuracy_thumbnail(name, rows), DPI)
    return pictures


def _shown(accuracy: dict[str, Matrix]) -> dict[str, Matrix]:
    """The test matrices; whatever there is where nothing was tested."""
    return {k: rows for k, rows in accuracy.items() if k.startswith("test/")} or accuracy


def accuracy_markdown(accuracy: dict[str, Matrix]) -> str:
    """Every matrix as a Markdown table in percent; row = task learned last, column = task."""
    parts = []
    for name, rows in accuracy.items():
        header = ["after task", *(f"task {i}" for i in range(len(rows)))]
        lines = [_row(header), _row(["---", *["---:"] * len(rows)])]
        for task, row in enumerate(rows):
            values = ["-" if value is None else f"{100 * value:.2f}" for value in row]
            lines.append(_row([str(task), *values, *[""] * (len(rows) - len(values))]))
        parts.append(f"## {name} (accuracy in %)\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
