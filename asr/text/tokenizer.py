"""Whisper's tokenizer without torch: text ↔ token ids, special tokens, languages, words.

The rules are openai-whisper's (whisper/tokenizer.py) and the tests prove equality with it; the vocabularies
in `assets/` are its files. Written anew because importing `whisper` imports torch, which the gateway lacks.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import tiktoken

from asr.languages import LANGUAGES, UNSPACED_LANGUAGES

ASSETS = Path(__file__).parents[1] / "assets"
NUM_TIMESTAMPS = 1501  # <|0.00|> … <|30.00|> in steps of 20 ms
SPLIT_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
REPLACEMENT = "\ufffd"
NON_SPEECH, TIMESTAMPS = -1, -2  # in a list of suppressed tokens: all tokens of this kind

# what openai-whisper's non_speech_tokens suppress: speaker tags, music, brackets
NON_SPEECH_SYMBOLS = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("'),
    *("((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
)
MUSIC_SYMBOLS = tuple("♩♪♫♬♭♮♯")  # several tokens each: their common first token is suppressed


class Tokenizer:
    """A vocabulary. Stateless, unlike openai-whisper's: language and task are arguments."""

    def __init__(
        self, multilingual: bool, num_languages: int, non_speech: tuple[int, ...] | None = None
    ) -> None:
        """non_speech: what a model suppresses in place of `non_speech_tokens`, None for OpenAI's."""
        self._own_non_speech = non_speech
        self.multilingual = multilingual
        self.num_languages = num_languages
        self.language_codes = tuple(LANGUAGES)[:num_languages]
        self._encoding = _encoding("multilingual" if multilingual else "gpt2", self.language_codes)
        self.n_vocab = self._encoding.n_vocab

        self.eot = self._special("endoftext")
        self.sot = self._special("startoftranscript")
        self.translate = self._special("translate")
        self.transcribe = self._special("transcribe")
        self.sot_lm = self._special("startoflm")
        self.sot_prev = self._special("startofprev")
        self.no_speech = self._special("nospeech")
        self.no_timestamps = self._special("notimestamps")
        self.timestamp_begin = self._special("0.00")

    def _special(self, name: str) -> int:
        return self._encoding.encode_single_token(f"<|{name}|>")

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; raises ValueError where it spells a special token, as openai-whisper does."""
        return self._encoding.encode(text)

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of `tokens` without timestamps; bytes that are not UTF-8 become U+FFFD."""
        return self._encoding.decode([token for token in tokens if token < self.timestamp_begin])

    def decode_with_timestamps(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`, timestamps written as `<|1.08|>`."""
        return self._encoding.decode(list(tokens))

    def token_bytes(self, token: int) -> bytes:
        """UTF-8 bytes of one text token, perhaps a part of a character; empty for special tokens."""
        return b"" if token >= self.eot else self._encoding.decode_single_token_bytes(token)

    def language_token(self, code: str) -> int:
        """Token id of a language code; raises KeyError when the model does not know it."""
        try:
            return self.sot + 1 + self.language_codes.index(code)
        except ValueError:
            raise KeyError(f"language {code!r} is not one of this model's {self.num_languages}") from None

    @cached_property
    def language_tokens(self) -> tuple[int, ...]:
        """Token ids of `language_codes`, in the same order."""
        return tuple(range(self.sot + 1, self.sot + 1 + len(self.language_codes)))

    def sot_sequence(self, language: str | None, task: str | None) -> tuple[int, ...]:
        """What starts a transcript: sot, language and task; sot alone for an English-only model.

        None means "en" and "transcribe", as in openai-whisper's get_tokenizer.
        """
        if not self.multilingual:
            return (self.sot,)
        task_token = self.translate if (task or "transcribe") != "transcribe" else self.transcribe
        return (self.sot, self.language_token(language or "en"), task_token)

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Token ids that spell no speech (♪♪♪, "(APPLAUSE)", "[DAVID]"), sorted."""
        if self._own_non_speech is not None:
            return self._own_non_speech
        # hyphens and single quotes are fine inside words, not at their beginning
        found = {self.encode(" -")[0], self.encode(" '")[0]}
        for symbol in (*NON_SPEECH_SYMBOLS, *MUSIC_SYMBOLS):
            for tokens in (self.encode(symbol), self.encode(" " + symbol)):
                if len(tokens) == 1 or symbol in MUSIC_SYMBOLS:
                    found.add(tokens[0])
        return tuple(sorted(found))

    def suppressed_tokens(self, suppress_tokens: Sequence[int]) -> tuple[int, ...]:
        """Ids that may never be sampled, sorted: -1 and -2 expanded, the task tokens added.

        As in openai-whisper, an empty option suppresses nothing at all. Callers cannot send -2.
        """
        if not suppress_tokens:
            return ()
        suppressed = {token for token in suppress_tokens if token >= 0}
        if NON_SPEECH in suppress_tokens:
            suppressed |= set(self.non_speech_tokens)
        if TIMESTAMPS in suppress_tokens:
            suppressed |= set(range(self.timestamp_begin, self.n_vocab))
        return tuple(sorted(suppressed | set(self.never_sampled)))

    @property
    def never_sampled(self) -> tuple[int, ...]:
        """Token ids that only ever stand in a prompt."""
        return (self.transcribe, self.translate, self.sot, self.sot_prev, self.sot_lm, self.no_speech)

    def split_to_word_tokens(
        self, tokens: Sequence[int], language: str | None
    ) -> tuple[list[str], list[list[int]]]:
        """(words, their token ids): at spaces, or at code points for languages written without them."""
        # openai-whisper's tokenizer of an English-only model has no language
        if self.multilingual and language in UNSPACED_LANGUAGES:
            return self._split_on_unicode(tokens)
        return self._split_on_spaces(tokens)

    def _split_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        full = self.decode_with_timestamps(tokens)
        words: list[str] = []
        word_tokens: list[list[int]] = []
        current: list[int] = []
        offset = 0
        for token in tokens:
            current.append(token)
            decoded = self.decode_with_timestamps(current)
            if REPLACEMENT in decoded:
                position = offset + decoded.index(REPLACEMENT)
                # unfinished, unless the text itself holds U+FFFD here; openai-whisper checks no bounds
                if position < len(full) and full[position] != REPLACEMENT:
                    continue
            words.append(decoded)
            word_tokens.append(current)
            current = []
            offset += len(decoded)
        return words, word_tokens

    def _split_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for subword, subword_tokens in zip(*self._split_on_unicode(tokens), strict=True):
            is_special = subword_tokens[0] >= self.eot
            is_punctuation = subword.strip() in string.punctuation
            if is_special or subword.startswith(" ") or is_punctuation or not words:
                words.append(subword)
                word_tokens.append(subword_tokens)
            else:
                words[-1] += subword
                word_tokens[-1].extend(subword_tokens)
        return words, word_tokens


@lru_cache(maxsize=8)
def tokenizer_for(
    multilingual: bool, num_languages: int, non_speech: tuple[int, ...] | None = None
) -> Tokenizer:
    """The tokenizer of a model; about 0.2 s the first time, then shared."""
    return Tokenizer(multilingual, num_languages, non_speech)


def _encoding(name: str, language_codes: Sequence[str]) -> tiktoken.Encoding:
    """tiktoken's encoding of a vocabulary file, followed by Whisper's special tokens in their order."""
    ranks = {}
    for line in (ASSETS / f"{name}.tiktoken").read_text().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    specials = (
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in language_codes),
        *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"),
        *("<|nospeech|>", "<|notimestamps|>"),
        *(f"<|{tick * 0.02:.2f}|>" for tick in range(NUM_TIMESTAMPS)),
    )
    return tiktoken.Encoding(
        name=name,
        explicit_n_vocab=len(ranks) + len(specials),
        pat_str=SPLIT_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={token: len(ranks) + i for i, token in enumerate(specials)},
    )
