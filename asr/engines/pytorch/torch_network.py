"""Encoder and decoder on torch, put together."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.decoding.kv_cache import CrossCache
from asr.engines.device import Placement
from asr.engines.pytorch.decoder import Decoder
from asr.engines.pytorch.encoder import Encoder
from asr.engines.pytorch.static_decoder import StaticDecoder
from asr.engines.pytorch.step_graphs import Bucket, Recorder
from asr.engines.pytorch.weights import decoder_weights, encoder_weights


class TorchNetwork:
    """A model's forward passes on torch; implements `asr.engines.decoding.network.Network`."""

    def __init__(self, checkpoint: Checkpoint, placement: Placement, record: Recorder | None) -> None:
        """`record`: of decode steps; None: every step is launched kernel by kernel."""
        weights = decoder_weights(checkpoint, placement)
        self._encoder = Encoder(encoder_weights(checkpoint, placement), placement)
        self.decoder = (
            Decoder(weights, placement)
            if record is None
            else StaticDecoder(weights, placement, checkpoint.dims.n_audio_ctx, record)
        )

    def cross_cache(self, windows: int, positions: int, *, is_kept: bool) -> CrossCache:
        """Room for keys and values of `windows`; `is_kept`: no search may overwrite it."""
        return self.decoder.cross_cache(windows, positions, is_kept=is_kept)

    def features(self, log_mel: Tensor) -> Tensor:
        """[windows, positions, state] of log_mel float32 [windows, n_mels, frames]."""
        return self._encoder(log_mel)

    def fill_cross_cache(self, cross: CrossCache, features: Tensor, first: int) -> None:
        """Keep keys and values of the features as windows `first` and on."""
        self.decoder.fill_cross_cache(cross, features, first)

    @torch.inference_mode()
    def record_steps(self, wanted: tuple[Bucket, ...]) -> None:
        """Record the decode steps that searches will replay, where the decoder is made for that."""
        if isinstance(self.decoder, StaticDecoder):
            self.decoder.record_steps(wanted)
