"""Whatever files of a tokenizer a folder has, its tokens must be OpenAI's: others are named, not decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from tests.asr.engines.checkpoints.conftest import refused
from tests.asr.huggingface_folders import folder, words, write_json, write_tokenizer

FILES = ("vocab.json", "added_tokens.json", "tokenizer.json", "tokenizer_config.json")


def test_openais_tokens_are_taken_from_every_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", checkpoint)
    write_tokenizer(path, words(checkpoint), checkpoint.tokenizer.eot)
    assert load_checkpoint(str(path)).dims == checkpoint.dims


def test_names_that_older_folders_give_to_the_same_tokens(small: Checkpoint, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", small)
    older = {"<|nospeech|>": "<|nocaptions|>", "<|he|>": "<|iw|>"}
    tokens = [older.get(token, token) for token in words(small)]
    write_tokenizer(path, tokens, small.tokenizer.eot)
    assert load_checkpoint(str(path)).dims == small.dims


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("token", [1_234, 50_276])
def test_another_token_is_named_with_its_file(
    small: Checkpoint, tmp_path: Path, name: str, token: int
) -> None:
    """1,234 is text, 50,276 is Hindi's."""
    path = folder(tmp_path / "mine", small)
    tokens = words(small)
    openais, tokens[token] = tokens[token], "<|hinglish|>"
    write_tokenizer(path, tokens, small.tokenizer.eot)
    for other in set(FILES) - {name}:
        (path / other).unlink()
    is_here = (name != "vocab.json" or token == 1_234) and (
        name not in ("added_tokens.json", "tokenizer_config.json") or token == 50_276
    )
    if not is_here:
        assert load_checkpoint(str(path)).dims == small.dims
        return
    openais = openais.replace("|", r"\|")
    refused(
        path,
        rf"{name}' is not OpenAI's vocabulary: token {token} is '<\|hinglish\|>', OpenAI's is '{openais}'",
    )


@pytest.mark.parametrize("name", FILES[1:])
def test_an_added_token_is_named(small: Checkpoint, tmp_path: Path, name: str) -> None:
    path = folder(tmp_path / "mine", small)
    write_tokenizer(path, [*words(small), "<|pad|>"], small.tokenizer.eot)
    for other in set(FILES) - {name}:
        (path / other).unlink()
    refused(path, rf"{name}': token '<\|pad\|>' has id 51865, OpenAI's vocabulary has 51865 tokens")


def test_a_smaller_vocabulary_is_refused(small: Checkpoint, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", small)
    tokens = words(small)
    write_json(path / "vocab.json", {token: number for number, token in enumerate(tokens[:40_000])})
    refused(path, r"vocab\.json' lacks 10257 tokens of OpenAI's vocabulary, among them 40000, ")


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("lang_to_id", {"<|hi|>": 50_277}, r"token 50277 is '<\|hi\|>', OpenAI's is '<\|fi\|>'"),
        ("lang_to_id", {"<|hinglish|>": 51_865}, r"'<\|hinglish\|>' has id 51865"),
        ("task_to_id", {"transcribe": 50_358}, r"50358 is '<\|transcribe\|>', OpenAI's is '<\|translate\|>'"),
        ("no_timestamps_token_id", 50_364, r"token 50364 is '<\|notimestamps\|>', OpenAI's is '<\|0\.00\|>'"),
    ],
)  # fmt: skip
def test_special_tokens_of_the_generation_config_are_checked(
    small: Checkpoint, tmp_path: Path, key: str, value: object, match: str
) -> None:
    refused(folder(tmp_path / "mine", small, generation={key: value}), rf"generation_config\.json'.*{match}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", {"model": {"type": "Unigram", "vocab": [["a", -1.0]]}}),
        ("tokenizer.json", {"model": {"vocab": {}}, "added_tokens": ["<|pad|>"]}),
        ("vocab.json", ["a", "b"]),
        ("vocab.json", {"a": "0"}),
        ("added_tokens.json", {"<|pad|>": -1}),
        ("added_tokens.json", {"<|pad|>": True}),
    ],
)
def test_a_file_of_something_else_is_refused(
    small: Checkpoint, tmp_path: Path, name: str, content: object
) -> None:
    path = folder(tmp_path / "mine", small)
    write_json(path / name, content)
    refused(path, f"{name}'")
