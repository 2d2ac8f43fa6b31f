"""A window that is decoded again is not encoded again, and its text is what it would be anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr.config import EngineConfig
from asr.engines import load_engine
from asr.engines.decoding.heard import MOST, HeardAudio
from asr.schema import EngineSeconds, Hypothesis, Window
from tests.asr.checkpoints import random_audio
from tests.asr.engines.conftest import Pair
from tests.asr.engines.reference import window


def heard(windows: Sequence[Window]) -> tuple[HeardAudio, list[torch.Tensor]]:
    audio, features = HeardAudio(), [torch.full((2, 3), float(number)) for number in range(len(windows))]
    audio.keep(windows, features)
    return audio, features


def test_what_counts_is_the_audio() -> None:
    piece = window(random_audio(3, 1), language="en")
    audio, [features] = heard([piece])
    hotter = replace(piece.options, temperature=0.4, language="de")
    assert audio.features(replace(piece, options=hotter)) is features
    samples = piece.samples.copy()
    samples[1] += 1
    assert audio.features(replace(piece, samples=samples)) is None
    assert audio.features(replace(piece, log_mel_max=0.5)) is None
    assert audio.features(replace(piece, encoder_frames=1_000)) is None


def test_the_last_windows_are_remembered_without_the_file_that_they_are_part_of() -> None:
    whole = np.concatenate([random_audio(1, number) for number in range(MOST + 1)])
    pieces = [window(part, language="en") for part in np.split(whole, MOST + 1)]
    audio, features = heard(pieces)
    whole[:] = 0
    again = [window(random_audio(1, number), language="en") for number in range(MOST + 1)]
    assert [audio.features(piece) for piece in again] == [None, *features[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_a_rung_encodes_nothing_and_decodes_the_same(multilingual: Pair, backend: str) -> None:
    settings = {"device": "cpu", "precision": "float32", "threads": 1, "warm_up": False}
    engine = load_engine(EngineConfig(str(multilingual.path), backend=backend, **settings))
    first, other = (window(random_audio(4, seed), language="en", max_tokens=12) for seed in (1, 2))
    hotter = replace(first, options=replace(first.options, temperature=0.4))
    [fresh] = engine.decode([hotter])
    engine.decode([window(random_audio(1, 9 + number), max_tokens=1) for number in range(MOST)])
    _, again = (engine.decode([piece])[0] for piece in (first, hotter))
    beside = engine.decode([other, hotter])[1]
    results = [each for each in (fresh, again, beside) if isinstance(each, Hypothesis)]
    assert [bool(each.seconds.features) for each in results] == [True, False, True]
    plain = [replace(each, seconds=EngineSeconds()) for each in results]
    assert plain[0] == plain[1]
    assert plain[0].tokens == plain[2].tokens
