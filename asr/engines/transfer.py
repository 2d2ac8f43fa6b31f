"""Tensors on their way from the host to the device, copied while the device computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class HostToDevice:
    """Copies through pinned memory on a stream of its own; on the CPU nothing is copied.

    Pinned memory is reused by torch's cache of it: a block is handed out again when the copies from it are
    done, so the next windows may be staged while the last ones are still on their way.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def is_pinned(self) -> bool:
        """Whether tensors to be sent have to be made in pinned memory."""
        return self._stream is not None

    def send(self, tensors: Sequence[Tensor]) -> Arrival:
        """Begin to copy; the host does not wait."""
        if self._stream is None:
            return Arrival(tensors, None)
        with torch.cuda.stream(self._stream):
            sent = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
            return Arrival(sent, self._stream.record_event())


class Arrival:
    """Tensors that are complete when the work queued so far on another stream is done."""

    def __init__(self, tensors: Sequence[Tensor], done: torch.cuda.Event | None) -> None:
        self._tensors = tensors
        self._done = done

    def tensors(self) -> Sequence[Tensor]:
        """The tensors, for use on the current stream, which waits for them; the host does not."""
        if self._done is not None:
            current = torch.cuda.current_stream(self._tensors[0].device)
            current.wait_event(self._done)
            for tensor in self._tensors:
                tensor.record_stream(current)  # the memory is not given to the next copy before it was read
        return self._tensors
