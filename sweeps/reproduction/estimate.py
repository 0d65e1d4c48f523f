"""Hours that trainings would take, from steps timed on this machine."""

from collections.abc import Sequence

from hcl.config import TrialConfig


def hours(
    configs: Sequence[TrialConfig], device: str, threads: int, data_root: str | None
) -> tuple[float, list[str]]:
    """Total hours, and a line for each configuration.

    Args:
        configs: trainings, seeds included; each configuration is timed once.
        device, threads, data_root: as the trainings would have them.
    """
    from rich.progress import track

    from hcl.probe import training_seconds
    from hcl.trial import Runtime

    runtime = Runtime(device=device, threads=threads, data_root=data_root)
    groups: dict[str, list[TrialConfig]] = {}
    for config in configs:
        groups.setdefault(config.digest(without_seed=True), []).append(config)
    total, lines = 0.0, []
    for group in track(groups.values(), "timing steps", transient=True):
        each = training_seconds(group[0], runtime) / 3600
        total += each * len(group)
        first = group[0]
        lines.append(
            f"  {first.benchmark.name} {first.scenario} {first.method_name}:"
            f" {len(group)} x {each:.2f} h"
        )
    return total, lines
