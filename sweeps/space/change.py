"""Changes to a search space that a user asks for on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hcl.config import flatten
from sweeps.space.search_space import SearchSpace


def overridden(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change what a search space file holds.

    `train/iterations` fixes a setting of every trial, which is then searched no more;
    `sweep/num_trials` changes the section `sweep`, `search/method/beta` a range.

    Args:
        document: what the file holds.
        changes: full key -> new value.

    Raises:
        ConfigError: the file's section `trial` gives a key twice.
    """
    if not changes:
        return dict(document)
    trial = flatten(document.get("trial") or {})
    search = dict(document.get("search") or {})
    sweep = dict(document.get("sweep") or {})
    points = [flatten(point) for point in document.get("points_to_evaluate") or []]
    for name, value in changes.items():
        section, _, key = name.partition("/")
        if section == "sweep":
            sweep[key] = value
        elif section == "search":
            search[key] = value
            trial.pop(key, None)
        else:
            trial[name] = value
            search.pop(name, None)
            points = [{k: v for k, v in point.items() if k != name} for point in points]
    changed = {"trial": trial, "search": search, "sweep": sweep}
    return {**document, **changed, "points_to_evaluate": [point for point in points if point]}


def with_points(
    space: SearchSpace, found: Sequence[Mapping[str, Any]]
) -> tuple[SearchSpace, list[str]]:
    """Let a sweep try configurations of another sweep first.

    Args:
        space: what is searched.
        found: the configurations, best first: searched key -> value as a trial reads it.

    Returns:
        The space with these points before its own, and a sentence for each value that it cannot
        take; Optuna chooses that one.
    """
    points, notes = [], []
    for one in found:
        kept = {}
        for key, parameter in space.parameters.items():
            if key not in one:
                notes.append(f"{key}: the other sweep did not search it")
            elif problem := parameter.problem(one[key]):
                notes.append(f"{key}: {problem}")
            else:
                kept[key] = parameter.store(one[key])
        notes += [f"{key}: is not searched here" for key in one if key not in space.parameters]
        searched = space.conditions.searched(kept)
        point = {key: space.parameters[key].load(value) for key, value in searched.items()}
        if point and point not in points:
            points.append(point)
    return replace(space, points=(*points, *space.points)), list(dict.fromkeys(notes))
