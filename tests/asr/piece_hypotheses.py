"""Hypotheses of a family beside Whisper, made up: a word for each part of a second that a window holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from asr.constants import FRAMES_PER_SECOND
from asr.engine import ModelSpec
from asr.schema import Hypothesis, Piece, Window

WORDS = ("ek", "do", "tin", "char", "panch")
CTC = ModelSpec(
    "conformer",
    multilingual=True,
    num_languages=0,
    n_mels=80,
    n_text_ctx=0,
    family="ctc",
    has_word_times=True,
)
HINDI = replace(CTC, name="hindi", languages=("hi",))
STREAMING = replace(CTC, name="live", family="transducer", hears_streams=True)
WORDS_PER_S = 3


def of_pieces(pieces: Sequence[Piece], *, is_endpoint: bool = False) -> Hypothesis:
    return Hypothesis((), math.nan, math.nan, 0.0, "", pieces=tuple(pieces), is_endpoint=is_endpoint)


def spoken(window: Window) -> Hypothesis:
    """Words spoken at a steady pace from the window's start, the same for every longer window."""
    count = window.num_frames * WORDS_PER_S // FRAMES_PER_SECOND
    return of_pieces([Piece(f" {WORDS[n % len(WORDS)]}", n * 1000 // WORDS_PER_S) for n in range(count)])
