"""ONNX Runtime under the same decoding: tokens, times and silence are those of openai-whisper."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asr.config import ConfigError, EngineConfig
from asr.engines import load_engine
from asr.engines.base import BaseEngine
from asr.engines.ort import sessions
from asr.engines.ort.ort_engine import OrtEngine
from asr.schema import EngineSeconds, Hypothesis
from tests.asr.checkpoints import random_audio
from tests.asr.engines import reference
from tests.asr.engines.conftest import Pair
from tests.asr.engines.decoding.test_alignment import OPTIONS, assert_aligned
from tests.asr.engines.decoding.test_search_parity import CASES
from tests.asr.engines.reference import assert_equal, window

pytestmark = pytest.mark.slow


def ort_engine(path: Path, **config: object) -> BaseEngine:
    settings = {
        "backend": "onnxruntime",
        "device": "cpu",
        "threads": 1,
        "loop_guard": False,
        "warm_up": False,
    }
    return load_engine(EngineConfig(model=str(path), **(settings | config)))


@pytest.fixture(scope="module")
def ort(multilingual: Pair) -> BaseEngine:
    return ort_engine(multilingual.path)


def test_every_kind_of_window_in_one_batch(multilingual: Pair, ort: BaseEngine) -> None:
    pieces = [
        window(random_audio(2 + number, number), language="en", **options)
        for number, options in enumerate(CASES.values())
    ]
    for ours, piece in zip(ort.decode(pieces), pieces, strict=True):
        assert_equal(ours, reference.decode(multilingual.reference, piece))


@pytest.mark.parametrize("case", ["greedy", "long prompt", "beam"])
def test_alone(multilingual: Pair, ort: BaseEngine, case: str) -> None:
    piece = window(random_audio(4.37, 2), language="en", **CASES[case])
    [ours] = ort.decode([piece])
    assert_equal(ours, reference.decode(multilingual.reference, piece))


def test_samples_are_torchs(multilingual: Pair, ort: BaseEngine) -> None:
    """The same dice over the same logits."""
    pieces = [
        window(random_audio(3, seed), language="en", temperature=0.6, best_of=2, max_tokens=20)
        for seed in range(3)
    ]
    theirs = multilingual.engine.decode(pieces)
    for ours, other in zip(ort.decode(pieces), theirs, strict=True):
        assert isinstance(ours, Hypothesis) and isinstance(other, Hypothesis)
        assert ours.tokens == other.tokens


def test_languages_are_torchs(multilingual: Pair, ort: BaseEngine) -> None:
    pieces = [window(random_audio(3, seed), max_tokens=3) for seed in range(3)]
    theirs = multilingual.engine.decode(pieces)
    for ours, other in zip(ort.decode(pieces), theirs, strict=True):
        assert isinstance(ours, Hypothesis) and isinstance(other, Hypothesis)
        assert [code for code, _ in ours.language_probs] == [code for code, _ in other.language_probs]
        assert [prob for _, prob in ours.language_probs] == pytest.approx(
            [prob for _, prob in other.language_probs], abs=1e-5
        )


def test_words_are_where_openai_whisper_puts_them(multilingual: Pair, ort: BaseEngine) -> None:
    pieces = [
        window(random_audio(4 + 6 * number, 40 + number), word_timestamps=True, **options)
        for number, options in enumerate(OPTIONS)
    ]
    for ours, piece in zip(ort.decode(pieces), pieces, strict=True):
        assert_aligned(multilingual, ours, piece)


@pytest.mark.parametrize(
    "sizes", [{"state": 72, "layers": 3, "heads": 3}, {"n_mels": 128, "n_vocab": 51_866}]
)
def test_other_sizes(make_pair, sizes: dict[str, int]) -> None:
    pair = make_pair(seed=4, **sizes)
    pieces = [window(random_audio(9, seed), language="en", prompt=(seed,)) for seed in range(3)]
    for ours, piece in zip(ort_engine(pair.path).decode(pieces), pieces, strict=True):
        assert_equal(ours, reference.decode(pair.reference, piece))


def test_an_english_only_model(english_only: Pair) -> None:
    piece = window(random_audio(12, 1), language="en")
    [ours] = ort_engine(english_only.path).decode([piece])
    assert_equal(ours, reference.decode(english_only.reference, piece))


def test_neighbours_change_nothing_in_deterministic_mode(multilingual: Pair) -> None:
    engine = ort_engine(multilingual.path, deterministic=True, max_batch_size=4)
    piece = window(random_audio(4.4, 2), language="en", word_timestamps=True, max_tokens=20)
    neighbours = [window(random_audio(seed + 1, seed), language="hi", max_tokens=9) for seed in range(3)]
    [alone] = engine.decode([piece])
    together = engine.decode([neighbours[0], piece, *neighbours[1:]])[1]
    assert isinstance(alone, Hypothesis) and isinstance(together, Hypothesis)
    assert replace(together, seconds=EngineSeconds()) == replace(alone, seconds=EngineSeconds())


def test_weights_in_eight_bits_are_near(multilingual: Pair, ort: BaseEngine) -> None:
    """Rounding the weights moves a probability of 2e-9 by a tenth; a wrong scale would move it anywhere."""
    piece = window(random_audio(5, 3), language="en", max_tokens=1)
    [exact] = ort.decode([piece])
    [near] = ort_engine(multilingual.path, compute_type="weights_int8").decode([piece])
    assert isinstance(exact, Hypothesis) and isinstance(near, Hypothesis)
    assert near.no_speech_prob == pytest.approx(exact.no_speech_prob, rel=0.3)
    assert near.no_speech_prob != exact.no_speech_prob


def test_the_graphs_are_written_once(multilingual: Pair, ort: BaseEngine) -> None:
    [folder] = [entry for entry in (multilingual.path.parent / ".onnxruntime").iterdir() if entry.is_dir()]
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    ort_engine(multilingual.path)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    assert all(os.stat(file).st_mode & 0o044 == 0o044 for file in folder.iterdir())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"compute_type": "int8"}, "its dynamic int8 loses half of the words"),
        ({"precision": "bfloat16"}, "computes in float32"),
        ({"provider": "openvino"}, "onnxruntime-openvino"),
        ({"backend": "torch", "provider": "cpu"}, "which only backend"),
    ],
)
def test_what_it_cannot_do_is_said(config: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OrtEngine(EngineConfig(model="x.pt", **({"backend": "onnxruntime"} | config)))


def test_memory_that_runs_out_halves_the_batch(multilingual: Pair) -> None:
    """A limit on the address space, in a process of its own: torch's allocations fail, or ONNX Runtime's."""
    script = f"""
import resource
from asr.config import EngineConfig
from asr.engines import load_engine
from tests.asr.checkpoints import random_audio
from tests.asr.engines.reference import window
engine = load_engine(EngineConfig({str(multilingual.path)!r}, device="cpu", backend="onnxruntime", threads=1))
pieces = [window(random_audio(30, seed), language="en", max_tokens=5) for seed in range(16)]
expected = [outcome.tokens for outcome in engine.decode(pieces[:4])]
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (20 << 20), -1))
outcomes = engine.decode(pieces)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert [outcome.tokens for outcome in outcomes[:4]] == expected
print("halved", engine.oom_count)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert int(done.stdout.split()[-1]) > 0


@pytest.mark.parametrize(("spinning", "spins"), [("auto", "1"), ("never", "0")])
def test_only_the_decoders_threads_spin_and_not_where_they_must_not(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch, spinning: str, spins: str
) -> None:
    real, asked = sessions.opened, {}

    def recorded(graph: Path, provider: str, threads: int, *, spins: bool) -> object:
        session = real(graph, provider, threads, spins=spins)
        key = "session.intra_op.allow_spinning"
        asked[graph.stem] = session.get_session_options().get_session_config_entry(key)
        return session

    monkeypatch.setattr("asr.engines.ort.ort_engine.opened", recorded)
    ort_engine(multilingual.path, spinning=spinning)
    assert asked == {"encoder": "0", "crossing": "0", "decoder": spins}
