"""`hcl data prepare` and `hcl data check`: data sets, made ready once per node."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.commands.options import DataRoot, say

if TYPE_CHECKING:
    from hcl.benchmarks.prepared import Prepared

app = typer.Typer(
    name="data",
    help="Prepare the data sets of this machine before trials start, or check them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Benchmarks = Annotated[
    list[str], typer.Argument(metavar="BENCHMARK...", help="E.g. split_mnist permuted_mnist.")
]


@app.command(short_help="Write one read-only file that all trials of this node share")
def prepare(benchmarks: Benchmarks, data_root: DataRoot = None) -> None:
    """Download, check, and write one read-only file that all trials of this node share.

    Many processes may call it at once; what is there is checked and left as it is.

    \b
    Examples:
      hcl data prepare split_mnist
      hcl data prepare split_mnist permuted_mnist --data-root /shared/data
    """
    from hcl.benchmarks import prepared

    for benchmark in benchmarks:
        results = prepared.prepare(benchmark, data_root)
        _show(benchmark, results, lambda r: "prepared" if r.is_new else "is there already")


@app.command(short_help="Check that the prepared files are still what was written")
def check(benchmarks: Benchmarks, data_root: DataRoot = None) -> None:
    """Check that the prepared files are there and are still what was prepared.

    \b
    Example:
      hcl data check split_mnist permuted_mnist

    \b
    Exit status: 0 they are, 2 one is missing, damaged or was changed.
    """
    from hcl.benchmarks import prepared

    for benchmark in benchmarks:
        _show(benchmark, prepared.check(benchmark, data_root), lambda r: "is intact")


def _show(
    benchmark: str, results: "tuple[Prepared, ...]", state: "Callable[[Prepared], str]"
) -> None:
    if not results:
        say(f"{benchmark}: bundled, nothing to prepare")
    for result in results:
        say(f"{benchmark}: {state(result)}, sha256 {result.digest}, {result.path}")
