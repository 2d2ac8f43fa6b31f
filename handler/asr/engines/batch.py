"""One batch of windows through the model: features, encoder, language, search, words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from asr.engines.alignment import Aligner, AlignmentTask
from asr.engines.beam import BeamSearch
from asr.engines.checkpoint import Checkpoint, ModelDims
from asr.engines.decoder import Decoder
from asr.engines.device import Placement
from asr.engines.encoder import Encoder
from asr.engines.features import LogMel
from asr.engines.greedy import GreedySearch
from asr.engines.kv_cache import CrossCache
from asr.engines.language import Detection, detect_languages
from asr.engines.plan import Plan, plan_all
from asr.engines.search import Found, SearchSettings
from asr.engines.weights import decoder_weights, encoder_weights
from asr.schema import EngineSeconds, Hypothesis, TokenAlignment, Window
from asr.stitch import kept_text_tokens
from asr.tokens import Tokenizer, tokenizer_for

CUDA_CHECK_EVERY = 8  # steps between two looks at the finished flags: each look waits for the device


@dataclass(frozen=True, slots=True)
class BatchSettings:
    max_batch_size: int
    encoder_batch: int  # windows that go through features and encoder together
    deterministic: bool
    loop_guard: bool


class Model:
    """The loaded model. `decode` takes what fits into one forward pass and lets errors through."""

    def __init__(self, checkpoint: Checkpoint, placement: Placement, settings: BatchSettings) -> None:
        self.dims: ModelDims = checkpoint.dims
        self.tokenizer: Tokenizer = tokenizer_for(self.dims.multilingual, self.dims.num_languages)
        self._placement = placement
        self._settings = settings
        self._log_mel = LogMel(self.dims.n_mels, placement.device)
        self._encoder = Encoder(encoder_weights(checkpoint, placement), placement)
        self._decoder = Decoder(decoder_weights(checkpoint, placement), placement, self.dims.n_audio_ctx)
        self._aligner = Aligner(
            self._decoder, self.tokenizer, checkpoint.alignment_heads, self.dims.n_text_ctx
        )

    @torch.inference_mode()
    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """One hypothesis per window, in order; at most `max_batch_size` windows."""
        clock = _Clock(self._placement)
        cross = self._cross_cache(windows, clock)
        detections = self._detect(windows, cross)
        plans = plan_all(windows, detections, self.dims, self.tokenizer)
        found = self._search(windows, plans, cross)
        clock.lap("decode")
        alignments = self._align(windows, plans, found, cross)
        clock.lap("words")
        seconds = clock.shares(len(windows))
        return [
            replace(_hypothesis(*parts), seconds=seconds)
            for parts in zip(windows, plans, detections, found, alignments, strict=True)
        ]

    def _cross_cache(self, windows: Sequence[Window], clock: _Clock) -> CrossCache:
        """Keys and values of the audio, a few windows at a time."""
        cross = self._decoder.cross_cache(len(windows))
        size = self._settings.encoder_batch
        for first in range(0, len(windows), size):
            log_mel = self._log_mel(windows[first : first + size])
            clock.lap("features")
            self._decoder.fill_cross_cache(cross, self._encoder(log_mel), first)
            clock.lap("encode")
        return cross

    def _detect(self, windows: Sequence[Window], cross: CrossCache) -> list[Detection | None]:
        """The language of the windows that ask for it, None for the others."""
        asking = [
            slot
            for slot, window in enumerate(windows)
            if self.dims.multilingual
            and (window.options.language is None or window.options.task == "detect_language")
        ]
        groups = [[slot] for slot in asking] if self._settings.deterministic else [asking] if asking else []
        detections: list[Detection | None] = [None] * len(windows)
        for slots in groups:
            candidates = [windows[slot].options.languages for slot in slots]
            found = detect_languages(self._decoder, self.tokenizer, cross.select(slots), candidates)
            for slot, detection in zip(slots, found, strict=True):
                detections[slot] = detection
        return detections

    def _search(
        self, windows: Sequence[Window], plans: Sequence[Plan], cross: CrossCache
    ) -> list[Found | None]:
        """The best sequence of every window; None where only the language was asked for."""
        groups: dict[tuple[bool, int], list[int]] = {}
        for slot, window in enumerate(windows):
            if window.options.task != "detect_language":
                groups.setdefault(plans[slot].search_key, []).append(slot)
        found: list[Found | None] = [None] * len(windows)
        keep_cross = len(groups) > 1 or any(window.options.word_timestamps for window in windows)
        for (is_beam, _), slots in groups.items():
            part = cross.select(slots)
            # compaction overwrites what others still need
            part = part.copied() if keep_cross and part is cross else part
            kind = BeamSearch if is_beam else GreedySearch
            group_plans = [plans[slot] for slot in slots]
            search = kind(self._decoder, self.tokenizer, group_plans, part, self._search_settings(is_beam))
            for slot, result in zip(slots, search.run(), strict=True):
                found[slot] = result
        return found

    def _search_settings(self, is_beam: bool) -> SearchSettings:
        fixed = self._settings.deterministic
        return SearchSettings(
            check_every=CUDA_CHECK_EVERY if self._placement.is_cuda and not is_beam else 1,
            loop_guard=self._settings.loop_guard,
            fixed_windows=self._settings.max_batch_size if fixed else None,
            fixed_columns=self.dims.n_text_ctx + 1 if fixed else None,
        )

    def _align(
        self,
        windows: Sequence[Window],
        plans: Sequence[Plan],
        found: Sequence[Found | None],
        cross: CrossCache,
    ) -> list[TokenAlignment | None]:
        """Token times of the windows that ask for them, None for the others."""
        alignments: list[TokenAlignment | None] = [None] * len(windows)
        tasks: dict[int, AlignmentTask] = {}
        for slot, (window, its_plan, result) in enumerate(zip(windows, plans, found, strict=True)):
            if not window.options.word_timestamps or result is None:
                continue
            tokenizer = self.tokenizer
            text = kept_text_tokens(result.tokens, tokenizer.timestamp_begin, tokenizer.eot)
            sot = tokenizer.sot_sequence(its_plan.language, window.options.task)
            alignments[slot] = TokenAlignment((), (0,), ())
            if text:
                tasks[slot] = AlignmentTask(text, sot, window.num_frames)
        slots = list(tasks)
        groups = [[slot] for slot in slots] if self._settings.deterministic else [slots] if slots else []
        for group in groups:
            aligned = self._aligner([tasks[slot] for slot in group], cross.select(group))
            for slot, alignment in zip(group, aligned, strict=True):
                alignments[slot] = alignment
        return alignments


def _hypothesis(
    window: Window,
    its_plan: Plan,
    detection: Detection | None,
    found: Found | None,
    alignment: TokenAlignment | None,
) -> Hypothesis:
    if found is None:
        silence = detection.no_speech_prob if detection else 0.0
        found = Found((), 0.0, silence)
    probs = detection.probs if detection else ()
    if window.options.task == "detect_language" and not detection:
        probs = ((its_plan.language, 1.0),)  # an English-only model
    return Hypothesis(
        tokens=found.tokens,
        avg_logprob=found.avg_logprob,
        no_speech_prob=found.no_speech_prob,
        temperature=its_plan.temperature,
        language=its_plan.language,
        language_probs=probs,
        truncated=found.truncated,
        looped=found.looped,
        token_logprobs=found.token_logprobs if window.options.token_logprobs else (),
        alignment=alignment,
    )


class _Clock:
    """Seconds per stage; waits for the device before it reads the time."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._seconds = {"features": 0.0, "encode": 0.0, "decode": 0.0, "words": 0.0}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        if self._placement.is_cuda:
            torch.cuda.synchronize(self._placement.device)
        now = time.perf_counter()
        self._seconds[stage] += now - self._last
        self._last = now

    def shares(self, windows: int) -> EngineSeconds:
        return EngineSeconds(**{stage: spent / windows for stage, spent in self._seconds.items()})
