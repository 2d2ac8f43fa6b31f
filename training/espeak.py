"""Speech with word times from libespeak-ng, called in process."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from training.speech import Speech, SynthesisError, spans_from_starts

SYNCHRONOUS = 2
CHARS_UTF8 = 1
EVENT_LIST_END, EVENT_WORD = 0, 1
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Engine:
    """One libespeak-ng per process; the library keeps global state."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.sample_rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)
        if self.sample_rate <= 0:
            raise SynthesisError("libespeak-ng found no voice data")
        self.pieces: list[np.ndarray] = []
        self.words: list[tuple[int, int]] = []
        self.callback = CALLBACK(self._receive)
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples, count: int, events) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != EVENT_LIST_END:
            if events[index].type == EVENT_WORD:
                self.words.append((events[index].text_position, events[index].audio_position))
            index += 1
        return 0

    def speak(self, words: list[str], voice: str, rate: int, pitch: int) -> Speech:
        """Speech of `words` at the library's rate (22,050 Hz); rate in words a minute, pitch 0..100."""
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SynthesisError(f"espeak-ng has no voice {voice}")
        for parameter, value in ((RATE, rate), (PITCH, pitch)):
            self.library.espeak_SetParameter(parameter, value, 0)
        self.pieces, self.words = [], []
        text = " ".join(words) + "."
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, 1, 0, CHARS_UTF8, None, None)
        if not self.pieces:
            raise SynthesisError(f"espeak-ng said nothing for {text!r}")
        return self._speech(words)

    def _speech(self, words: list[str]) -> Speech:
        samples = np.concatenate(self.pieces).astype(np.float32) / 32768
        positions = np.cumsum([0] + [len(word) + 1 for word in words])
        starts: list[float | None] = [None] * len(words)
        for text_position, milliseconds in self.words:
            index = int(np.searchsorted(positions, text_position - 1, side="right")) - 1
            if index < len(words) and starts[index] is None:
                starts[index] = milliseconds / 1000
        return Speech(samples, self.sample_rate, spans_from_starts(words, starts, samples, self.sample_rate))


@cache
def engine() -> Engine:
    """The process's engine, started on first use."""
    return Engine()
