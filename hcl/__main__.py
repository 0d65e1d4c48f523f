"""The command `python -m hcl`: one trial, with only torch, torchvision and numpy installed."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from hcl.config import ConfigError, TrialConfig, flatten, plugins
from hcl.results import Progress, TaskReport, config_of
from hcl.storage.files import check_writable, write_atomically

EXAMPLES = """examples:
  python -m hcl --config trial.json --out result.json
  python -m hcl --config trial.json --set method/beta=0.05 seed=2 --device cuda
  python -m hcl --set benchmark/name=split_digits method/name=si

A trial.json: {"benchmark": {"name": "split_mnist"}, "scenario": "task",
               "method": {"name": "hnet", "beta": 0.01}, "seed": 1}

exit codes: 0 done, 1 training diverged or a file could not be written, 2 a mistake in the
command, the file or the data, 130 interrupted"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = _parser()
    try:
        args = parser.parse_args(argv)
        if args.config is None and not args.set:
            parser.print_help(sys.stderr)  # rather than start a long training by default
            return 2
        with plugins.importable(*_code_folders(args)):
            config = TrialConfig.from_dict({**_read(args.config), **_overrides(args.set)})
            return _run(config, args)
    except ConfigError as error:
        for message in error.errors:
            print(f"hcl: {message}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report the mistake in one line, as every other; argparse adds five of usage."""
        raise ConfigError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m hcl",
        usage="python -m hcl [--config FILE] [--set KEY=VALUE ...] [options]",
        description="Run one continual-learning trial and write its result as JSON.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="JSON file of a trial or of a result"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings that replace the file's; values are JSON or plain words",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the result goes (default: stdout)"
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="FOLDER",
        help="where data are, or are downloaded to (default: HCL_DATA, else ~/.cache/hcl/data)",
    )
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="Python file or package that settings name as package.module:Name; may be repeated",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:NUMBER (default: cpu)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads (default: torch decides)"
    )
    parser.add_argument(
        "--checkpoint-dir", type=Path, metavar="FOLDER", help="resume from here, and save here"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=int,
        default=500,
        metavar="STEPS",
        help="steps between two checkpoints; 0 = after each task only (default: 500)",
    )
    return parser


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a JSON object but holds {values!r:.40}")
    return flatten(config_of(values))


def _code_folders(args: argparse.Namespace) -> list[Path]:
    """List the folders of users' own code: the file's own, and those of plugins."""
    for path in args.plugin:
        if not path.exists():
            raise ConfigError(f"--plugin {path}: there is no such file or folder")
    files = [args.config] if args.config else []
    return [path.absolute().parent for path in (*files, *args.plugin)]


def _overrides(pairs: list[str]) -> dict[str, Any]:
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: write KEY=VALUE, e.g. method/beta=0.05")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values


def _check_places(args: argparse.Namespace) -> None:
    """Refuse, before hours of training, places that cannot be written to."""
    if args.out and (args.out.is_dir() or not args.out.parent.is_dir()):
        raise ConfigError(f"--out {args.out}: must be a file in an existing folder")
    if args.checkpoint_dir and args.checkpoint_dir.exists() and not args.checkpoint_dir.is_dir():
        raise ConfigError(f"--checkpoint-dir {args.checkpoint_dir}: must be a folder")
    for option, folder in _written_folders(args):
        try:
            check_writable(folder)
        except OSError as error:
            raise ConfigError(f"{option}: {folder} cannot be written: {error.strerror}") from None
    if args.checkpoint_every < 0:
        raise ConfigError(f"--checkpoint-every: must be >= 0 but got {args.checkpoint_every}")


def _written_folders(args: argparse.Namespace) -> list[tuple[str, Path]]:
    places = [("--checkpoint-dir", args.checkpoint_dir)]
    places.append(("--out", args.out and args.out.parent))
    return [(option, folder) for option, folder in places if folder is not None]


def _run(config: TrialConfig, args: argparse.Namespace) -> int:
    _check_places(args)
    from hcl.training.learner import Runtime, TrainingDiverged, run

    runtime = Runtime(
        args.device, args.data_root, args.threads, args.checkpoint_dir, args.checkpoint_every
    )
    try:
        result = run(config, _print_report, _print_progress, runtime)
        _write(json.dumps(result.to_dict(), indent=1), args.out)
    except TrainingDiverged as error:
        _say(str(error))
        return 1
    except OSError as error:  # a disk that became full meanwhile
        _say(f"{error}; {_how_to_go_on(args)}")
        return 1
    except KeyboardInterrupt:
        _say(f"interrupted; {_how_to_go_on(args)}")
        return 130
    return 0


def _say(message: str) -> None:
    """Print a last line, below the progress line of a terminal."""
    print(f"\nhcl: {message}" if sys.stderr.isatty() else f"hcl: {message}", file=sys.stderr)


def _how_to_go_on(args: argparse.Namespace) -> str:
    if args.checkpoint_dir:
        return "the same command goes on from the last checkpoint"
    return "nothing was saved; with --checkpoint-dir a trial can go on"


def _write(text: str, out: Path | None) -> None:
    if out is None:
        print(text)
        return
    write_atomically(out, text)
    print(f"wrote {out}", file=sys.stderr)


def _print_progress(p: Progress) -> None:
    if sys.stderr.isatty():
        losses = ", ".join(f"{name} {value:.4g}" for name, value in p.losses.items())
        line = f"task {p.task_id + 1}/{p.num_tasks} step {p.step}/{p.iterations} {losses}"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _print_report(r: TaskReport) -> None:
    means = [
        f"{name.removesuffix('/average_accuracy')} {value:.2%}"
        for name, value in r.metrics.items()
        if name.endswith("/average_accuracy")
    ]
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(
        f"{start}task {r.tasks_learned}/{r.num_tasks} learned after {r.seconds:.0f} s,"
        f" {r.steps_per_second:.0f} steps/s; average accuracy: {', '.join(means)}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
