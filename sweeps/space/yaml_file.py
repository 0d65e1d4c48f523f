"""YAML files of settings, read as their writer means them, without YAML 1.1's surprises.

`1e-3` is a number, `off` and `010` are text, and a key given twice is an error. Files that nobody
wrote by hand (huge, or nested without end) are refused.
"""

import re
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hcl.config import ConfigError, flatten
from hcl.config.schema import suggest

_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$")
_REPLACED = {f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "timestamp")}

MAX_BYTES = 2**20
MAX_DEPTH = 20
MAX_VALUES = 100_000  # an alias counts each time it is used


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the booleans and numbers of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a file that holds one mapping.

    Raises:
        ConfigError: the file is unreadable, is not YAML, holds no mapping, or gives keys twice
            (all of them are named).
    """
    text = read_text(path)
    try:
        return parse_yaml(text)
    except ConfigError as error:
        raise ConfigError([f"{path}: {message}" for message in error.errors]) from None


def read_text(path: Path) -> str:
    """Read the text of a settings file.

    Raises:
        ConfigError: it is not UTF-8 text, larger than MAX_BYTES, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise ConfigError(f"{path}: cannot be read: it is not a file")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: cannot be read: it is larger than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {why}") from None


def parse_yaml(text: str) -> dict[str, Any]:
    """Read a text that holds one mapping; raises like `load_yaml`."""
    try:
        value = _parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(_syntax_message(error)) from None
    # PyYAML raises these for a tag that the text does not keep, and for endless brackets.
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"not valid YAML: {_first_line(error)}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"the file must hold a mapping but holds {reprlib.repr(value)}")
    return value


def read_mapping(value: Any, path: str, errors: list[str]) -> dict[str, Any]:
    """Return a section that must be a mapping; another value is a mistake at `path`."""
    if isinstance(value, Mapping):
        return dict(value)
    errors.append(f"{path}: must be a mapping but got {value!r}")
    return {}


def read_flat(value: Any, path: str, errors: list[str]) -> dict[str, Any]:
    """Return a section of nested keys with flat ones, appending every mistake to `errors`."""
    try:
        return flatten(read_mapping(value, path, errors))
    except ConfigError as error:
        errors += [f"{path}.{message}" for message in error.errors]
        return {}


def refuse_unknown(
    section: Iterable[str], known: tuple[str, ...], prefix: str, errors: list[str]
) -> None:
    """Append the section's keys that are not `known` to `errors`, each after `prefix`."""
    errors += [
        f"{prefix}{key}: unknown key{suggest(str(key), known)}"
        for key in section
        if key not in known
    ]


def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        errors: list[str] = []
        _find_twice_given(node, "", errors)
        if errors:
            raise ConfigError(errors)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_size(root: yaml.Node) -> None:
    """Refuse a document that is too large or endless; aliases make much out of little."""
    level, count = [root], 0
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        count += len(level)
        if count > MAX_VALUES:
            raise ConfigError(
                f"holds more than {MAX_VALUES} values; write its aliases (*name) out"
            )
        if not level:
            return
    raise ConfigError(
        f"is nested more than {MAX_DEPTH} levels deep; an alias (*name) may contain itself"
    )


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _syntax_message(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    return f"{where}not valid YAML: {', '.join(filter(None, parts)) or _first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _find_twice_given(node: yaml.Node, path: str, errors: list[str]) -> None:
    """Report keys given twice; done before construction, because a dict keeps only the last."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _find_twice_given(item, f"{path}[{index}]", errors)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # construction refuses it
            name = f"{path}.{key.value}" if path else str(key.value)
            line = key.start_mark.line + 1
            if key.value in lines:
                errors.append(f"{name}: given twice (lines {lines[key.value]} and {line})")
            lines.setdefault(key.value, line)
            _find_twice_given(item, name, errors)
