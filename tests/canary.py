"""The numbers of tiny trainings of every method, to notice when a change moves them.

    python tests/canary.py --add      stores those of new methods in tests/data/canary.json
    python tests/canary.py --write    stores all anew, only together with a raised NUMERICS_VERSION

`test_canary.py` compares them.
"""

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny import VARIANTS, fisher_of, go, trial
from torch import Tensor

from hcl import metrics
from hcl.config import TrialConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.storage import checkpoint

# Of all differences between two CPUs' roundings, those of this seed's trainings stay smallest.
SEED = 4
# As a share of a part's norm. Other instruction sets (SSE4, AVX2, AVX-512) move the state by up to
# 1e-6: float32's rounding of 6e-8 through 18 steps. A hundredth more learning rate moves it by
# 3e-4 or more, a hundredth more of a method's own strength by 2e-5 or more.
TOLERANCE = 1e-5
# At a task's first step these distill from the very network that learns: the gradient is rounding
# alone, and Adam makes a whole step of it. Their class scenario has no such step.
CHAOTIC = ("hnet_r task", "hnet_r domain", "dgr_distill task", "dgr_distill domain")
SCORE_TOLERANCE = 0.03  # a sample at the border
STORED = Path(__file__).parent / "data" / "canary.json"
# Strong enough that a hundredth more or less of it moves the weights.
STRENGTH: dict[str, Any] = {
    "hnet": {"method/beta": 1.0},
    "hnet_tir": {"method/beta": 1.0, "method/decoder_beta": 1.0},
    "hnet_r": {"method/decoder_beta": 1.0},
    "pr_bbb": {"method/beta": 1.0, "method/kl_scale": 1.0},
}
TASKS_OF_A_SEED = {"benchmark__class_order": "shuffled", "benchmark__order_seed": "trial"}
Numbers = dict[str, Any]


def trials() -> dict[str, TrialConfig]:
    """Make a trial of every method in every scenario, and of settings that take other ways."""
    found = {
        f"{name} {scenario}": trial(name, scenario, **STRENGTH.get(name, {}))
        for name, config in METHOD_CONFIGS.items()
        for scenario in config.SCENARIOS
    }
    for variant, (name, settings) in VARIANTS.items():
        if settings:
            found[variant] = trial(name, **{**STRENGTH.get(name, {}), **settings})
    for name, config in METHOD_CONFIGS.items():
        if config.REGRESSION:
            found[f"{name} regression"] = trial(
                name, benchmark="toy_regression", **STRENGTH.get(name, {}), **fisher_of(name)
            )
    found["hnet permuted"] = trial("hnet", benchmark="permuted_digits", **STRENGTH["hnet"])
    published = {"method__distillation": "mean_over_classes", **TASKS_OF_A_SEED}
    found["dgr_distill published"] = trial("dgr_distill", "class", **published)
    return {name: replace(config, seed=SEED) for name, config in found.items()}


def numbers(config: TrialConfig) -> Numbers:
    """Train; give the scores, and two numbers for each part of the method's final state.

    A part is what shares the first word of its names in the state: a network, a hypernetwork, the
    extra state with the optimizers. Its numbers are its norm, and its product with cos(0), cos(1),
    ..., which sees values that change places or signs.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = go(config, Path(folder))
        state = checkpoint.load_latest(Path(folder))
    assert state is not None
    parts: dict[str, list[Tensor]] = {}
    for name, value in sorted(state["method"].items()):
        parts.setdefault(name.partition(".")[0], []).extend(_floats(value))
    sums = {}
    for part, values in parts.items():
        if values:
            vector = torch.cat(values)
            waves = torch.arange(len(vector), dtype=torch.float64).cos()
            sums[part] = [float(f"{x:.8g}") for x in (vector.norm(), vector @ waves)]
    derived = tuple(metrics.more([[0.0]]))  # from the same matrices
    scores = {
        k: round(v, 6)
        for k, v in sorted(result.metrics.items())
        if k.startswith("test/") and not k.endswith(derived)
    }
    return {"scores": scores, "state": sums}


def moved(name: str, mine: Numbers, stored: Numbers) -> list[str]:
    """Say what is further from the stored numbers than rounding explains."""
    if mine["scores"].keys() != stored["scores"].keys():
        return [f"scored are {sorted(mine['scores'])}, stored {sorted(stored['scores'])}"]
    if mine["state"].keys() != stored["state"].keys():
        return [f"the state's parts are {sorted(mine['state'])}, stored {sorted(stored['state'])}"]
    found = [
        f"{score} is {value}, stored {stored['scores'][score]}"
        for score, value in mine["scores"].items()
        if not math.isclose(value, stored["scores"][score], abs_tol=SCORE_TOLERANCE)
    ]
    for part, distance in distances(mine, stored).items():
        is_chaotic = name in CHAOTIC and part in ("network", "_extra_state")
        if not distance <= TOLERANCE and not is_chaotic:
            found.append(f"{part} moved by {distance:.1e} of its norm, allowed {TOLERANCE:.0e}")
    return found


def distances(mine: Numbers, stored: Numbers) -> dict[str, float]:
    """Give how far each part of the state is from the stored one, as a share of its norm."""
    return {
        part: max(abs(a - b) for a, b in zip(pair, stored["state"][part], strict=True))
        / max(stored["state"][part][0], 1e-12)
        for part, pair in mine["state"].items()
    }


def _floats(value: Any) -> Iterator[Tensor]:
    """Collect the floating-point numbers in nested dicts and lists, as flat float64 tensors."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value.detach().double().flatten()
    elif isinstance(value, float):
        yield torch.tensor([value], dtype=torch.float64)
    elif isinstance(value, dict):
        for key in value:
            yield from _floats(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _floats(item)


if __name__ == "__main__":
    from hcl.results import NUMERICS_VERSION

    if sys.argv[1:] not in (["--add"], ["--write"]):
        sys.exit(__doc__)
    kept = json.loads(STORED.read_text())["trials"] if sys.argv[1] == "--add" else {}
    new = {name: numbers(config) for name, config in trials().items() if name not in kept}
    found = {name: kept.get(name) or new[name] for name in (*kept, *new) if name in trials()}
    document = {"numerics_version": NUMERICS_VERSION, "trials": found}
    STORED.write_text(json.dumps(document, indent=1) + "\n")
