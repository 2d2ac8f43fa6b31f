"""One batch of windows through CTranslate2: features, encoder, language, search, words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.engine import OnFound
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.ctranslate2.conversion import ctranslate2
from asr.engines.ctranslate2.search import Features, SearchCall, call_of, search
from asr.engines.decoding.hypothesis import hypothesis_of
from asr.engines.decoding.loop_guard import is_loop
from asr.engines.decoding.plan import DecodePlan, plan_all
from asr.engines.features import LogMel
from asr.engines.results import TOP_LANGUAGES, Detection, SearchResult
from asr.schema import EngineSeconds, Hypothesis, TokenAlignment, Window
from asr.text.slicing import kept_text_tokens
from asr.text.tokenizer import Tokenizer

MIN_FRAMES = 2  # one audio position; CTranslate2 crashes on an alignment without any (its issue 2065)


@dataclass(frozen=True, slots=True)
class RunSettings:
    device: torch.device
    compute_type: str
    threads: int
    deterministic: bool
    loop_guard: bool


class CTranslate2Model:
    """A converted model. `decode` takes one batch and lets errors through."""

    def __init__(self, folder: Path, dims: ModelDims, tokenizer: Tokenizer, settings: RunSettings) -> None:
        self.dims = dims
        self.tokenizer = tokenizer
        self._settings = settings
        self._package = ctranslate2()
        self._model = self._package.models.Whisper(
            str(folder),
            device=settings.device.type,
            device_index=settings.device.index or 0,
            compute_type=settings.compute_type,
            intra_threads=settings.threads,
            inter_threads=1,
        )
        self._log_mel = LogMel(dims.n_mels, torch.device("cpu"))

    @property
    def compute_type(self) -> str:
        return str(self._model.compute_type)

    def decode(self, windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis]:
        """One hypothesis per window, in order; in deterministic mode one window at a time. The library tells
        nothing before all are done, so `on_found` is never called."""
        parts = [[window] for window in windows] if self._settings.deterministic else [windows]
        return [hypothesis for part in parts for hypothesis in self._decode(part)]

    @torch.inference_mode()
    def _decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        laps = [time.perf_counter()]
        log_mel = self._log_mel(windows).numpy()
        laps.append(time.perf_counter())
        encoded = self._model.encode(self._package.StorageView.from_array(log_mel), to_cpu=True)
        if encoded.dtype == self._package.DataType.bfloat16:  # which numpy lacks
            encoded = encoded.to(self._package.DataType.float32)
        features: Features = np.asarray(encoded)  # shares `encoded`'s memory, which must outlive it
        laps.append(time.perf_counter())
        detections = self._detect(windows, features)
        plans = plan_all(windows, detections, self.dims, self.tokenizer)
        found = self._search(windows, plans, features)
        laps.append(time.perf_counter())
        alignments = self._align(windows, plans, found, features)
        laps.append(time.perf_counter())
        spent = [(end - start) / len(windows) for start, end in pairwise(laps)]
        seconds = EngineSeconds(*spent)
        return [
            self._hypothesis(window, its_plan, detection, result, (alignment, seconds))
            for window, its_plan, detection, result, alignment in zip(
                windows, plans, detections, found, alignments, strict=True
            )
        ]

    def _detect(self, windows: Sequence[Window], features: Features) -> list[Detection | None]:
        """The language of the windows that ask for it, None for the others."""
        detections: list[Detection | None] = [None] * len(windows)
        slots = [
            slot
            for slot, window in enumerate(windows)
            if self.dims.multilingual
            and (window.options.language is None or window.options.task == "detect_language")
        ]
        if not slots:
            return detections
        storage = self._package.StorageView.from_array(np.ascontiguousarray(features[slots]))
        silences = self._no_speech(storage, [windows[slot].options.task for slot in slots])
        for slot, ranked, silence in zip(slots, self._model.detect_language(storage), silences, strict=True):
            allowed = windows[slot].options.languages or self.tokenizer.language_codes
            kept = [(name[2:-2], prob) for name, prob in ranked if name[2:-2] in allowed]
            total = sum(prob for _, prob in kept) or 1.0
            probs = tuple((code, prob / total) for code, prob in kept[:TOP_LANGUAGES])
            detections[slot] = Detection(kept[0][0], probs, silence)
        return detections

    def _no_speech(self, storage: Any, tasks: Sequence[str]) -> list[float]:
        """Probability of silence of windows that are not searched, for which nothing else tells it."""
        if "detect_language" not in tasks:
            return [0.0] * len(tasks)  # the search tells it
        prompts = [[self.tokenizer.sot]] * len(tasks)
        results = self._model.generate(
            storage, prompts, beam_size=1, max_length=2, return_no_speech_prob=True, suppress_tokens=[]
        )
        return [float(result.no_speech_prob) for result in results]

    def _search(
        self, windows: Sequence[Window], plans: Sequence[DecodePlan], features: Features
    ) -> list[SearchResult | None]:
        """The best sequence of every window; None where only the language was asked for."""
        calls: dict[SearchCall, list[int]] = {}
        for slot, window in enumerate(windows):
            if window.options.task != "detect_language":
                call = call_of(plans[slot], token_logprobs=window.options.token_logprobs)
                calls.setdefault(call, []).append(slot)
        found: list[SearchResult | None] = [None] * len(windows)
        for call, slots in calls.items():
            # all windows in one call, which is the rule: no copy
            part = features if len(slots) == len(windows) else features[slots]
            results = search(self._package, self._model, call, [plans[slot] for slot in slots], part)
            for slot, result in zip(slots, results, strict=True):
                found[slot] = result
        return found

    def _align(
        self,
        windows: Sequence[Window],
        plans: Sequence[DecodePlan],
        found: Sequence[SearchResult | None],
        features: Features,
    ) -> list[TokenAlignment | None]:
        """Token times of the windows that ask for them, None for the others."""
        alignments: list[TokenAlignment | None] = [None] * len(windows)
        texts: dict[int, tuple[int, ...]] = {}
        groups: dict[tuple[int, ...], list[int]] = {}
        for slot, (window, its_plan, result) in enumerate(zip(windows, plans, found, strict=True)):
            if not window.options.word_timestamps or result is None:
                continue
            alignments[slot] = TokenAlignment((), (0,), ())
            sot = self.tokenizer.sot_sequence(its_plan.language, window.options.task)
            text = kept_text_tokens(result.tokens, self.tokenizer.timestamp_begin, self.tokenizer.eot)
            if text:
                # without what the decoder has no position for
                texts[slot] = text[: self.dims.n_text_ctx - len(sot) - 2]
                groups.setdefault(sot, []).append(slot)
        for sot, slots in groups.items():
            storage = self._package.StorageView.from_array(np.ascontiguousarray(features[slots]))
            results = self._model.align(
                storage,
                list(sot),
                [list(texts[slot]) for slot in slots],
                [max(MIN_FRAMES, windows[slot].num_frames) for slot in slots],
            )
            for slot, result in zip(slots, results, strict=True):
                alignments[slot] = _token_alignment(texts[slot], result)
        return alignments

    def _hypothesis(
        self,
        window: Window,
        its_plan: DecodePlan,
        detection: Detection | None,
        found: SearchResult | None,
        extras: tuple[TokenAlignment | None, EngineSeconds],
    ) -> Hypothesis:
        limit = its_plan.loop_limit if self._settings.loop_guard and found and found.truncated else None
        looped = found is not None and limit is not None and is_loop(found.tokens, 0, self.tokenizer, limit)
        whole = hypothesis_of(window, its_plan, detection, found, extras[0])
        return replace(whole, looped=looped, truncated=whole.truncated and not looped, seconds=extras[1])


def _token_alignment(text: tuple[int, ...], result: Any) -> TokenAlignment:
    """starts: the first audio position of each text index on the path."""
    path = np.array(result.alignments)  # [steps, (text index, audio position)]
    is_jump = np.pad(np.diff(path[:, 0]), (1, 0), constant_values=1).astype(bool)
    return TokenAlignment(
        tokens=text,
        starts=tuple(int(position) for position in path[is_jump, 1]),
        probs=tuple(float(prob) for prob in result.text_token_probs),
    )
