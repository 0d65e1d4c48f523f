"""YAML as a person writing settings expects it: no silent surprises of YAML 1.1.

`1e-3` is a number, `off` is a string, and a key given twice is an error instead of the last one
winning.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from hcl.config import ConfigError

_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_REPLACED = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")


class _Loader(yaml.SafeLoader):
    """Safe loader with YAML 1.2's booleans and floats."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a file that holds one mapping.

    Raises:
        ConfigError: unreadable, not YAML, not a mapping, or keys given twice (all of them).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {why}") from None
    return parse_yaml(text)


def parse_yaml(text: str) -> dict[str, Any]:
    """As `load_yaml`, of a text."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        errors: list[str] = []
        if node is not None:
            _find_twice_given(node, "", errors)
        if errors:
            raise ConfigError(errors)
        value = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise ConfigError(_syntax_message(error)) from None
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise ConfigError(f"the file must hold a mapping but holds {value!r}")
    return value


def _syntax_message(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}not valid YAML: {getattr(error, 'problem', None) or error}"


def _find_twice_given(node: yaml.Node, path: str, errors: list[str]) -> None:
    """Walk the document before it is built: a dict can no longer tell."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _find_twice_given(item, f"{path}[{index}]", errors)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, item in node.value:
            name = f"{path}.{key.value}" if path else str(key.value)
            line = key.start_mark.line + 1
            if key.value in lines:
                errors.append(f"{name}: given twice (lines {lines[key.value]} and {line})")
            elif isinstance(key, yaml.ScalarNode):
                lines[key.value] = line
            _find_twice_given(item, name, errors)
