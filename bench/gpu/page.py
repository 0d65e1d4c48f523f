"""The page that `python -m bench.gpu` writes."""

from collections.abc import Sequence
from typing import Any


def page(found: dict[str, Any]) -> str:
    """Write what was found as Markdown."""
    machine = found["machine"]
    lines = [
        f"# On {machine['name']}",
        "",
        f"`python -m bench.gpu --device {machine['device']}`, torch {machine['torch']},"
        f" {machine['cpus']} CPU cores, {found['measured']}.",
        "",
        *_checks(found["checks"]),
    ]
    if "steps" in found:
        lines += ["", "## A training step, milliseconds", "", *_table(found["steps"], STEPS)]
    if "replicas" in found:
        title = "## Replicas: steps per second over all of them"
        lines += ["", title, "", *_table(found["replicas"], REPLICAS)]
    return "\n".join(lines) + "\n"


STEPS = {
    "setting": "setting",
    "past_tasks": "past tasks",
    "tf32": "TF32",
    "ours_ms": "ours",
    "reference_ms": "plain",
    "ratio": "ratio",
    "ours_mb": "ours, MB",
    "reference_mb": "plain, MB",
}
REPLICAS = {
    "setting": "setting",
    "replicas": "k",
    "batch_steps_per_second": "one batch of k",
    "processes_steps_per_second": "k processes",
    "one_trial_steps_per_second": "one trial alone",
}


def _checks(checks: Sequence[dict[str, Any]]) -> list[str]:
    failed = [check for check in checks if check["problem"]]
    worst = max((check["difference"] or 0 for check in checks), default=0)
    text = f"{len(checks) - len(failed)} of {len(checks)} checks hold;"
    text += f" the largest difference between two accuracies is {worst:.3f}."
    return [text, *([""] if failed else []), *(f"- {c['name']}: {c['problem']}" for c in failed)]


def _table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> list[str]:
    lines = [f"| {' | '.join(columns.values())} |", "|---" * len(columns) + "|"]
    return lines + [f"| {' | '.join(str(row[key]) for key in columns)} |" for row in rows]
