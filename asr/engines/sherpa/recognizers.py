"""A recipe → sherpa-onnx's recognizer.

As a program it makes one from a recipe on its standard input and hears a second of noise: the library ends
the process on what it does not like, so that no `except` helps. This file imports nothing of this project,
which would bring torch along and take seconds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

SAMPLE_RATE = 16_000
# of silence behind the last sample: a streaming encoder hears ahead, and its last chunk must fill up
TAIL_SAMPLES = SAMPLE_RATE
HOTWORDS_SCORE = 1.5  # the library's own
# families that only search greedily → how the library makes them
GREEDY = {"nemo_ctc": "from_nemo_ctc", "paraformer": "from_paraformer", "moonshine": "from_moonshine"}
HEARS_SAMPLES = "moonshine"  # the others hear features


@dataclass(frozen=True)
class Recipe:
    """What a recognizer is made of."""

    kind: str  # of GREEDY, or "transducer", "nemo_transducer" or "streaming_transducer"
    files: dict[str, str]  # tokens, and the model's parts by the library's names
    threads: int
    feature_dim: int = 80
    search_paths: int = 0  # 0: greedy search
    bpe_vocab: str = ""  # by which hotwords are spelled
    ends_turns: bool = False

    @property
    def is_streaming(self) -> bool:
        return self.kind == "streaming_transducer"


def recognizer(recipe: Recipe) -> Any:
    """An OfflineRecognizer or an OnlineRecognizer; the library may end the process instead."""
    sherpa_onnx = import_module("sherpa_onnx")
    common = {**recipe.files, "num_threads": recipe.threads}
    if recipe.kind != HEARS_SAMPLES:
        common["feature_dim"] = recipe.feature_dim
    if recipe.kind in GREEDY:
        return getattr(sherpa_onnx.OfflineRecognizer, GREEDY[recipe.kind])(**common)
    if recipe.search_paths:
        common |= {"decoding_method": "modified_beam_search", "max_active_paths": recipe.search_paths}
    if recipe.bpe_vocab:
        spelling = {"modeling_unit": "bpe", "bpe_vocab": recipe.bpe_vocab}
        common |= {**spelling, "hotwords_score": HOTWORDS_SCORE}
    if recipe.is_streaming:
        common["enable_endpoint_detection"] = recipe.ends_turns
        return sherpa_onnx.OnlineRecognizer.from_transducer(**common)
    return sherpa_onnx.OfflineRecognizer.from_transducer(**common, model_type=recipe.kind)


def decode_online(online: Any, streams: Sequence[Any]) -> None:
    """Decodes what the streams have heard so far, side by side."""
    while ready := [stream for stream in streams if online.is_ready(stream)]:
        online.decode_streams(ready)


def _try_out(recipe: Recipe) -> None:
    made = recognizer(recipe)
    noise = [((7919 * n) % 2000 - 1000) / 32768 for n in range(SAMPLE_RATE)]
    streams = [made.create_stream(), made.create_stream()]
    for stream in streams:
        stream.accept_waveform(SAMPLE_RATE, noise)
    if recipe.is_streaming:
        decode_online(made, streams)
        made.get_result_all(streams[0])
    else:
        made.decode_streams(streams)
        print(streams[0].result.text, file=sys.stderr)


def to_json(recipe: Recipe) -> str:
    return json.dumps(dataclasses.asdict(recipe))


if __name__ == "__main__":
    _try_out(Recipe(**json.load(sys.stdin)))
