"""What is put behind <|startofprev|>: hotwords, the caller's prompt, the text so far."""

from __future__ import annotations

from asr.errors import InvalidOption
from asr.options import RequestOptions
from asr.tokens import Tokenizer


def initial_tokens(options: RequestOptions, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of the hotwords and the caller's prompt; empty if there are neither. Raises InvalidOption."""
    parts = [", ".join(options.hotwords), options.prompt or ""]
    text = " ".join(part.strip() for part in parts if part.strip())
    try:
        return tuple(tokenizer.encode(" " + text)) if text else ()
    except ValueError as error:
        name = "hotwords" if "<|" in parts[0] else "prompt"
        message = f"{name} spells one of the model's special tokens, such as <|endoftext|>: take it out"
        raise InvalidOption(message, param=name) from error


class RollingPrompt:
    """The previous text of one utterance, as upstream's `transcribe` keeps it.

    The caller's prompt is the beginning of the text; it scrolls out of sight like the rest, or stays in
    front of every window when it is carried.
    """

    def __init__(self, initial: tuple[int, ...], *, carry: bool, n_text_ctx: int) -> None:
        self._initial = initial
        self._carry = carry
        self._room = n_text_ctx // 2 - 1 - len(initial)
        self._tokens = list(initial)
        self._reset_at = 0

    def tokens(self) -> tuple[int, ...]:
        if not self._carry:
            return tuple(self._tokens[self._reset_at :])
        ignored = max(len(self._initial), self._reset_at)
        room = max(0, self._room)
        return self._initial + (tuple(self._tokens[ignored:][-room:]) if room else ())

    def extend(self, tokens: tuple[int, ...]) -> None:
        self._tokens.extend(tokens)

    def reset(self) -> None:
        """Forgets the text so far: it was uncertain, and would mislead what follows."""
        self._reset_at = len(self._tokens)
