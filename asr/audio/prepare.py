"""Bytes of an upload → all that a session needs of them, and no model takes part.

It is the part of a request that meets hostile bytes: the handler runs it in its threads, the gateway in
processes of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from asr.audio import media
from asr.audio.mel import log_mel_max
from asr.audio.reader import Body
from asr.audio.vad import Probs, speech_probs
from asr.config import Limits
from asr.request.options import RequestOptions
from asr.schema import Audio

DEFAULT_N_MELS = 80  # every model but large-v3 and turbo


@dataclass(frozen=True, slots=True)
class PreparedAudio:
    """A whole utterance and what was found out about it."""

    audio: Audio
    speech_probs: Probs | None = None  # per 512 samples; None where no speech is to be detected
    log_mel_max: float | None = None  # log10, over the whole utterance; sequential mode only


def prepare(
    body: Body, options: RequestOptions, limits: Limits, n_mels: int = DEFAULT_N_MELS
) -> PreparedAudio:
    """The upload decoded and listened to, as the options need it; raises AsrError."""
    return prepared_from(media.decode(body, limits), options, n_mels)


def prepared_from(audio: Audio, options: RequestOptions, n_mels: int = DEFAULT_N_MELS) -> PreparedAudio:
    """Decoded audio listened to: for its loudest log-Mel value in sequential mode, else for speech."""
    if options.long_form == "sequential":
        return PreparedAudio(audio, log_mel_max=log_mel_max(audio.samples, n_mels))
    if options.vad_filter:
        return PreparedAudio(audio, speech_probs=speech_probs(audio.samples))
    return PreparedAudio(audio)
