"""From a YAML file and `--set` to a checked configuration; all faults come in one error."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from lusirag.errors import InvalidArgumentError
from lusirag_training.config.stages import AlignmentConfig, ContrastiveConfig

Config = TypeVar("Config", AlignmentConfig, ContrastiveConfig)


class _Yaml(yaml.SafeLoader):
    """YAML 1.1 reads 1e-4 as text; here it is the number that everybody means."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)?\.?\d+([eE][-+]?\d+)$|^[-+]?\d[\d_]*\.([eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def read_config(file: Path, kind: type[Config], *, changes: Sequence[str] = ()) -> Config:
    """Read a recipe.

    Args:
        file: YAML. kind: the stage's configuration.
        changes: "section.field=value" each, value in YAML; a number names an item of a list: "data.sets.0.cap=100".

    Raises:
        InvalidArgumentError: the file cannot be read, or values are missing, unknown or not allowed; names all.
    """
    values = read_yaml(file)
    for change in changes:
        apply_change(values, change)
    return parse(values, kind, origin=str(file))


def parse(values: dict[str, Any], kind: type[Config], *, origin: str) -> Config:
    """Check values that were read.

    Raises:
        InvalidArgumentError: lists every fault.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = [_fault(each) for each in error.errors(include_url=False)]
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise InvalidArgumentError(f"{origin} has {count}: {'; '.join(faults)}") from error


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InvalidArgumentError: no such file, no YAML, or no mapping.
    """
    try:
        values = yaml.load(file.read_text("utf-8"), _Yaml)
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be read ({error.strerror}); give the path of a recipe") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{file} is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise InvalidArgumentError(f"{file} holds no mapping of sections such as model, data, run")
    return values


def apply_change(values: dict[str, Any], change: str) -> None:
    """Set one value, in place.

    Raises:
        InvalidArgumentError: not of the form key=value, or the key leads into a value that has no parts.
    """
    path, sign, text = change.partition("=")
    if not sign or not path.strip():
        raise InvalidArgumentError(f"--set {change!r} is not of the form section.field=value")
    try:
        value = yaml.load(text, _Yaml)
    except yaml.YAMLError as error:
        raise InvalidArgumentError(f"--set {change!r}: the value is no YAML") from error
    keys = path.strip().split(".")
    place: Any = values
    for key in keys[:-1]:
        place = _into(place, key, change)
        if place is None:
            raise InvalidArgumentError(f"--set {change!r}: there is no {key!r} to set a part of")
    if isinstance(place, list) and keys[-1].isdigit() and int(keys[-1]) < len(place):
        place[int(keys[-1])] = value
    elif isinstance(place, dict):
        place[keys[-1]] = copy.deepcopy(value)
    else:
        raise InvalidArgumentError(f"--set {change!r}: {'.'.join(keys[:-1])} has no part {keys[-1]!r}")


def _into(place: Any, key: str, change: str) -> Any:
    if isinstance(place, list):
        return place[int(key)] if key.isdigit() and int(key) < len(place) else None
    if isinstance(place, dict):
        if place.get(key) is None:
            place[key] = {}
        return place[key]
    raise InvalidArgumentError(f"--set {change!r}: a value above {key!r} has no parts")


def _fault(error: Any) -> str:
    """One fault in words: where, what is wrong, what was given."""
    place = ".".join(str(part) for part in error["loc"]) or "the recipe"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{place} is unknown"
    if error["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{place} is missing"
    if error["type"] == "value_error":
        return f"{place}: {message}"
    return f"{place} is {error['input']!r}: {message[:1].lower()}{message[1:]}"
