"""One batch of windows through the model: features, encoder, language, search, words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from asr.constants import FRAMES_PER_POSITION
from asr.engine import OnFound
from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.decoding.alignment import Aligner, AlignmentTask
from asr.engines.decoding.beam import BeamSearch
from asr.engines.decoding.greedy import GreedySearch
from asr.engines.decoding.heard import HeardAudio
from asr.engines.decoding.hypothesis import hypothesis_of
from asr.engines.decoding.kv_cache import CrossCache
from asr.engines.decoding.language import detect_languages
from asr.engines.decoding.network import Network
from asr.engines.decoding.plan import DecodePlan, plan_all, search_key
from asr.engines.decoding.search import SearchSettings
from asr.engines.decoding.stage_clock import StageClock
from asr.engines.device import Placement
from asr.engines.features import LogMel
from asr.engines.memory_plan import least_rows
from asr.engines.results import Detection, SearchResult
from asr.schema import Hypothesis, TokenAlignment, Window
from asr.text.slicing import kept_text_tokens
from asr.text.tokenizer import Tokenizer

CUDA_CHECK_EVERY = 8  # steps between two looks at the finished flags: each look waits for the device


@dataclass(frozen=True, slots=True)
class BatchSettings:
    max_batch_size: int
    encoder_batch: int  # windows that go through features and encoder together
    deterministic: bool
    loop_guard: bool
    compaction: bool = True


class Pipeline:
    """A loaded network. `decode` takes what fits into one forward pass and lets errors through."""

    def __init__(
        self, checkpoint: Checkpoint, network: Network, placement: Placement, settings: BatchSettings
    ) -> None:
        self.dims: ModelDims = checkpoint.dims
        self.tokenizer: Tokenizer = checkpoint.tokenizer
        self._placement = placement
        self._settings = settings
        self._log_mel = LogMel(self.dims.n_mels, placement.device)
        self._network = network
        self._heard = HeardAudio()
        self._decoder = network.decoder
        self._aligner = Aligner(
            self._decoder, self.tokenizer, checkpoint.alignment_heads, self.dims.n_text_ctx
        )

    @torch.inference_mode()
    def decode(self, windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis]:
        """One hypothesis per window, in order; at most `max_batch_size` windows. on_found: called for one
        without word times that is done while others go on."""
        clock = StageClock(self._placement)
        is_kept = _outlives_search(windows)
        cross = self._cross_cache(windows, clock, is_kept=is_kept)
        detections = self._detect(windows, cross)
        plans = plan_all(windows, detections, self.dims, self.tokenizer)

        def tell(slot: int, result: SearchResult) -> None:
            if windows[slot].options.word_timestamps:
                return  # its words are placed when all are done
            clock.lap("decode")
            hypothesis = hypothesis_of(windows[slot], plans[slot], detections[slot], result, None)
            on_found(slot, replace(hypothesis, seconds=clock.shares(len(windows))))

        found = self._search(windows, plans, cross, tell, is_kept=is_kept)
        clock.lap("decode")
        alignments = self._align(windows, plans, found, cross)
        clock.lap("words")
        seconds = clock.shares(len(windows))
        return [
            replace(hypothesis_of(*parts), seconds=seconds)
            for parts in zip(windows, plans, detections, found, alignments, strict=True)
        ]

    def _cross_cache(self, windows: Sequence[Window], clock: StageClock, *, is_kept: bool) -> CrossCache:
        """Keys and values of the audio."""
        features = self._features(windows, clock)
        positions = windows[0].encoder_frames // FRAMES_PER_POSITION
        cross = self._network.cross_cache(len(windows), positions, is_kept=is_kept)
        size = self._settings.encoder_batch
        for first in range(0, len(windows), size):
            self._network.fill_cross_cache(cross, torch.stack(features[first : first + size]), first)
        clock.lap("encode")
        return cross

    def _features(self, windows: Sequence[Window], clock: StageClock) -> list[Tensor]:
        """The encoder's output for each window, [positions, state]; those not heard lately go through it, a
        few at a time."""
        features = [self._heard.features(window) for window in windows]
        new = [slot for slot, known in enumerate(features) if known is None]
        size = self._settings.encoder_batch
        groups = [new[first : first + size] for first in range(0, len(new), size)]
        staged = [self._log_mel.stage([windows[slot] for slot in group]) for group in groups[:1]]
        for number, group in enumerate(groups, 1):
            log_mel = self._log_mel.of(staged.pop())
            clock.lap("features")
            for slot, row in zip(group, self._network.features(log_mel), strict=True):
                features[slot] = row
            clock.lap("encode")
            if number < len(groups):  # on CUDA the encoder has only been queued: this runs beside it
                staged.append(self._log_mel.stage([windows[slot] for slot in groups[number]]))
        heard = [each for each in features if each is not None]
        self._heard.keep(windows, heard)
        return heard

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
        self,
        windows: Sequence[Window],
        plans: Sequence[DecodePlan],
        cross: CrossCache,
        tell: Callable[[int, SearchResult], None],
        *,
        is_kept: bool,
    ) -> list[SearchResult | None]:
        """The best sequence of every window; None where only the language was asked for. `tell` gets those
        that are done while others go on."""
        groups: dict[tuple[bool, int], list[int]] = {}
        for slot, window in enumerate(windows):
            if window.options.task != "detect_language":
                groups.setdefault(search_key(window.options), []).append(slot)
        found: list[SearchResult | None] = [None] * len(windows)
        for (is_beam, group), slots in groups.items():
            settings = self._search_settings(is_beam, group)
            room = settings.fixed_windows or len(slots)
            part = self._decoder.cross_to_search(cross, slots, room, is_kept=is_kept)
            kind = BeamSearch if is_beam else GreedySearch
            search = kind(self._decoder, self.tokenizer, [plans[slot] for slot in slots], part, settings)
            results = search.run(partial(_tell_at, tell, slots))
            for slot, result in zip(slots, results, strict=True):
                found[slot] = result
        return found

    def _search_settings(self, is_beam: bool, group: int) -> SearchSettings:
        fixed = self._settings.deterministic
        size = self._settings.max_batch_size
        return SearchSettings(
            check_every=CUDA_CHECK_EVERY if self._placement.is_cuda and not is_beam else 1,
            loop_guard=self._settings.loop_guard,
            compaction=self._settings.compaction,
            fixed_windows=min(size, max(1, least_rows(size) // group)) if fixed else None,
            fixed_columns=self.dims.n_text_ctx if fixed else None,
        )

    def _align(
        self,
        windows: Sequence[Window],
        plans: Sequence[DecodePlan],
        found: Sequence[SearchResult | None],
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


def _tell_at(
    tell: Callable[[int, SearchResult], None], slots: Sequence[int], place: int, result: SearchResult
) -> None:
    tell(slots[place], result)


def _outlives_search(windows: Sequence[Window]) -> bool:
    """Whether the audio's keys and values are read again after a search, which overwrites its own."""
    options = [window.options for window in windows]
    searches = {search_key(each) for each in options if each.task != "detect_language"}
    return len(searches) > 1 or any(each.word_timestamps for each in options)
