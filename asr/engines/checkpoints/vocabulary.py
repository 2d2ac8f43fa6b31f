"""Whisper's vocabulary as other programs write it: one string per token id."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache

from asr.text.tokenizer import ASSETS, Tokenizer

# Names that the same token has in transformers' older vocabularies.
ALSO_CALLED = {"<|nospeech|>": "<|nocaptions|>", "<|he|>": "<|iw|>"}


def vocabulary(tokenizer: Tokenizer, n_vocab: int) -> list[str]:
    """One string per token id: bytes as GPT-2 writes them, special tokens by name."""
    return list(_spelled(tokenizer, n_vocab))


@lru_cache(maxsize=4)  # one for each vocabulary: spelling takes 0.2 s
def _spelled(tokenizer: Tokenizer, n_vocab: int) -> tuple[str, ...]:
    letters = _byte_letters()
    file = ASSETS / ("multilingual.tiktoken" if tokenizer.multilingual else "gpt2.tiktoken")
    lines = (line.split() for line in file.read_text().splitlines())
    ranked = sorted((int(rank), base64.b64decode(token)) for token, rank in lines)
    text = ["".join(letters[byte] for byte in token) for _, token in ranked]
    return (*text, *(tokenizer.decode_with_timestamps([token]) for token in range(len(text), n_vocab)))


def _byte_letters() -> Sequence[str]:
    """A printable letter for each byte (GPT-2's encoder.py, bytes_to_unicode)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]
