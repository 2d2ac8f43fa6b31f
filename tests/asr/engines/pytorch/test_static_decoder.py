"""Steps over fixed memory, as CUDA graphs replay them, give the tokens of ordinary steps; here on the CPU."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
import torch

from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.device import Placement
from asr.engines.memory_plan import memory_plan
from asr.engines.pytorch.static_decoder import StaticDecoder
from asr.engines.pytorch.step_graphs import Bucket, Recorder, Step, buckets, step_recorder
from asr.engines.pytorch.torch_engine import TorchEngine
from asr.schema import Hypothesis, Window
from tests.asr.checkpoints import random_audio
from tests.asr.engines.conftest import Pair
from tests.asr.engines.processor import PRECISIONS
from tests.asr.engines.reference import window

pytestmark = pytest.mark.slow

CPU = Placement(torch.device("cpu"), torch.float32)
ROWS = 8


class Counting:
    """A recorder that notes the rows of every replay."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replays = 0

    def __call__(self, step: Step) -> Step:
        self.recorded += 1

        def replay() -> None:
            self.replays += 1
            step()

        return replay


def unrecorded(step: Step) -> Step:
    """The stand-in for a recorder: the step itself, on the same memory in the same shapes."""
    return step


def static_engine(pair: Pair, record: Recorder = unrecorded, **config: object) -> TorchEngine:
    """An engine on the CPU whose steps go through fixed memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.engines.pytorch.torch_engine.step_recorder", lambda policy, placement: record)
        engine = pair.engine_with(**({"max_batch_size": ROWS} | config))
    engine.record_steps()
    return engine


def assert_same(ours: Sequence[object], theirs: Sequence[object]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, Hypothesis), one
        assert isinstance(other, Hypothesis), other
        assert one.tokens == other.tokens
        assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-4)
        assert one.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-4)
        assert (one.language, one.truncated, one.alignment) == (
            other.language, other.truncated, other.alignment,
        )  # fmt: skip


def pieces(count: int, seed: int = 0, **options: object) -> list[Window]:
    """Windows that end at different lengths."""
    lengths = (24, 5, 17, 40, 2, 33, 9, 12)
    return [
        window(
            random_audio(1 + number % 3, seed + number),
            **({"language": "en", "max_tokens": lengths[number]} | options),
        )
        for number in range(count)
    ]


BATCHES = {
    "mixed lengths": lambda: pieces(8),
    "between buckets": lambda: pieces(5, 10),
    "alone": lambda: pieces(1, 20),
    "prompts": lambda: [
        window(random_audio(2, 30 + end), language="en", max_tokens=30, prompt=tuple(range(300, end)))
        for end in (300, 301, 340, 370, 523)
    ],
    "temperatures": lambda: [
        window(random_audio(2, 40 + number), language="en", max_tokens=20, temperature=number / 5)
        for number in range(6)
    ],
    "detection": lambda: pieces(3, 50, language=None),
    "words": lambda: pieces(3, 60, word_timestamps=True),
    "language only": lambda: [*pieces(1, 70, task="detect_language", language=None), *pieces(3, 71)],
    "several searches": lambda: [
        *pieces(2, 80, beam_size=2),
        *pieces(3, 82),
        *pieces(2, 85, temperature=0.6, best_of=2),
    ],
    "to the last position": lambda: pieces(2, 90, prompt=tuple(range(300, 523)), max_tokens=None),
}


@pytest.fixture(scope="module")
def static(multilingual: Pair) -> TorchEngine:
    return static_engine(multilingual)


@pytest.mark.parametrize("kind", BATCHES)
def test_tokens_are_those_of_ordinary_steps(multilingual: Pair, static: TorchEngine, kind: str) -> None:
    """One engine for all of them: what a batch leaves in the memory never reaches the next."""
    batch = BATCHES[kind]()
    assert_same(static.decode(batch), multilingual.engine.decode(batch))


def test_leftovers_never_show(multilingual: Pair) -> None:
    """Not even NaN in all of the memory, which a mask would let through."""
    engine = static_engine(multilingual)
    memory = engine.model._decoder._memory
    for batch in (pieces(8), pieces(3, 10), pieces(7, 20)):
        expected = multilingual.engine.decode(batch)
        for cache in (memory.cross.keys, memory.cross.values, memory.cache.keys, memory.cache.values):
            with torch.inference_mode():
                cache.fill_(torch.nan)
        assert_same(engine.decode(batch), expected)


def test_steps_take_the_smallest_bucket(multilingual: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows follow compaction, columns the prompt and the text; no step is an ordinary one."""
    record = Counting()
    engine = static_engine(multilingual, record)
    decoder = engine.model._decoder
    step, shapes = decoder.step, []

    def noted(tokens, positions, cross, cache, columns):
        shapes.append((len(tokens), columns))
        return step(tokens, positions, cross, cache, columns)

    monkeypatch.setattr(decoder, "step", noted)
    record.replays = 0
    prompted = window(random_audio(1, 9), language="en", prompt=tuple(range(300, 350)), max_tokens=60)
    engine.decode([*pieces(5), prompted])
    assert len(shapes) == record.replays
    assert {rows for rows, _ in shapes} <= {1, 2, 4, 8}
    assert (shapes[0], shapes[-1][0]) == ((8, 64), 1)
    assert {columns for _, columns in shapes} == {64, 128}


@pytest.mark.parametrize("options", [{"beam_size": 2}, {"temperature": 0.5, "best_of": 2}])
def test_other_searches_are_not(multilingual: Pair, options: dict[str, object]) -> None:
    record = Counting()
    engine = static_engine(multilingual, record)
    record.replays = 0
    assert all(isinstance(one, Hypothesis) for one in engine.decode(pieces(2, **options)))
    assert record.replays == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_deterministic_mode_has_one_shape(multilingual: Pair, precision: str) -> None:
    record = Counting()
    config = {"deterministic": True, "precision": precision}
    engine = static_engine(multilingual, record, **config)
    assert record.recorded == 1
    batch = pieces(5, 3)
    together = engine.decode(batch)
    assert record.replays >= len(batch)
    for one, alone in zip(together, (engine.decode([piece])[0] for piece in batch), strict=True):
        assert (one.tokens, one.avg_logprob) == (alone.tokens, alone.avg_logprob)
    assert_same(together, multilingual.engine_with(max_batch_size=ROWS, **config).decode(batch))


def broken(rows: int, failure: str) -> Recorder:
    """A recorder that fails for steps of this many rows."""

    def record(step: Step) -> Step:
        closure = dict(zip(step.__code__.co_freevars, step.__closure__ or (), strict=True))
        if closure["bucket"].cell_contents.rows != rows:
            return step
        if failure == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.\nGPU 0 has …")
        if failure == "capture":
            raise RuntimeError("operation not permitted when stream is capturing")
        if failure == "does nothing":
            return lambda: None
        memory = closure["memory"].cell_contents

        def other_numbers() -> None:
            step()
            memory.logits[0, 7] += 1

        return other_numbers

    return record


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("memory", "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB."),
        ("capture", "RuntimeError: operation not permitted when stream is capturing"),
        ("does nothing", "its logits differ by nan"),
        ("other numbers", "its logits differ by 1 where the largest is"),
    ],
)
def test_a_bucket_that_fails_is_decoded_the_ordinary_way(
    multilingual: Pair, caplog: pytest.LogCaptureFixture, failure: str, reason: str
) -> None:
    caplog.set_level("INFO")
    engine = static_engine(multilingual, broken(4, failure))
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert reason in warning
    assert re.findall(r"\d+x\d+", warning) == ["4x64", "4x128", "4x256", "4x448"]
    assert "12 decode steps recorded" in caplog.text
    for count in (8, 4, 3, 2):
        assert_same(engine.decode(pieces(count)), multilingual.engine.decode(pieces(count)))


def test_without_any_recorded_step_nothing_is_kept(
    multilingual: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(step: Step) -> Step:
        raise RuntimeError("no graphs here")

    engine = static_engine(multilingual, fail)
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.count("no graphs here") == 1
    assert engine.model._decoder._memory is None
    assert_same(engine.decode(pieces(3)), multilingual.engine.decode(pieces(3)))


def test_buckets() -> None:
    assert buckets(1, 448, is_fixed=False) == tuple(Bucket(1, columns) for columns in (64, 128, 256, 448))
    rows = {most: sorted({bucket.rows for bucket in buckets(most, 448, is_fixed=False)}) for most in (8, 12)}
    assert rows == {8: [1, 2, 4, 8], 12: [1, 2, 4, 8, 12]}
    assert buckets(12, 448, is_fixed=True) == (Bucket(12, 448),)
    assert buckets(1, 64, is_fixed=False) == (Bucket(1, 64),)


def test_who_records(multilingual: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert step_recorder("auto", CPU) is None
    assert not isinstance(multilingual.engine.model._decoder, StaticDecoder)
    monkeypatch.setattr("asr.engines.pytorch.step_graphs.CudaRecorder", lambda device: unrecorded)
    gpu = Placement(torch.device("cuda", 0), torch.float16)
    assert step_recorder("auto", gpu) is unrecorded
    assert step_recorder("never", gpu) is None
    # what is recorded during the warm-up is not without one
    engine = static_engine(multilingual, warm_up=False)
    assert not isinstance(engine.model._decoder, StaticDecoder)


def test_the_memory_is_counted(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dims = load_checkpoint(str(multilingual.path)).dims
    plain, recording = (memory_plan(dims, CPU, ROWS, 1, steps) for steps in (0, 16))
    # the caches stay while the encoder runs
    assert recording.per_batch >= recording.cross_cache + recording.self_cache + recording.encoder
    assert recording.total - plain.total <= recording.self_cache + recording.step_graphs
    assert "step_graphs 256 MiB" in str(recording)
    assert "step_graphs" not in str(plain)
    memory = static_engine(multilingual).model._decoder._memory
    assert sum(tensor.nbytes for tensor in (memory.cross.keys, memory.cross.values)) == plain.cross_cache
    # the plan has one half of it twice, as a cache that grows does for a moment
    assert sum(tensor.nbytes for tensor in (memory.cache.keys, memory.cache.values)) == (
        plain.self_cache * 2 // 3 * ROWS // plain.rows
    )
    monkeypatch.setattr("asr.engines.pytorch.torch_engine.available_bytes", lambda _: recording.total - 1)
    engine = static_engine(multilingual)
    assert not isinstance(engine.model._decoder, StaticDecoder)
    assert "no CUDA graphs: they need" in caplog.text


def test_warm_up_records(multilingual: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Counting()
    monkeypatch.setattr("asr.engines.pytorch.torch_engine.step_recorder", lambda policy, placement: record)
    engine = multilingual.engine_with(max_batch_size=2)
    assert record.recorded == 0
    engine.warm_up()
    assert record.recorded == 8
    assert record.replays > record.recorded  # the comparisons, then silence


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("config", [{}, {"deterministic": True}])
def test_cuda_graphs_equal_ordinary_steps(
    multilingual: Pair, caplog: pytest.LogCaptureFixture, kind: str, config: dict[str, object]
) -> None:
    settings = {"device": "cuda:0", "max_batch_size": ROWS} | config
    engine = multilingual.engine_with(**settings)
    engine.warm_up()
    assert "without CUDA graphs" not in caplog.text
    ordinary = multilingual.engine_with(cuda_graphs="never", **settings)
    for batch in (BATCHES["mixed lengths"](), BATCHES[kind]()):
        assert_same(engine.decode(batch), ordinary.decode(batch))
