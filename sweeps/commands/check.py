"""`hcl check`: tests of a user's method against the rules that every method follows."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.commands.options import Plugin, say, use_plugins

Name = Annotated[str, typer.Argument(help="A method: package.module:Name, or one of ours.")]


def check(context: typer.Context, name: Name, plugin: Plugin = None) -> None:
    """Test a method on two tiny tasks, and say what is wrong with it.

    In each of its scenarios losses must be finite, the same seed must give the same result, a
    killed training must resume to that result, and predictions must have the right shape.

    \b
    Examples:
      hcl check my_methods:Shrinking
      hcl check my_pkg.methods:Shrinking --plugin elsewhere/my_pkg

    \b
    Exit status: 0 all is well, 1 something is wrong, 2 there is no such method.
    """
    use_plugins(context, plugin, Path("a file here"))
    from hcl.measure.contract import check_method, steps_per_second

    wrong = 0
    for tried, problem in check_method(name):
        say(f"{'WRONG' if problem else 'ok   '} {tried}{f': {problem}' if problem else ''}")
        wrong += bool(problem)
    if wrong:
        raise typer.Exit(1)
    own, usual = steps_per_second(name), steps_per_second("finetune")
    say(f"      {own:.0f} steps/s in training, fine-tuning {usual:.0f}")
