"""The tokenizer files of a Hugging Face folder → an error where a token is not OpenAI's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.config import ConfigError
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.checkpoints.json_files import read_table
from asr.engines.checkpoints.vocabulary import ALSO_CALLED, vocabulary
from asr.text.tokenizer import Tokenizer, tokenizer_for

Table = Mapping[str, Any]  # token → id, as a file has it


def check_tokens(folder: Path, dims: ModelDims, generation: Table) -> None:
    """Raises ConfigError that names the first token which is not OpenAI's, or is missing.

    generation: what generation_config.json holds. A folder without a tokenizer's files is taken for OpenAI's:
    its vocabulary's size is.
    """
    tokenizer = tokenizer_for(dims.multilingual, dims.num_languages)
    wanted = vocabulary(tokenizer, dims.n_vocab)
    for file, table, is_text in _tables(folder):
        _check_table(file, table, wanted)
        if is_text and (missing := set(range(tokenizer.eot)) - set(table.values())):
            token = min(missing)
            raise ConfigError(
                f"{str(file)!r} lacks {len(missing)} tokens of OpenAI's vocabulary, among them {token}, "
                f"{wanted[token]!r}"
            )
    _check_table(folder / "generation_config.json", _special_tokens(generation), wanted)


def own_suppressed_tokens(generation: Table, dims: ModelDims, file: Path) -> tuple[int, ...] | None:
    """The tokens that a folder suppresses in place of OpenAI's non-speech tokens; None for OpenAI's."""
    found = generation.get("suppress_tokens")
    if found is None:
        return None
    if not isinstance(found, list) or not all(_is_token(each, dims.n_vocab) for each in found):
        raise ConfigError(f"{str(file)!r}: suppress_tokens must be token ids below {dims.n_vocab}")
    tokenizer: Tokenizer = tokenizer_for(dims.multilingual, dims.num_languages)
    usual = set(tokenizer.suppressed_tokens((-1,)))
    return None if set(found) | set(tokenizer.never_sampled) == usual else tuple(sorted(set(found)))


def _is_token(value: object, n_vocab: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < n_vocab


def _check_table(file: Path, table: Table, wanted: Sequence[str]) -> None:
    for name, token in table.items():
        if not _is_token(token, len(wanted)):
            raise ConfigError(
                f"{str(file)!r}: token {name[:40]!r} has id {str(token)[:20]}, OpenAI's vocabulary has "
                f"{len(wanted)} tokens: tokens of a model's own cannot be decoded here"
            )
        if name != wanted[token] and name != ALSO_CALLED.get(wanted[token]):
            raise ConfigError(
                f"{str(file)!r} is not OpenAI's vocabulary: token {token} is {name[:40]!r}, OpenAI's is "
                f"{wanted[token]!r}"
            )


def _tables(folder: Path) -> Iterator[tuple[Path, Table, bool]]:
    """(file, its tokens, whether they are the text's, all of which must be there)."""
    for name in ("vocab.json", "added_tokens.json"):
        if (file := folder / name).is_file():
            yield file, read_table(file), name == "vocab.json"
    if (file := folder / "tokenizer.json").is_file():
        content = read_table(file)
        model = content.get("model")
        if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
            raise ConfigError(f"{str(file)!r} has no model.vocab, as a tokenizer of Whisper's does")
        yield file, model["vocab"], True
        added = content.get("added_tokens") or []
        yield file, _named(file, added), False
    if (file := folder / "tokenizer_config.json").is_file():
        added = read_table(file).get("added_tokens_decoder") or {}
        if isinstance(added, dict):
            numbered = ({**each, "id": int(key)} for key, each in added.items() if key.isdecimal())
            yield file, _named(file, numbered), False


def _named(file: Path, entries: Iterable[Any]) -> Table:
    """Entries `{"content": …, "id": …}` as token → id."""
    try:
        return {str(entry["content"]): entry["id"] for entry in entries}
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{str(file)!r}: its added tokens must each have content and id") from error


def _special_tokens(generation: Table) -> Table:
    """The special tokens that generation_config.json names."""
    languages = generation.get("lang_to_id") or {}
    tasks = generation.get("task_to_id") or {}
    found: dict[str, Any] = dict(languages) if isinstance(languages, dict) else {}
    if isinstance(tasks, dict):
        found |= {f"<|{task}|>": token for task, token in tasks.items()}
    if (token := generation.get("no_timestamps_token_id")) is not None:
        found["<|notimestamps|>"] = token
    return found
