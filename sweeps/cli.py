"""The `hcl` command, which answers at once: each command imports torch, Ray, MLflow by itself."""

import atexit
import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from hcl.config import ConfigError
from sweeps.commands.best import best
from sweeps.commands.check import check
from sweeps.commands.compare import compare
from sweeps.commands.confirm import confirm
from sweeps.commands.data import app as data
from sweeps.commands.demo import demo
from sweeps.commands.files import files
from sweeps.commands.new import new
from sweeps.commands.records import export, report, sync, ui
from sweeps.commands.reproduce import reproduce
from sweeps.commands.run import run
from sweeps.commands.settings import settings
from sweeps.commands.study import study
from sweeps.commands.sweep import sweep
from sweeps.commands.validate import validate
from sweeps.output.streams import lost_output, outlive_readers
from sweeps.records.folder import git_tags
from sweeps.records.redact import redact

GROUPS = {  # in the order of --help: what a newcomer needs first
    "Run": (demo, run, sweep, confirm, study, data),
    "Look": (report, compare, best, ui, export),
    "Reproduce the paper": (reproduce,),
    "Write and check your own": (files, settings, new, validate, check),
    "Maintain": (sync,),
}
COMMANDS = [command for group in GROUPS.values() for command in group]
URLS = ("HCL_STUDY_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")


class Grouped(TyperGroup):
    """The command `hcl`, whose help lists its commands in groups, each with a whole sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section of the help for each group."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(_name(one), _about(one)) for one in group], col_max=12)


def _name(command: Any) -> str:
    return str(command.info.name if isinstance(command, typer.Typer) else command.__name__)


def _about(command: Any) -> str:
    about = command.info.help if isinstance(command, typer.Typer) else command.__doc__
    return str(about).splitlines()[0].rstrip(".")


app = typer.Typer(
    name="hcl",
    cls=Grouped,
    help="Launch, compare and reproduce continual-learning experiments with hypernetworks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    if isinstance(command, typer.Typer):
        app.add_typer(command)
    else:
        app.command()(command)


def _show_version(is_asked: bool) -> None:
    if not is_asked:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("hcl-sweeps")
    except PackageNotFoundError:
        own = "not installed"
    commit, changed = (git_tags().get(key) for key in ("git_commit", "git_dirty"))
    parts = [f"hcl-sweeps {own}", f"commit {commit[:12]}" if commit else "commit unknown"]
    typer.echo(", ".join([*parts, *(["with changes"] if changed else [])]))
    raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version and the commit."
    ),
]


@app.callback()
def hcl(version: Version = False) -> None:
    """Take the options that stand before a command."""


def main() -> NoReturn:
    """Be the process `hcl`, which a closed or full standard output does not end."""
    outlive_readers()
    status = answer()
    atexit._run_exitfuncs()
    if lost := lost_output():
        typer.echo(f"hcl: {lost}", err=True)
        status = status or 2
    if sys.stderr:
        sys.stderr.flush()
    # Without Python's own end, which would look once more through half a million imported objects
    # (2 s). It also misses those set aside by `sweeps.workers.warm_imports`, which triton's C++
    # code then lists as leaked on 30 lines.
    os._exit(status)


def answer() -> int:
    """Run a command; show a user's mistake in a line or a few, without a stack trace.

    Returns:
        The exit status: 0 ok, 1 some trials failed, 2 something to correct, 3 Ray died, 4 a
        time limit is over, 130 interrupted.
    """
    try:
        return app(standalone_mode=False) or 0
    except ConfigError as error:
        for message in error.errors:
            typer.echo(f"hcl: {redact(message, *_urls())}", err=True)
    except TyperException as error:
        typer.echo(redact(_usage(error), *_urls()), err=True)
    return 2


def _urls() -> list[str]:
    """List the URLs that this command was given, whose passwords no message may show."""
    words = [word.partition("=")[2] if word.startswith("--") else word for word in sys.argv[1:]]
    return [url for url in (*words, *map(os.environ.get, URLS)) if url and "://" in url]


def _usage(error: TyperException) -> str:
    """Say in one line what is wrong with an option, with the value that was given."""
    text = error.format_message()
    if "\n" in text:  # the help, where nothing was asked
        return text
    if isinstance(error, typer.BadParameter) and error.param and error.param.opts:
        option = error.param.opts[0]
        if option in sys.argv[:-1]:
            text += f", but got {sys.argv[sys.argv.index(option) + 1]!r}"
    known = set(map(_name, COMMANDS))
    command = f"{sys.argv[1]} " if known & set(sys.argv[1:2]) else ""
    return f"hcl: {text.rstrip('.')}; see hcl {command}--help"


if __name__ == "__main__":
    main()
