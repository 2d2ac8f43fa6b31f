"""Models by their names on Hugging Face: what is downloaded, what comes from the cache, and what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr.checkpoint_files import weight_files
from tests.ops.commands import ROOT, caller_environment, last_line, serve
from tests.ops.fake_hub import REVISION, running_hub

pytestmark = pytest.mark.slow

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens
INDEX = json.dumps(
    {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
)
LORA = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "openai/whisper-tiny"}
MODELS = {
    "openai/whisper-tiny": {
        "config.json": b'{"model_type": "whisper"}',
        "generation_config.json": b"{}",
        "vocab.json": b'{"a": 0}',
        "model.safetensors": b"tiny",
        "pytorch_model.bin": b"the same again",
        "flax_model.msgpack": b"and again",
        "onnx/config.json": b"{}",
        "README.md": b"words",
    },
    "someone/sharded": {
        "config.json": b"{}",
        "model.safetensors.index.json": INDEX.encode(),
        "model-00001-of-00002.safetensors": b"1",
        "model-00002-of-00002.safetensors": b"2",
    },
    "Systran/faster-whisper-tiny": {"config.json": b"{}", "model.bin": b"weights", "vocabulary.txt": b"a\n"},
    "someone/hindi-lora": {
        "adapter_config.json": json.dumps(LORA).encode(),
        "adapter_model.safetensors": b"lora",
    },
    "someone/zipformer": {
        "encoder-99.onnx": b"encoder",
        "encoder-99.int8.onnx": b"encoder in eight bits",
        "decoder-99.onnx": b"decoder",
        "joiner-99.onnx": b"joiner",
        "tokens.txt": b"<blk> 0",
        "bpe.vocab": b"",
        "test_wavs/0.wav": b"sound",
    },
    "someone/bert": {"config.json": b"{}", "tf_model.h5": b"weights"},
}


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    with running_hub(MODELS) as running:
        yield running


FETCH = """
import sys
from pathlib import Path
from scripts.serve import models
name, folder = sys.argv[1], Path(sys.argv[2])
weights = models.weights_of(name, folder, folder)
found = models.ensure_weights(name, weights, {}, say=lambda line: print(line, file=sys.stderr))
print(found.checkpoint, found.adapter)
"""


def fetched(name: str, home: Path, address: str) -> subprocess.CompletedProcess[str]:
    """What serve.sh does with MODEL before it starts anything."""
    return subprocess.run(
        [sys.executable, "-c", FETCH, name, str(home)],
        cwd=ROOT, env=caller_environment(HF_HOME=str(home), HF_ENDPOINT=address),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def snapshot(home: Path, name: str) -> Path:
    return home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / REVISION


def test_one_set_of_weights_and_the_small_files_are_downloaded(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, downloaded = hub
    result = fetched("openai/whisper-tiny", tmp_path, address)
    assert result.stdout.split()[0] == str(snapshot(tmp_path, "openai/whisper-tiny")), result.stderr
    needed = ["config.json", "generation_config.json", "model.safetensors", "vocab.json"]
    assert sorted(downloaded) == [f"openai/whisper-tiny/{file}" for file in needed]
    assert "downloading openai/whisper-tiny from Hugging Face" in result.stderr


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("someone/sharded", ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]),
        ("Systran/faster-whisper-tiny", ["model.bin"]),
        (
            "someone/zipformer",
            ["decoder-99.onnx", "encoder-99.int8.onnx", "joiner-99.onnx", "tokens.txt"],
        ),
    ],
)
def test_shards_and_ctranslate2s_folders_too(
    hub: tuple[str, list[str]], tmp_path: Path, name: str, weights: list[str]
) -> None:
    result = fetched(name, tmp_path, hub[0])
    folder = Path(result.stdout.split()[0])
    assert [file.name for file in weight_files(folder)] == weights, result.stderr


def test_an_adapter_brings_its_base(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    result = fetched("someone/hindi-lora", tmp_path, hub[0])
    base, adapter = (snapshot(tmp_path, name) for name in ("openai/whisper-tiny", "someone/hindi-lora"))
    assert result.stdout.split() == [str(base), str(adapter)], result.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "adapter_config.json").write_text(json.dumps(LORA))
    result = fetched("mine", tmp_path, hub[0])
    assert result.stdout.split() == [str(base), str(tmp_path / "mine")], result.stderr


def test_without_a_network_the_cache_is_taken(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    fetched("someone/sharded", tmp_path, hub[0])
    result = fetched("someone/sharded", tmp_path, NOBODY)
    folder = snapshot(tmp_path, "someone/sharded")
    assert result.stdout.split()[0] == str(folder), result.stderr
    assert "Hugging Face does not answer" in last_line(result.stderr)
    assert f"taking the copy in its cache, {folder}" in last_line(result.stderr)
    result = serve(str(folder.parents[1]), "--print-config", HF_ENDPOINT=NOBODY)
    assert f"model: {folder}\n" in result.stdout, "a folder of the cache is a model as well"


def test_a_name_in_neither_is_one_line(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    for address, said in (
        (NOBODY, "nobody/there: Hugging Face does not answer"),
        (hub[0], "nobody/there: Hugging Face has no such model, or hides it from you (HF_TOKEN)"),
    ):
        result = fetched("nobody/there", tmp_path, address)
        assert said in last_line(result.stderr)
        assert "there is no copy in its cache" in last_line(result.stderr)


def test_a_repository_without_weights_that_can_be_read_is_refused(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    result = fetched("someone/bert", tmp_path, hub[0])
    assert "someone/bert on Hugging Face has no weights that can be read" in last_line(result.stderr)
    assert hub[1] == [], "nothing was downloaded for it"


def test_a_dry_run_downloads_nothing(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    result = serve("openai/whisper-tiny", "--print-config", HF_HOME=str(tmp_path), HF_ENDPOINT=hub[0])
    assert f"model: {tmp_path}/hub/models--openai--whisper-tiny\n" in result.stdout, result.stderr
    assert hub[1] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"peft_type": "LORA"}', "must be JSON with base_model_name_or_path"),
        ("no JSON", "must be JSON with base_model_name_or_path"),
        ('{"base_model_name_or_path": null}', "base_model_name_or_path is None, must be a path or org/name"),
        ('{"base_model_name_or_path": "/home/them/base"}', "names '/home/them/base' as its base_model"),
        ('{"base_model_name_or_path": "."}', "which is an adapter again"),
    ],
)
def test_an_adapter_without_a_base_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "adapter_config.json").write_text(content)
    result = serve(str(tmp_path), "--print-config")
    assert result.returncode == 1
    assert said in last_line(result.stderr) and str(tmp_path / "adapter_config.json") in last_line(
        result.stderr
    )


def test_an_adapters_base_may_be_a_path_beside_it(tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text('{"base_model_name_or_path": "../base.pt"}')
    (tmp_path / "base.pt").write_bytes(b"weights")
    result = serve("lora", "--print-config", cwd=tmp_path)
    assert f"model: {tmp_path}/base.pt\n" in result.stdout, result.stderr
    assert f"adapter: {tmp_path}/lora\n" in result.stdout
