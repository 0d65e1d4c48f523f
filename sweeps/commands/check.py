"""`hcl check`: a method of one's own against what every method must keep to."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.commands.options import Plugin, say, use_plugins

Name = Annotated[str, typer.Argument(help="A method: package.module:Name, or one of ours.")]


def check(context: typer.Context, name: Name, plugin: Plugin = None) -> None:
    """Try a method on two tiny tasks, and say in words what is wrong with it.

    It learns with finite losses, repeats itself with the same seed, goes on after a kill as if
    nothing had happened, and answers in the right shape: in every scenario that it says it has.

    \b
    Examples:
      hcl check my_methods:Shrinking
      hcl check my_pkg.methods:Shrinking --plugin elsewhere/my_pkg

    \b
    Exit status: 0 all is well, 1 something is wrong, 2 there is no such method.
    """
    use_plugins(context, plugin, Path("what lies here"))
    from hcl.measure.contract import check_method, steps_per_second

    wrong = 0
    for tried, problem in check_method(name):
        say(f"{'WRONG' if problem else 'ok   '} {tried}{f': {problem}' if problem else ''}")
        wrong += bool(problem)
    if wrong:
        raise typer.Exit(1)
    own, usual = steps_per_second(name), steps_per_second("finetune")
    say(f"      {own:.0f} steps/s in training, fine-tuning {usual:.0f}")
