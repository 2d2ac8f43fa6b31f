"""What is prepared for which options, and that sessions refuse what was prepared for others."""

from typing import Any

import numpy as np
import pytest

from asr.audio import media
from asr.audio.mel import log_mel_max
from asr.audio.prepare import prepare
from asr.audio.vad import speech_probs
from asr.config import Limits
from asr.engine import ModelSpec
from asr.errors import InvalidAudio
from asr.request.options import RequestOptions
from asr.sessions import open_session
from tests.asr.containers import tone, wav

SPEC = ModelSpec("any", multilingual=True, num_languages=99, n_mels=80, n_text_ctx=448)
BODY = wav(tone(3.0))
SEQUENTIAL, UNFILTERED, FILTERED = (
    RequestOptions(long_form="sequential"),
    RequestOptions(vad_filter=False),
    RequestOptions(),
)
KINDS = {"sequential": SEQUENTIAL, "filtered": FILTERED, "unfiltered": UNFILTERED}


def test_only_what_the_options_need_is_computed() -> None:
    found = {name: prepare(BODY, options, Limits()) for name, options in KINDS.items()}
    samples = media.decode(BODY, Limits()).samples
    for prepared in found.values():
        np.testing.assert_array_equal(prepared.audio.samples, samples)
    assert found["sequential"].speech_probs is None
    assert found["sequential"].log_mel_max == log_mel_max(samples, 80)
    np.testing.assert_array_equal(found["filtered"].speech_probs, speech_probs(samples))
    assert found["filtered"].log_mel_max is None
    assert (found["unfiltered"].speech_probs, found["unfiltered"].log_mel_max) == (None, None)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_the_loudest_value_is_the_models_filters(n_mels: int) -> None:
    prepared = prepare(BODY, SEQUENTIAL, Limits(), n_mels)
    assert prepared.log_mel_max == log_mel_max(prepared.audio.samples, n_mels)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_session_opens_on_it(options: RequestOptions) -> None:
    session: Any = open_session(prepare(BODY, options, Limits()), options, SPEC)
    assert session.transcript().duration == 48_000


def test_errors_of_the_media_pass_through() -> None:
    with pytest.raises(InvalidAudio, match="empty"):
        prepare(b"", FILTERED, Limits())


def test_what_was_prepared_for_other_options_is_refused() -> None:
    with pytest.raises(AssertionError):
        open_session(prepare(BODY, UNFILTERED, Limits()), FILTERED, SPEC)
