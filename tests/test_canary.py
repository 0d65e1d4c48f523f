"""A change that moves any method's results is noticed."""

import json
from dataclasses import replace

import pytest
from canary import STORED, TOLERANCE, distances, moved, numbers, trials

from hcl.results import NUMERICS_VERSION

DOCUMENT = json.loads(STORED.read_text())
TRIALS = trials()
WHAT_TO_DO = (
    "Results are no longer those of NUMERICS_VERSION {version}. If the change means to move them,"
    " raise NUMERICS_VERSION in hcl/results.py and store the canary anew: python tests/canary.py"
    " --write. If not, mend the change."
)


def test_the_stored_numbers_are_of_this_version() -> None:
    assert DOCUMENT["numerics_version"] == NUMERICS_VERSION, "python tests/canary.py --write"
    assert DOCUMENT["trials"].keys() == TRIALS.keys(), "new trials: python tests/canary.py --add"


@pytest.mark.parametrize("name", TRIALS)
def test_the_numbers_are_the_stored_ones(name: str) -> None:
    found = moved(name, numbers(TRIALS[name]), DOCUMENT["trials"][name])
    if found:
        lines = [f"{name}: {problem}" for problem in found]
        pytest.fail(
            "\n".join([WHAT_TO_DO.format(version=NUMERICS_VERSION), *lines]), pytrace=False
        )


@pytest.mark.parametrize(
    ("name", "group", "key"),
    [
        ("hnet task", "train", "lr"),
        ("hnet task", "method", "beta"),
        ("hnet_r class", "method", "decoder_beta"),
        ("si task", "method", "c"),
        ("ewc task", "method", "ewc_lambda"),
    ],
)
def test_a_hundredth_more_is_noticed(name: str, group: str, key: str) -> None:
    config = TRIALS[name]
    settings = getattr(config, group)
    more = replace(settings, **{key: 1.01 * getattr(settings, key)})
    mine = numbers(replace(config, **{group: more}))
    assert max(distances(mine, DOCUMENT["trials"][name]).values()) > 3 * TOLERANCE
    assert moved(name, mine, DOCUMENT["trials"][name])
