"""The accuracy matrices of one run as the artifacts that people look at."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from sweeps.plots import Matrix, accuracy_heat_map, png

if TYPE_CHECKING:
    from PIL.Image import Image


def accuracy_picture(accuracy: dict[str, Matrix], title: str) -> Image:
    """Heat maps of the test matrices; of whatever there is where nothing was tested."""
    from PIL import Image

    shown = {name: rows for name, rows in accuracy.items() if name.startswith("test/")}
    picture = Image.open(io.BytesIO(png(accuracy_heat_map(shown or accuracy, title))))
    return picture.convert("RGB")


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
