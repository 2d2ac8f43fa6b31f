"""Bytes of an upload → the audio and the facts that a session needs, without a model.

This part of a request meets hostile bytes: the worker runs it in threads, the gateway in separate processes.
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
    """A whole utterance, and the speech or the loudness found in it."""

    audio: Audio
    speech_probs: Probs | None = None  # per 512 samples; None if speech is not to be detected
    log_mel_max: float | None = None  # log10, over the whole utterance; sequential mode only


def prepare(
    body: Body, options: RequestOptions, limits: Limits, n_mels: int = DEFAULT_N_MELS
) -> PreparedAudio:
    """The upload decoded and analysed for these options; raises AsrError."""
    return prepared_from(media.decode(body, limits), options, n_mels)


def prepared_from(audio: Audio, options: RequestOptions, n_mels: int = DEFAULT_N_MELS) -> PreparedAudio:
    """Decoded audio with its loudest log-Mel value in sequential mode, else with its speech."""
    if options.long_form == "sequential":
        return PreparedAudio(audio, log_mel_max=log_mel_max(audio.samples, n_mels))
    if options.vad_filter:
        return PreparedAudio(audio, speech_probs=speech_probs(audio.samples))
    return PreparedAudio(audio)
