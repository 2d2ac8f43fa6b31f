"""Speech with word times from libflite, called in process."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from training.speech import Speech, SynthesisError

LIBRARIES = ("flite", "flite_cmulex", "flite_usenglish")
START = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"
END = b"R:SylStructure.daughtern.daughtern.end"


class Wave(ctypes.Structure):
    """cst_wave of flite's cst_wave.h."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class Voice(ctypes.Structure):
    """The head of cst_voice."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class Engine:
    """libflite with the voices that were asked for so far."""

    def __init__(self) -> None:
        loaded = [ctypes.CDLL(f"lib{name}.so.1", mode=ctypes.RTLD_GLOBAL) for name in LIBRARIES]
        self.library = loaded[0]
        self.library.flite_init()
        pointers = ("flite_synth_text", "utt_wave", "utt_relation", "relation_head", "item_next")
        for name in pointers:
            getattr(self.library, name).restype = ctypes.c_void_p
        self.library.ffeature_float.restype = ctypes.c_float
        self.library.ffeature_string.restype = ctypes.c_char_p
        self.voices: dict[str, int] = {}

    def voice(self, name: str) -> int:
        """Address of the voice, loaded on first use."""
        if name not in self.voices:
            library = ctypes.CDLL(f"libflite_cmu_us_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
            register = getattr(library, f"register_cmu_us_{name}")
            register.restype = ctypes.c_void_p
            self.voices[name] = register(None)
        return self.voices[name]

    def speak(self, words: list[str], voice: str, stretch: float) -> Speech:
        """Speech of `words` at the voice's rate; `stretch` times as slow as the voice's own tempo."""
        address = self.voice(voice)
        features = ctypes.cast(address, ctypes.POINTER(Voice)).contents.features
        self.library.flite_feat_set_float(
            ctypes.c_void_p(features), b"duration_stretch", ctypes.c_float(stretch)
        )
        text = (" ".join(words) + ".").encode()
        utterance = ctypes.c_void_p(self.library.flite_synth_text(text, ctypes.c_void_p(address)))
        try:
            return self._speech(utterance, words)
        finally:
            self.library.delete_utterance(utterance)

    def _speech(self, utterance: ctypes.c_void_p, words: list[str]) -> Speech:
        wave = ctypes.cast(self.library.utt_wave(utterance), ctypes.POINTER(Wave)).contents
        samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(np.float32) / 32768
        relation = ctypes.c_void_p(self.library.utt_relation(utterance, b"Word"))
        item, spans = self.library.relation_head(relation), []
        while item:
            pointer = ctypes.c_void_p(item)
            name = self.library.ffeature_string(pointer, b"name").decode()
            start, end = (self.library.ffeature_float(pointer, path) for path in (START, END))
            spans.append((name, start, end))
            item = self.library.item_next(pointer)
        if [name for name, _, _ in spans] != words:
            raise SynthesisError(f"flite said {[name for name, _, _ in spans]} for {words}")
        return Speech(samples, wave.sample_rate, tuple(spans))


@cache
def engine() -> Engine:
    """The process's engine, started on first use."""
    return Engine()
