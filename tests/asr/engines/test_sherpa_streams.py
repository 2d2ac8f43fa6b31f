"""Streams of open turns are found again by the samples that they have heard."""

from __future__ import annotations

import numpy as np

from asr.engines.sherpa.heard_streams import HeardStreams

SOUND = np.random.default_rng(0).integers(-3000, 3000, 1_000).astype(np.int16)
OTHER = np.random.default_rng(1).integers(-3000, 3000, 1_000).astype(np.int16)


def test_the_stream_that_has_heard_most_of_the_beginning_goes_on() -> None:
    heard = HeardStreams()
    heard.keep("short", SOUND[:200], ())
    heard.keep("long", SOUND[:500], ())
    heard.keep("other", OTHER[:400], ())
    found = heard.take(SOUND, ())
    assert found is not None and (found.stream, found.num_samples) == ("long", 500)
    found = heard.take(SOUND, ())
    assert found is not None and found.stream == "short", "a stream goes on once"
    assert heard.take(SOUND, ()) is None


def test_a_stream_that_has_heard_more_or_expects_other_words_is_another_one() -> None:
    heard = HeardStreams()
    heard.keep("whole", SOUND, ("ek",))
    assert heard.take(SOUND[:999], ("ek",)) is None
    assert heard.take(SOUND, ()) is None and heard.take(SOUND, ("do",)) is None
    assert heard.take(SOUND, ("ek",)) is not None, "a window that is sent again hears nothing new"


def test_the_one_that_was_fed_longest_ago_is_forgotten() -> None:
    heard = HeardStreams(max_streams=2)
    for name, end in (("first", 100), ("second", 200), ("third", 300)):
        heard.keep(name, SOUND[:end], ())
    assert heard.take(SOUND[:150], ()) is None
    assert heard.take(SOUND[:250], ()) is not None
