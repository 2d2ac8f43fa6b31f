"""Settings for people: complaints that name the key, its value and what is allowed; settings as YAML."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

SECRETS = ("keys", "key", "sha256")
MAX_VALUE_CHARS = 80
PASSWORD = re.compile(
    r"""(://)[^\s'",]*@|([?&]password=)[^\s'",&]*"""
)  # before a URL's host, or in its query
SECRET_LENGTH = re.compile(r"Value should have (at (?:least|most) \d+) items after validation")


class SettingsError(ValueError):
    """The settings cannot be used. Each line names a key, its value and what is allowed."""


def read_yaml(path: Path) -> Any:
    """The file's content; raises SettingsError without the parser's message, which may quote secrets."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SettingsError(f"{path}, line {line}: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error


def complaints(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each error."""
    return [_complaint(detail, model) for detail in error.errors()]


def unknown_key(name: str, known: Iterable[str]) -> str:
    """The known name that is closest to `name`, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def section_of(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model at `path`; None for a plain value."""
    here: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, int):
            continue  # an index into the list that the previous step named
        field = here.model_fields.get(step) if here else None
        here = _model_in(field.annotation) if field else None
    return here


def to_yaml(settings: BaseModel) -> str:
    """The settings as YAML, in the form of the file. Keys and passwords in URLs are masked."""
    values: Any = json.loads(settings.model_dump_json())
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return without_passwords(text)


def without_passwords(text: str) -> str:
    """The text with the passwords in its URLs masked."""
    return PASSWORD.sub(lambda match: f"{match[1]}***@" if match[1] else f"{match[2]}***", text)


def _complaint(detail: ErrorDetails, model: type[BaseModel]) -> str:
    path = detail["loc"]
    name = ".".join(map(str, path))
    if detail["type"] == "extra_forbidden":
        section = section_of(model, path[:-1]) or model
        return f"{name} is unknown: {unknown_key(str(path[-1]), section.model_fields)}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{name} is missing"
    if detail["type"] == "value_error":
        return f"{name}: {message}" if name else message
    if not path:  # the whole file; Pydantic's message would be about Python types
        content = "empty" if detail["input"] is None else f"a {type(detail['input']).__name__}"
        return f"the file is {content}, must have entries under `{next(iter(model.model_fields))}:`"
    right = message.removeprefix("Input should be ").removeprefix("URL scheme should be ")
    if length := SECRET_LENGTH.match(message):
        right = f"{length[1]} characters"
    return f"{name} is {_value(detail['input'], path)}, must be {right}"


def _value(value: Any, path: Sequence[str | int]) -> str:
    if path[-1] in SECRETS or (isinstance(path[-1], int) and path[-2] in SECRETS):
        return "a secret"
    text = without_passwords(repr(value))
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "…"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
