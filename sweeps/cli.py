"""The `hcl` command. Starts fast: torch, Ray, MLflow and Optuna are imported by need."""

import sys
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from hcl.config import ConfigError
from sweeps.commands import compare, confirm, data, records, reproduce, run, sweep, validate
from sweeps.commands.options import STORAGE, Storage, console

app = typer.Typer(
    name="hcl",
    help="Launch, compare and reproduce continual-learning experiments with hypernetworks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(sweep.sweep)
app.command()(validate.validate)
app.command()(confirm.confirm)
app.command()(reproduce.reproduce)
app.command()(compare.compare)
app.command()(run.run)
app.command()(records.report)
app.command()(records.ui)
app.command()(records.sync)
app.add_typer(data.app)


@app.command()
def demo(storage: Storage = STORAGE) -> None:
    """Sweep hypernetworks on the bundled digits and compare them with other methods.

    Downloads nothing; takes three minutes on two CPU cores. Interrupted, it goes on.

    \b
    Example:
      hcl demo
      hcl demo --storage /tmp/demo
    """
    from sweeps.commands.demo import main as run_demo

    raise typer.Exit(run_demo(storage, console()))


def main() -> NoReturn:
    """Entry point of `hcl`: a user's mistake is told in lines, not in a stack trace.

    Exit status: 0 ok, 1 some trials failed, 2 something to correct, 130 interrupted.
    """
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except ConfigError as error:
        for message in error.errors:
            typer.echo(f"hcl: {message}", err=True)
    except TyperException as error:
        typer.echo(_usage(error), err=True)
    sys.exit(2)


def _usage(error: TyperException) -> str:
    """A wrong option in one line, with the value that was given."""
    text = error.format_message()
    if "\n" in text:  # the help, where nothing was asked
        return text
    option = next((name for name in getattr(getattr(error, "param", None), "opts", [])), None)
    if option in sys.argv[:-1]:
        text += f", but got {sys.argv[sys.argv.index(option) + 1]!r}"
    command = " ".join(word for word in sys.argv[1:2] if word in COMMANDS)
    return f"hcl: {text.rstrip('.')}; see hcl {command + ' ' if command else ''}--help"


COMMANDS = tuple(
    [str(group.name) for group in app.registered_groups]
    + [str(getattr(command.callback, "__name__", "")) for command in app.registered_commands]
)


if __name__ == "__main__":
    main()
