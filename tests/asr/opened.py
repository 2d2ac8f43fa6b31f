"""Sessions over samples alone, for tests that have no upload."""

from __future__ import annotations

from dataclasses import replace

from asr.audio.prepare import prepared_from
from asr.engine import ModelSpec
from asr.request.options import RequestOptions
from asr.schema import Audio, MediaSource, Samples
from asr.sessions import open_session
from asr.sessions.sequential import SequentialSession


def audio_of(samples: Samples) -> Audio:
    return Audio(samples, MediaSource("wav", "pcm_s16le", 16_000, 1))


def sequential(samples: Samples, options: RequestOptions, spec: ModelSpec) -> SequentialSession:
    """A sequential session, whatever mode the options name."""
    options = replace(options, long_form="sequential")
    session = open_session(prepared_from(audio_of(samples), options, spec.n_mels), options, spec)
    assert isinstance(session, SequentialSession)
    return session
