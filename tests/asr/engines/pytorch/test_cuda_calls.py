"""What is asked of torch.cuda, in which order, seen without a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from asr.engines.decoding.stage_clock import StageClock
from asr.engines.device import Placement
from asr.engines.features import HostToDevice
from asr.engines.pytorch.step_graphs import CudaRecorder

GPU = torch.device("cuda", 0)


class FakeCuda:
    """Notes the calls of a recording; `ends_badly`: the driver refuses the recording."""

    def __init__(self, *, ends_badly: bool = False) -> None:
        self.calls: list[str] = []
        self.current = "main"
        self._ends_badly = ends_badly

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(torch.cuda, "Stream", lambda device: FakeStream("side", self))
        patch.setattr(torch.cuda, "current_stream", lambda device: FakeStream(self.current, self))
        patch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
        patch.setattr(torch.cuda, "CUDAGraph", lambda: FakeGraph(self))
        patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        patch.setattr(torch.cuda, "stream", self.stream)
        patch.setattr(torch.cuda, "graph", self.graph)

    @contextlib.contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def graph(self, graph: object, pool: str, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        """As torch's: where ending the recording raises, the stream stays current."""
        self.calls.append(f"begin in {pool} on {stream.name}, {capture_error_mode}")
        self.current = stream.name
        yield
        if self._ends_badly:
            raise RuntimeError("capture failed")
        self.calls.append("end")


class FakeStream:
    def __init__(self, name: str, cuda: FakeCuda) -> None:
        self.name = name
        self._cuda = cuda

    def wait_stream(self, other: FakeStream) -> None:
        self._cuda.calls.append(f"{self.name} waits for {other.name}")


class FakeGraph:
    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda

    def replay(self) -> None:
        self._cuda.calls.append(f"replay on {self._cuda.current}")


def test_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm-up and recording on the side stream, which main waits for; replays on main."""
    cuda = FakeCuda()
    cuda.install(monkeypatch)
    replay = CudaRecorder(GPU)(lambda: cuda.calls.append(f"step on {cuda.current}"))
    replay()
    assert cuda.calls == [
        "side waits for main",
        "step on side",
        "step on side",
        "begin in pool on side, thread_local",
        "step on side",
        "end",
        "main waits for side",
        "replay on main",
    ]


def test_a_recording_that_fails_leaves_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(ends_badly=True)
    cuda.install(monkeypatch)
    with pytest.raises(RuntimeError, match="capture failed"):
        CudaRecorder(GPU)(lambda: None)
    assert cuda.current == "main"


class FakeEvent:
    """The n-th event happens after 10 n² milliseconds."""

    made: list[FakeEvent]

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.is_done = False
        self.made.append(self)
        self.ms = 10.0 * len(self.made) ** 2

    def record(self, stream: str) -> None:
        assert stream == "main"

    def synchronize(self) -> None:
        self.is_done = True

    def elapsed_time(self, end: FakeEvent) -> float:
        assert end.is_done
        return end.ms - self.ms


def test_the_clock_waits_at_the_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEvent, "made", [], raising=False)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "main")
    clock = StageClock(Placement(GPU, torch.float16))
    for stage in ("features", "encode", "features", "encode", "decode"):
        clock.lap(stage)
    assert not any(event.is_done for event in FakeEvent.made)
    seconds = clock.shares(2)
    assert seconds.features == pytest.approx((0.030 + 0.070) / 2)
    assert seconds.encode == pytest.approx((0.050 + 0.090) / 2)
    assert (seconds.decode, seconds.words) == (pytest.approx(0.110 / 2), 0.0)


def test_on_the_cpu_nothing_is_copied() -> None:
    to_device = HostToDevice(torch.device("cpu"))
    given = (torch.zeros(3), torch.ones(2))
    assert not to_device.is_pinned
    arrived = to_device.send(given).tensors()
    assert all(one is other for one, other in zip(arrived, given, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_transfers_arrive_whole() -> None:
    """Many copies in flight, each from pinned memory that the next ones may reuse."""
    to_device = HostToDevice(GPU)
    sums = []
    for number in range(50):
        [sent] = to_device.send([torch.full((1 << 20,), number, pin_memory=True)]).tensors()
        sums.append(sent.sum())
    assert [int(total) for total in sums] == [number << 20 for number in range(50)]
