"""Windows encoded as less than 30 s: asked for where the engine offers it, and never the last word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr.audio.prepare import prepared_from
from asr.audio.windows import shortened
from asr.constants import WINDOW_FRAMES
from asr.request.options import RequestOptions
from asr.schema import Hypothesis, Window
from asr.sessions import FileSession, open_session
from asr.sessions.base import Tally
from asr.sessions.ladder import Climb, Verdict, decoding_options, judge
from asr.wire.messages import decode_window, encode_window
from tests.asr.opened import audio_of
from tests.asr.scripted import SPEC, TOKENIZER

OPTIONS = RequestOptions()
LOOP = " Thank you for watching." * 40


def window(num_frames: int, encoder_frames: int = WINDOW_FRAMES) -> Window:
    options = decoding_options(OPTIONS, "en", ())
    return Window(np.zeros(num_frames * 160, np.int16), num_frames, options, encoder_frames=encoder_frames)


def session_of_five_seconds(options: RequestOptions, short_windows: bool) -> FileSession:
    samples = np.random.default_rng(0).integers(-9_000, 9_000, 5 * 16_000).astype(np.int16)
    prepared = prepared_from(audio_of(samples), options, SPEC.n_mels)
    return open_session(prepared, options, replace(SPEC, short_windows=short_windows))


@pytest.mark.parametrize(
    ("num_frames", "encoder_frames"),
    [(1, 1_000), (600, 1_000), (601, 1_500), (1_100, 1_500), (1_101, 3_000), (3_000, 3_000)],
)
def test_the_encoder_hears_ten_seconds_at_least_and_four_of_silence(num_frames, encoder_frames) -> None:
    assert shortened(window(num_frames)).encoder_frames == encoder_frames


@pytest.mark.parametrize(("language", "encoder_frames"), [("en", 1_000), (None, 1_000), ("de", 3_000)])
def test_only_languages_that_keep_their_words_have_short_windows(language, encoder_frames) -> None:
    options = decoding_options(OPTIONS, language, ())
    assert shortened(replace(window(600), options=options)).encoder_frames == encoder_frames


@pytest.mark.parametrize(("language", "lengths"), [("en", [1_000]), ("de", [1_000, WINDOW_FRAMES])])
def test_a_clip_turns_out_to_be_in_a_language_that_needs_thirty_seconds(language, lengths) -> None:
    session = session_of_five_seconds(RequestOptions(vad_filter=False), short_windows=True)
    heard = []
    while offers := session.offers():
        [offer] = offers
        heard.append(offer.window.encoder_frames)
        probs = ((language, 0.9),)
        session.accept(offer, replace(hypothesis(" Hallo.", -0.1), language=language, language_probs=probs))
    assert session.done
    assert heard == lengths


@pytest.mark.parametrize("encoder_frames", [601, 598, 3_002])
def test_the_encoder_hears_the_whole_window_in_pairs_of_frames(encoder_frames: int) -> None:
    with pytest.raises(ValueError, match=r"encoder_frames is .*, must be even and 600\.\.3000"):
        window(600, encoder_frames)


def hypothesis(text: str, avg_logprob: float, **more: bool) -> Hypothesis:
    return Hypothesis(tuple(TOKENIZER.encode(text)), avg_logprob, 0.1, 0.0, "en", **more)


@pytest.mark.parametrize(
    "doubtful",
    [
        hypothesis(" mumbling", -1.2),
        hypothesis(LOOP, -0.1),
        hypothesis(" cut at the cap", -0.1, truncated=True),
        hypothesis(" again and", -0.1, looped=True),
        hypothesis(" I'm from the cutter lying off. I'm from the cutter lying off.", -0.1),
    ],
)
def test_a_doubtful_hypothesis_is_decoded_again_at_thirty_seconds_before_the_ladder(
    doubtful: Hypothesis,
) -> None:
    tally = Tally()
    again = judge(Climb(window(600, 1_000)), doubtful, OPTIONS, TOKENIZER, tally)
    assert isinstance(again, Climb)
    assert (again.window.encoder_frames, again.window.options.temperature) == (WINDOW_FRAMES, 0.0)
    assert (again.rung, again.failed) == (0, ())
    final = judge(again, hypothesis(" clear", -0.2), OPTIONS, TOKENIZER, tally)
    assert isinstance(final, Verdict)
    assert tally.stats().windows == 2


@pytest.mark.parametrize("text", [" clear", " No, no, no, no, no.", " It was the best, it was the worst."])
def test_a_good_hypothesis_is_taken_at_once(text: str) -> None:
    verdict = judge(Climb(window(600, 1_000)), hypothesis(text, -0.2), OPTIONS, TOKENIZER, Tally())
    assert isinstance(verdict, Verdict)


@pytest.mark.parametrize(("short_windows", "encoder_frames"), [(True, 1_000), (False, WINDOW_FRAMES)])
@pytest.mark.parametrize("long_form", ["parallel", "sequential"])
def test_sessions_follow_the_engine_and_sequential_stays_at_thirty_seconds(
    short_windows: bool, encoder_frames: int, long_form: str
) -> None:
    options = RequestOptions(long_form=long_form, vad_filter=False)
    [offer] = session_of_five_seconds(options, short_windows).offers()
    is_short = short_windows and long_form == "parallel"
    assert offer.window.encoder_frames == (encoder_frames if is_short else WINDOW_FRAMES)


def test_it_travels_where_it_is_asked_for() -> None:
    short, full = window(600, 1_000), window(600)
    assert decode_window(encode_window(short)).encoder_frames == 1_000
    assert b"encoder_frames" not in encode_window(full)
