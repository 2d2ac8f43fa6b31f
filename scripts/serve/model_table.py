"""Which models are served: MODEL words of the command line, or the table in config/models.yaml.

    ./serve.sh base hi=path/to/whisper-hindi tiny.en

    models:
      whisper: {checkpoint: base, aliases: [gpt-4o-transcribe]}
      hindi: {checkpoint: path/to/whisper-hindi, languages: [hi, mr, ne]}

The first is the default: it answers whatever no other model takes. In TorchServe it is `whisper`, whose paths
clients know; another name that it is given is an alias.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from asr.languages import LANGUAGE_CODES, LANGUAGES
from scripts.serve.arguments import device_name
from scripts.serve.serve_error import ServeError

DEFAULT_NAME = "whisper"  # of the first model in TorchServe: /predictions/whisper
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")  # what torch-model-archiver and TorchServe's paths take
TABLE_KEY = "models"


class ModelRow(BaseModel):
    """One model as it is to be served; None leaves the value of config/model-config.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    checkpoint: str = Field(min_length=1)  # a MODEL: an OpenAI name, a path, a Hugging Face name
    workers: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    device: str | None = None
    aliases: Annotated[tuple[str, ...], Field(strict=False)] = ()
    languages: Annotated[tuple[str, ...], Field(strict=False)] = ()
    family: Literal["auto", "whisper", "ctc", "transducer", "paraformer", "moonshine"] | None = None
    search_paths: Annotated[int, Field(ge=0)] | None = None  # of a transducer's beam search
    endpoints: Literal["silence", "model"] | None = None  # what ends a live turn that the model hears
    fallback: str | None = None  # the model that answers while this one cannot
    load: Literal["start", "on_demand"] = "start"  # on_demand: with its first request
    idle_s: Annotated[float, Field(gt=0, strict=False)] | None = None  # on demand: it goes after this time

    @field_validator("languages")
    @classmethod
    def _are_whispers(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [code for code in languages if code not in LANGUAGES]:
            raise ValueError(f"{', '.join(unknown)} must be Whisper's codes: en, hi, mr …")
        return languages

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str | None) -> str | None:
        try:
            return device if device is None else device_name(device)
        except ArgumentTypeError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The rows by name, the default model's first."""

    rows: Mapping[str, ModelRow]

    @property
    def default(self) -> tuple[str, ModelRow]:
        return next(iter(self.rows.items()))

    @property
    def others(self) -> dict[str, ModelRow]:
        return dict(list(self.rows.items())[1:])


def table_of_words(words: Sequence[str]) -> ModelTable:
    """The models of a command line: `MODEL` or `NAME=MODEL`; a language's code or name takes the language.

    A further MODEL without a name is called as its file or folder is. Raises ServeError.
    """
    rows: dict[str, ModelRow] = {}
    for word in words:
        name, equals, checkpoint = word.partition("=")
        if not equals or not NAME.fullmatch(name):
            name, checkpoint = DEFAULT_NAME if not rows else _called(word), word
        if name in rows:
            raise ServeError(f"two models are called {name!r}: call one of them otherwise, NAME={checkpoint}")
        code = name if name in LANGUAGES else LANGUAGE_CODES.get(name)
        languages = (code,) if code and rows else ()
        rows[name] = _row(f"{name}={checkpoint}", {"checkpoint": checkpoint, "languages": languages})
    return checked(ModelTable(rows))


def read_table(file: Path) -> ModelTable | None:
    """The table in a models.yaml; None where there is no file or no model in it. Raises ServeError."""
    if not file.is_file():
        return None
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ServeError(f"{file.name} is not YAML: {' '.join(str(error).split())}") from error
    if content is None or content == {TABLE_KEY: None}:
        return None
    if (
        not isinstance(content, dict)
        or set(content) != {TABLE_KEY}
        or not isinstance(content[TABLE_KEY], dict)
    ):
        raise ServeError(f"{file.name} must be a table `{TABLE_KEY}:` of models by name")
    rows = {str(name): _row(f"{file.name}: {name}", row) for name, row in content[TABLE_KEY].items()}
    return checked(ModelTable(rows)) if rows else None


def checked(table: ModelTable) -> ModelTable:
    """The same table, its first model called `whisper`; raises ServeError where it is not clear."""
    taken: dict[str, str] = {}
    spoken: dict[str, str] = {}
    for name, row in table.rows.items():
        if not NAME.fullmatch(name):
            raise ServeError(f"a model is called {name!r}, must be at most 64 letters, digits, - _ and .")
        for alias in (name, *row.aliases):
            if taken.setdefault(alias, name) != name:
                raise ServeError(f"{alias!r} names two models, {taken[alias]} and {name}")
        for code in row.languages:
            if spoken.setdefault(code, name) != name:
                raise ServeError(f"two models take the language {code}: {spoken[code]} and {name}")
    default, row = table.default
    if row.languages:
        raise ServeError(
            f"{default} is the first model and takes every language: give languages to others alone"
        )
    if row.load == "on_demand":
        raise ServeError(f"{default} is the first model and loads at start: give `load: on_demand` to others")
    for name, row in table.rows.items():
        if row.idle_s is not None and row.load != "on_demand":
            raise ServeError(f"{name}: idle_s is for models with `load: on_demand`")
        if row.fallback is not None and (row.fallback not in table.rows or row.fallback == name):
            raise ServeError(f"{name}: fallback is {row.fallback!r}, must be another model of the table")
    return _first_is_whisper(table)


def _first_is_whisper(table: ModelTable) -> ModelTable:
    name, row = table.default
    if name == DEFAULT_NAME:
        return table
    if DEFAULT_NAME in table.others:
        raise ServeError(
            f"{DEFAULT_NAME} is the first model's name in TorchServe: put it first, or rename it"
        )
    first = row.model_copy(update={"aliases": (name, *row.aliases)})
    others = {
        other: each.model_copy(update={"fallback": DEFAULT_NAME}) if each.fallback == name else each
        for other, each in table.others.items()
    }
    return ModelTable({DEFAULT_NAME: first, **others})


def _called(model: str) -> str:
    """The name that a MODEL without one gets."""
    name = Path(model).name.removesuffix(".pt").removesuffix(".pth")
    if not NAME.fullmatch(name):
        raise ServeError(f"{model!r} gives no name to call it by: write NAME={model}")
    return name


def _row(where: str, content: Any) -> ModelRow:
    try:
        return ModelRow.model_validate(content)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(map(str, detail["loc"]))
        known = ", ".join(ModelRow.model_fields)
        why = f"known are {known}" if detail["type"] == "extra_forbidden" else detail["msg"]
        raise ServeError(f"{where}: {key or 'its value'}: {why.removeprefix('Value error, ')}") from error
