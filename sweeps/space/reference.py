"""The reference of settings: each with its type, default, limits and meaning, from the schema.

A setting's meaning is the comment at its field: behind it on its line, or on the lines above.
"""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from hcl.config import ConfigError
from hcl.config.schema import TOP, Choice, Group, suggest
from hcl.config.trial import GROUPS
from sweeps.space.settings import SweepSettings

WORDS = {float: "number", int: "whole number", bool: "true or false", str: "text"}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
TITLES = {
    TOP: "Trial",
    "benchmark": "Benchmark",
    "target": "Target network",
    "train": "Training",
    "method": "Method",
    "sweep": "Sweep",
}
SWEEP = Group({"": (SweepSettings, {})})
INTRODUCTION = """\
# Settings

Every setting of a trial and of a sweep. `hcl settings hnet` and `hcl settings train/lr` show them
in a terminal. A setting has the same name in YAML files, in `--set`, in Optuna, in MLflow and in
tables. How a file is put together: [search spaces](../search_spaces/README.md).
"""
MANY = 6  # choices that share a default are named up to here


@dataclass(frozen=True)
class Setting:
    """One setting in words: its full name, the values it may have, its default, its meaning."""

    name: str
    values: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The settings that go together: a group, or one choice of it, such as a method."""

    name: str  # what `hcl settings NAME` is given
    title: str
    about: str
    settings: tuple[Setting, ...]

    @property
    def is_group(self) -> bool:
        """True for a whole group, false for one choice of it."""
        return self.title in TITLES.values()


@cache
def sections() -> tuple[Section, ...]:
    """List every section: first a group, then its choices that have settings of their own."""
    groups = [(TOP, GROUPS[TOP]), *((n, g) for n, g in GROUPS.items() if n != TOP)]
    groups.append(("sweep", SWEEP))
    return tuple(part for name, group in groups for part in _parts(name, group))


def find_section(name: str) -> Section:
    """Find a section by its name: a group, a method, or one setting, `method/beta`.

    A user's own method is named by its import path, `package.module:Name`.

    Raises:
        ConfigError: there is none of that name, or it cannot be imported.
    """
    methods = GROUPS["method"]
    if methods.find_own and (own := methods.find_own(name)):
        return _choice("method", methods, name, own)
    known = {section.name: section for section in sections()}
    if name in known:
        return known[name]
    every = {one.name: one for section in known.values() for one in section.settings}
    if name in every:
        return Section(name, "", "", (every[name],))
    raise ConfigError(f"there is no setting or group {name!r}{suggest(name, [*known, *every])}")


def markdown() -> str:
    """Write all sections as one page, docs/settings.md."""
    lines = [INTRODUCTION]
    for section in sections():
        lines += [f"{'##' if section.is_group else '###'} {section.title}", "", section.about, ""]
        if section.settings:
            lines += ["| setting | values | default | meaning |", "|---|---|---|---|"]
            rows = [
                (f"`{s.name}`", s.values, f"`{s.default}`", s.meaning) for s in section.settings
            ]
            lines += [*(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join(lines).rstrip("\n")


def text(section: Section, width: int) -> str:
    """Write a section for a terminal of a number of columns."""
    lines = [section.title, *textwrap.wrap(section.about, width)]
    for one in section.settings:
        lines += ["", one.name]
        for part in (f"{one.values}; default {one.default}", one.meaning):
            lines += textwrap.wrap(part, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines).strip()


def _parts(name: str, group: Group) -> Iterator[Section]:
    """Yield a group's section, and, where its choices differ in settings, one for each."""
    title = TITLES[name]
    if len({kind for kind, _ in group.choices.values()}) == 1:
        yield _section("trial" if name == TOP else name, title, name, group)
        return
    about = f"`{name}/{group.selector}` is one of {', '.join(group.choices)}."
    yield Section(name, title, f"{about} Each has settings of its own.", ())
    for choice, found in group.choices.items():
        yield _choice(name, group, choice, found)


def _choice(name: str, group: Group, choice: str, found: Choice) -> Section:
    alone = dataclasses.replace(group, choices={choice: found}, default=choice)
    return _section(choice, f"{getattr(found[0], 'LABEL', '')}: `{choice}`", name, alone)


def _section(name: str, title: str, group_name: str, group: Group) -> Section:
    """Describe the settings of the class that all choices of a group share."""
    kind, defaults = group.choices[group.default]
    hints, said = typing.get_type_hints(kind), meanings(kind)
    prefix = {TOP: "", "sweep": "sweep."}.get(group_name, f"{group_name}/")
    found = []
    for field in dataclasses.fields(kind):
        if field.name == group.selector and len(group.choices) == 1:
            continue  # the section is this choice's own
        values = describe_type(hints[field.name])
        if field.name == group.selector:
            values = group.listed or ", ".join(group.choices)
        bounds = [f"{sign} {field.metadata[key]:g}" for key, sign in SIGNS.items()
                  if key in field.metadata]  # fmt: skip
        default = _show(defaults.get(field.name, field.default))
        meaning = said.get(field.name, "") + _other_defaults(field, group)
        found.append(Setting(prefix + field.name, ", ".join([values, *bounds]), default, meaning))
    about = " ".join(inspect.cleandoc(kind.__doc__ or "").split())
    return Section(name, title, about, tuple(found))


def _other_defaults(field: "dataclasses.Field[Any]", group: Group) -> str:
    """Say the default of each choice that has another one than the group's own choice."""
    usual = group.choices[group.default][1].get(field.name, field.default)
    others: dict[str, list[str]] = {}
    for choice, (_, defaults) in group.choices.items():
        own = defaults.get(field.name, field.default)
        if own != usual and field.name != group.selector:
            others.setdefault(_show(own), []).append(choice)
    said = [
        f"{value} for {', '.join(names) if len(names) <= MANY else 'all others'}"
        for value, names in sorted(others.items(), key=lambda item: len(item[1]) > MANY)
    ]
    return f" Default {'; '.join(said)}." if said else ""


def describe_type(hint: Any) -> str:
    """Say a field's type in words."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_type(part) for part in parts if part is not type(None))
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin is tuple:
        return (
            f"list of {describe_type(parts[0])}s"
            if parts[0] in WORDS
            else (f"list of {describe_type(parts[0])}")
        )
    return WORDS[hint]


def _show(value: Any) -> str:
    """Write a default as YAML does."""
    if value is None or value == "":
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_show, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def meanings(kind: type) -> dict[str, str]:
    """Read the comments of a dataclass's fields, its bases' included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            found |= _comments(base)
    return found


@cache  # finding a class's source takes Python milliseconds
def _comments(kind: type) -> dict[str, str]:
    """Read the comments of the fields that a class's own source defines."""
    source = textwrap.dedent(inspect.getsource(kind))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    comments, alone = {}, set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.strip("# ")
            if token.line.lstrip().startswith("#"):
                alone.add(token.start[0])
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above = node.lineno
        while above - 1 in alone:
            above -= 1
        lines = range(above, (node.end_lineno or node.lineno) + 1)
        said = " ".join(comments[line] for line in lines if line in comments)
        if said:
            found[node.target.id] = f"{said[0].upper()}{said[1:].rstrip('.')}."
    return found
