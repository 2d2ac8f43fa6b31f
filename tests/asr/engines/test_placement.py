"""Device, precision, threads and memory arithmetic."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

from asr.config import ConfigError, EngineConfig
from asr.engines import device
from asr.engines import memory_plan as planning
from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.device import Placement, cpu_threads, encoder_batch, placement
from asr.engines.loading import load_engine
from asr.engines.memory_plan import check_fits, memory_plan, most_rows
from asr.schema import Hypothesis
from tests.asr import checkpoints
from tests.asr.checkpoints import random_audio
from tests.asr.engines.processor import needs_bfloat16
from tests.asr.engines.reference import window


def config(**values):
    return EngineConfig(model="m.pt", **values)


@pytest.mark.parametrize(
    ("has_amx", "has_vectors", "dtype"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
        (False, False, torch.float32),
    ],
)
def test_auto_precision_on_the_cpu(monkeypatch, has_amx, has_vectors, dtype):
    monkeypatch.setattr(device, "cpu_multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_vectors)
    assert placement(config(device="cpu"), None) == Placement(torch.device("cpu"), dtype)
    assert placement(config(device="cpu", precision="float32"), None).dtype == torch.float32


def test_what_multiplies_bfloat16_is_what_the_kernel_reports():
    try:
        with open("/proc/cpuinfo") as file:
            flags = file.read()
    except OSError:
        pytest.skip("no /proc/cpuinfo")
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("ONEDNN_MAX_CPU_ISA holds this processor down")
    assert device.cpu_has_amx() == ("amx_tile" in flags)
    assert device.cpu_has_bfloat16() == ("amx_tile" in flags or "avx512_bf16" in flags)


def test_bfloat16_is_refused_where_it_is_ten_times_slower(monkeypatch):
    monkeypatch.setattr(device, "cpu_multiplies_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match=r"engine.precision is 'bfloat16', .*: use float32 or auto"):
        placement(config(device="cpu", precision="bfloat16"), None)
    assert placement(config(device="cpu"), None).dtype == torch.float32
    assert not (device.cpu_has_amx() or device.cpu_has_bfloat16())


def test_a_processor_held_down_to_avx2_has_no_bfloat16():
    program = "from asr.engines.device import cpu_has_bfloat16 as has; print(has())"
    environ = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr


def test_no_gpu_without_its_number(monkeypatch):
    for gpu_id in (None, -1):
        assert placement(config(), gpu_id).device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert placement(config(), 1) == Placement(torch.device("cuda", 1), torch.float16)
    assert placement(config(device="cuda:0", precision="bfloat16"), None).residual_dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"device": "tpu"}, "must be auto, cpu or cuda"),
        ({"device": "meta"}, "must be auto, cpu or cuda"),
        ({"device": "cuda:99"}, "this machine has"),
        ({"device": "cpu", "precision": "float16"}, "CPUs lack"),
    ],
)
def test_what_this_machine_lacks(values, match):
    with pytest.raises(ConfigError, match=match):
        placement(config(**values), None)


def test_threads(monkeypatch):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(device, "_cgroup_cores", lambda: 1_000_000)
    assert cpu_threads(config()) == 8
    assert cpu_threads(config(workers=3)) == 2
    assert cpu_threads(config(workers=99)) == 1
    assert cpu_threads(config(threads=5, workers=2)) == 5
    monkeypatch.setattr(device, "_cgroup_cores", lambda: 3)
    assert cpu_threads(config()) == 3


@pytest.mark.parametrize(
    ("content", "cores"), [("max 100000", 1_000_000), ("250000 100000", 2), ("1 100", 1)]
)
def test_container_quota(tmp_path, content, cores):
    path = tmp_path / "cpu.max"
    path.write_text(content)
    assert device._cgroup_cores(str(path)) == cores
    assert device._cgroup_cores(str(tmp_path / "none")) == 1_000_000


def test_memory_of_the_weights(multilingual):
    checkpoint = load_checkpoint(str(multilingual.path))
    floats = sum(tensor.numel() for tensor in checkpoint.state.values())
    cpu = torch.device("cpu")
    plan = memory_plan(checkpoint.dims, Placement(cpu, torch.float32), 16)
    assert plan.weights == 4 * (floats + 51_865 * 64)  # the embedding twice
    assert plan.cross_cache == 2 * 2 * 16 * 1500 * 64 * 4  # keys, values; layers; windows
    double = memory_plan(checkpoint.dims, Placement(cpu, torch.float32), 32)
    assert double.per_batch == 2 * plan.per_batch
    assert re.fullmatch(r"\d+ MiB for batches of 16 \(weights \d+, .*logits \d+ MiB\)", str(plan))


def test_memory_of_the_largest_group(multilingual):
    """However small the batches, a window of ten beams has ten rows of text cache."""
    dims, place = load_checkpoint(str(multilingual.path)).dims, Placement(torch.device("cpu"), torch.float32)
    one, sixteen = (memory_plan(dims, place, size, encoder_batch=1) for size in (1, 16))
    assert (one.rows, sixteen.rows) == (10, 16)
    assert one.self_cache == 10 * (2 * 2 * 448 * 64 * 4) * 3 // 2  # keys, values; layers; positions; state
    assert sixteen.self_cache * 10 == one.self_cache * 16
    assert sixteen.with_windows(1) == one.self_cache + one.logits + sixteen.cross_cache // 16


def test_a_gpu_with_room_has_more_rows():
    dims = ModelDims(80, 1500, 64, 2, 2, 51_865, 448, 64, 2, 2)
    gpu = Placement(torch.device("cuda", 0), torch.float16)
    plan = memory_plan(dims, gpu, 16)
    per_row = (plan.self_cache + plan.logits) // 16
    rows = [most_rows(plan, plan.total + spare, gpu, deterministic=False) for spare in (-1, 0, 5 * per_row)]
    assert rows == [16, 16, 21]
    assert most_rows(plan, 1 << 40, gpu, deterministic=False) == 160  # ten beams of each window
    assert most_rows(plan, 1 << 40, gpu, deterministic=True) == 16
    assert most_rows(plan, 1 << 40, Placement(torch.device("cpu"), torch.float32), deterministic=False) == 16


def test_a_batch_that_cannot_fit_is_refused(multilingual, monkeypatch):
    dims = load_checkpoint(str(multilingual.path)).dims
    plan = memory_plan(dims, Placement(torch.device("cpu"), torch.float32), 16, encoder_batch=1)
    check_fits(plan, plan.total)
    less = plan.weights + plan.with_windows(11)
    with pytest.raises(ConfigError, match=r"max_batch_size is 16: that needs .* set it to 11 or less"):
        check_fits(plan, less)
    with pytest.raises(ConfigError, match="too small for the model"):
        check_fits(plan, plan.weights)
    monkeypatch.setattr("asr.engines.pytorch.torch_engine.available_bytes", lambda _: less)
    with pytest.raises(ConfigError, match="max_batch_size is 16"):
        multilingual.engine_with()
    multilingual.engine_with(max_batch_size=11)


def test_windows_encoded_together():
    cpu = Placement(torch.device("cpu"), torch.float32)
    gpu = Placement(torch.device("cuda", 0), torch.float16)
    assert encoder_batch(config(), cpu, threads=2) == 1
    assert encoder_batch(config(), cpu, threads=32) == 8
    assert encoder_batch(config(max_batch_size=4), cpu, threads=32) == 4
    assert encoder_batch(config(), gpu, threads=2) == 8
    assert encoder_batch(config(max_batch_size=4), gpu, threads=2) == 4
    assert encoder_batch(config(deterministic=True), gpu, threads=2) == 1


def test_memory_of_the_container(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 60\nactive_file 40\n")
    assert planning._cgroup_available(str(tmp_path)) == 760, "files read a while ago make room"
    (tmp_path / "memory.max").write_text("max\n")
    assert planning._cgroup_available(str(tmp_path)) > 1 << 60


def test_load_engine(multilingual, caplog):
    caplog.set_level("INFO")
    engine = load_engine(EngineConfig(model=str(multilingual.path), device="cpu", threads=1))
    assert engine.spec.name == "random"
    assert (engine.spec.multilingual, engine.spec.num_languages, engine.spec.n_mels) == (True, 99, 80)
    assert engine.spec.n_text_ctx == 448
    assert engine.max_batch_size == 16
    assert "MiB for batches of 16" in caplog.text
    assert engine.oom_count == 0


def test_seconds_are_shares_of_the_batch(multilingual):
    pieces = [window(random_audio(3, seed), language="en", word_timestamps=True) for seed in range(2)]
    first, second = multilingual.engine.decode(pieces)
    assert first.seconds == second.seconds
    assert min(first.seconds.features, first.seconds.encode, first.seconds.decode, first.seconds.words) > 0


@needs_bfloat16
def test_bfloat16_follows_float32(multilingual):
    """Half the bits: not the same tokens for ever, but the same beginning and probabilities close by."""
    engine = multilingual.engine_with(precision="bfloat16")
    pieces = [window(random_audio(5, seed), language="en", max_tokens=4) for seed in range(12)]
    exact, rounded = multilingual.engine.decode(pieces), engine.decode(pieces)
    assert all(isinstance(ours, Hypothesis) for ours in rounded)
    same_first = sum(a.tokens[0] == b.tokens[0] for a, b in zip(exact, rounded, strict=True))
    assert same_first >= 9
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, rel=0.5, abs=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"beam_size": 5}, {"word_timestamps": True}])
def test_cuda_equals_the_cpu(multilingual, options):
    engine = multilingual.engine_with(device="cuda:0")
    pieces = [window(random_audio(6, seed), language="en", **options) for seed in range(5)]
    for ours, theirs in zip(engine.decode(pieces), multilingual.engine.decode(pieces), strict=True):
        assert ours.tokens == theirs.tokens
        assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("warm_up", [True, False])
def test_aligning_words_leaves_the_thread_count_alone(tmp_path, warm_up):
    """Numba starts a pool at the first alignment of a process, hence one of its own."""
    path = checkpoints.random_checkpoint(tmp_path)
    program = f"""
import numpy as np, torch
from asr.config import EngineConfig
from asr.engines import load_engine
from asr.schema import DecodingOptions, Window
engine = load_engine(EngineConfig({str(path)!r}, threads=1, warm_up={warm_up}))
options = DecodingOptions(language="en", word_timestamps=True, max_tokens=8)
noise = np.random.default_rng(0).integers(-9000, 9000, 32_000).astype(np.int16)
outcome, = engine.decode([Window(noise, 200, options)])
assert outcome.alignment.tokens, outcome
print(torch.get_num_threads())
"""
    places = os.pathsep.join(place for place in sys.path if place)
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert result.stdout.split() == ["1"], result.stderr
