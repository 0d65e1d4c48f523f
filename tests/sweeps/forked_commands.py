"""Commands, each in a process of its own that is forked from one which has imported everything.

A program: it reads one JSON list [folder, home, words] a line, runs that command there, and
answers its exit status. The command's output is in FOLDER.out and FOLDER.err.
"""

import json
import os
import sys
from importlib import import_module

IMPORTED = (
    "sweeps.launch.confirm", "sweeps.launch.run_sweep", "sweeps.reproduction.tables",
    "sweeps.reports.compare", "sweeps.reports.report", "sweeps.tracking.sync",
    "mlflow.store.tracking.sqlalchemy_store", "torchvision.datasets",
)  # fmt: skip


def main() -> None:
    """Answer every line of standard input."""
    for name in IMPORTED:
        import_module(name)
    for line in sys.stdin:
        folder, home, words = json.loads(line)
        if (child := os.fork()) == 0:
            _become(folder, home)
            _run(words)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(folder: str, home: str) -> None:
    os.chdir(folder)
    os.environ["HOME"] = home
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _run(words: list[str]) -> None:
    if words[:3] == ["python", "-m", "hcl"]:
        from hcl.__main__ import main as hcl_main

        sys.exit(hcl_main(words[3:]))
    from sweeps import cli

    sys.argv = ["hcl", *words]
    cli.main()


if __name__ == "__main__":
    main()
