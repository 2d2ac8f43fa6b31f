"""What is put behind <|startofprev|>: hotwords, the caller's prompt, the text so far."""

from __future__ import annotations

from asr.errors import InvalidOption
from asr.request.options import RequestOptions
from asr.text.tokenizer import Tokenizer


def hotword_tokens(options: RequestOptions, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of the hotwords; empty if there are none. Raises InvalidOption."""
    return _encoded(", ".join(options.hotwords), "hotwords", tokenizer)


def prompt_tokens(options: RequestOptions, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of the caller's prompt; empty if there is none. Raises InvalidOption."""
    return _encoded(options.prompt or "", "prompt", tokenizer)


def _encoded(text: str, name: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    if not text.strip():
        return ()
    try:
        return tuple(tokenizer.encode(" " + text.strip()))
    except ValueError as error:
        message = f"{name} spells one of the model's special tokens, such as <|endoftext|>: take it out"
        raise InvalidOption(message, param=name) from error


class RollingPrompt:
    """The previous text of one utterance, as openai-whisper's `transcribe` keeps it.

    carried: stays in front of every window; initial: the beginning of the text, which scrolls out of the
    prompt as the text grows.
    """

    def __init__(self, carried: tuple[int, ...], initial: tuple[int, ...], n_text_ctx: int) -> None:
        self._carried = carried
        self._room = max(0, n_text_ctx // 2 - 1 - len(carried))
        self._tokens = list(initial)
        self._reset_at = 0

    def tokens(self) -> tuple[int, ...]:
        recent = tuple(self._tokens[self._reset_at :])
        if not self._carried:
            return recent
        return self._carried + (recent[-self._room :] if self._room else ())

    def extend(self, tokens: tuple[int, ...]) -> None:
        self._tokens.extend(tokens)

    def reset(self) -> None:
        """Forgets the text so far: it is uncertain, and would mislead the next window."""
        self._reset_at = len(self._tokens)
