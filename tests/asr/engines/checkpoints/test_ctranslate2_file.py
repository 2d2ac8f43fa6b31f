"""A CTranslate2 folder gives the tensors of OpenAI's file, and nothing else in it is believed."""

from __future__ import annotations

import hashlib
import resource
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from adapter.startup import start
from asr.checkpoint_files import weight_files
from asr.config import ConfigError
from asr.engines.checkpoints.checkpoint import Checkpoint, load_checkpoint
from asr.text.tokenizer import tokenizer_for
from tests.asr import checkpoints
from tests.asr.ctranslate2_folders import Arrays, folder, renamed, words, write_model_bin


@pytest.fixture(
    scope="module", params=[checkpoints.MULTILINGUAL, checkpoints.ENGLISH_ONLY, checkpoints.LARGE_V3]
)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small random checkpoint of every vocabulary."""
    n_mels = 128 if request.param == checkpoints.LARGE_V3 else 80
    sizes = checkpoints.dims(n_vocab=request.param, n_mels=n_mels)
    return load_checkpoint(str(checkpoints.random_checkpoint(tmp_path_factory.mktemp("model"), sizes)))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(str(checkpoints.random_checkpoint(tmp_path_factory.mktemp("model"))))


@pytest.fixture
def arrays(small: Checkpoint) -> Arrays:
    return renamed(small, "float16")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_tensor_is_the_checkpoints(checkpoint: Checkpoint, tmp_path: Path, dtype: str) -> None:
    read = load_checkpoint(str(folder(tmp_path / "mine", renamed(checkpoint, dtype), words(checkpoint))))
    assert (read.name, read.dims, read.alignment_heads) == ("mine", checkpoint.dims, ((1, 0),))
    assert read.state.keys() == checkpoint.state.keys()
    for name, tensor in checkpoint.state.items():
        assert read.state[name].dtype == getattr(torch, dtype)
        assert torch.equal(read.state[name], tensor.to(getattr(torch, dtype))), name


def test_what_the_ctranslate2_backend_converts_can_be_read(checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    from asr.engines.ctranslate2.conversion import model_spec

    dims = checkpoint.dims
    spec = model_spec(checkpoint, tokenizer_for(dims.multilingual, dims.num_languages))
    spec.validate()
    spec.optimize()
    spec.save(str(tmp_path))
    read = load_checkpoint(str(tmp_path))
    assert (read.dims, read.alignment_heads) == (dims, checkpoint.alignment_heads)
    assert all(torch.equal(read.state[name], tensor) for name, tensor in checkpoint.state.items())


def test_without_heads_in_the_config_the_upper_half_aligns(
    small: Checkpoint, arrays: Arrays, tmp_path: Path
) -> None:
    read = load_checkpoint(str(folder(tmp_path / "mine", arrays, words(small), heads=None)))
    assert read.alignment_heads == ((1, 0), (1, 1))


def test_heads_are_64_wide_where_the_file_does_not_say(
    small: Checkpoint, arrays: Arrays, tmp_path: Path
) -> None:
    for side in ("encoder", "decoder"):
        del arrays[f"{side}/num_heads"]
    read = load_checkpoint(str(folder(tmp_path / "mine", arrays, words(small))))
    assert (read.dims.n_audio_head, read.dims.n_text_head) == (1, 1)  # of a state of 64


def test_the_older_vocabulary_file_and_its_names(small: Checkpoint, arrays: Arrays, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", arrays, [])
    (path / "vocabulary.json").unlink()
    older = {"<|nospeech|>": "<|nocaptions|>", "<|he|>": "<|iw|>"}
    (path / "vocabulary.txt").write_text("\n".join(older.get(word, word) for word in words(small)) + "\n")
    assert load_checkpoint(str(path)).dims == small.dims


def refused(path: Path, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as refusal:
        load_checkpoint(str(path))
    assert "\n" not in str(refusal.value)


def test_another_vocabulary_is_refused_by_name(small: Checkpoint, arrays: Arrays, tmp_path: Path) -> None:
    tokens = words(small)
    tokens[1234] = "Ġother"
    refused(
        folder(tmp_path / "mine", arrays, tokens),
        r"vocabulary\.json' is not OpenAI's.*token 1234 is 'Ġother'",
    )
    refused(folder(tmp_path / "mine", arrays, tokens[:-1]), "holds 51864 tokens, .* has 51865")
    (tmp_path / "mine" / "vocabulary.json").write_text("[" * 100_000)
    refused(tmp_path / "mine", "is not JSON")
    (tmp_path / "mine" / "vocabulary.json").unlink()
    refused(tmp_path / "mine", "has neither vocabulary.json nor vocabulary.txt")


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_quantised_model_is_refused(small: Checkpoint, arrays: Arrays, tmp_path: Path, dtype: str) -> None:
    name = "decoder/layer_0/ffn/linear_0/weight"
    arrays[name] = arrays[name].astype(dtype)
    path = folder(tmp_path / "mine", arrays, words(small))
    refused(path, rf"quantised \({name} is {dtype}\): only the backend ctranslate2 runs it")


def change(name: str, new: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], None]:
    def apply(arrays: Arrays) -> None:
        arrays[name] = new(arrays[name])

    return apply


HEADS = np.array(0, np.int16)
QKV = "encoder/layer_0/self_attention/linear_0"
UNUSABLE = {
    "no norm": (lambda a: a.pop("decoder/layer_1/ffn/layer_norm/gamma"), "this one lacks it"),
    "keys with a bias": (change(f"{QKV}/bias", lambda a: a + 1), "have none"),
    "rows that are not three": (change(f"{QKV}/weight", lambda a: a[:-1]), "3 times"),
    "a vector for a matrix": (change("decoder/embeddings/weight", lambda a: a.ravel()), "with 1 dimensions"),
    "no heads": (change("decoder/num_heads", lambda a: HEADS), "above 0, got {'n_text_head': 0}"),
    "a vocabulary cut": (
        change("decoder/embeddings/weight", lambda a: a[:100]),
        "n_vocab is 100, must be one of",
    ),
    "a narrow MLP": (
        change("decoder/layer_0/ffn/linear_0/weight", lambda a: a[:-1]),
        r"has shape \(255, 64\)",
    ),
    "a layer far off": (
        lambda a: a.update({"encoder/layer_999999999/x": HEADS}),
        "encoder/layer_2.*lacks it",
    ),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_model_that_is_not_whispers_is_refused(
    small: Checkpoint, arrays: Arrays, tmp_path: Path, fault: str
) -> None:
    damage, match = UNUSABLE[fault]
    damage(arrays)
    refused(folder(tmp_path / "mine", arrays, words(small)), match)


def test_an_output_projection_of_its_own_is_refused(
    small: Checkpoint, arrays: Arrays, tmp_path: Path
) -> None:
    path = folder(tmp_path / "mine", arrays, words(small))
    arrays["decoder/projection/weight"] = arrays["decoder/embeddings/weight"].copy()
    write_model_bin(path / "model.bin", arrays, {})
    assert load_checkpoint(str(path)).dims == small.dims, "the same numbers twice are as good as an alias"
    arrays["decoder/projection/weight"][0, 0] += 1
    write_model_bin(path / "model.bin", arrays, {})
    refused(path, "its output projection is not its token embedding")


def test_other_specs_and_formats_are_refused(small: Checkpoint, arrays: Arrays, tmp_path: Path) -> None:
    refused(
        folder(tmp_path / "mine", arrays, words(small), spec="TransformerSpec"), "'TransformerSpec' of CTr"
    )
    refused(folder(tmp_path / "mine", arrays, words(small), version=5), "its format is 5, must be 6")


def test_wrong_heads_in_the_config_are_refused(small: Checkpoint, arrays: Arrays, tmp_path: Path) -> None:
    refused(folder(tmp_path / "mine", arrays, words(small), heads=[[9, 9]]), "lie outside the model's layers")
    refused(
        folder(tmp_path / "mine", arrays, words(small), heads=[[float("inf"), 0]]),
        "must be .layer, head. pairs",
    )


def hostile() -> Iterator[tuple[str, bytes]]:
    """Files that claim more than they hold."""
    start = struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + struct.pack("<I", 3)
    huge = b"\x02\0a\0" + struct.pack("<B2IBI", 2, 2**31, 2**31, 0, 2**32 - 1)
    yield "empty", b""
    yield "text", b"not a model of anybody's\n" * 40
    yield "zeros", bytes(1000)
    yield "a count without end", start + struct.pack("<I", 2**32 - 1) + bytes(1000)
    yield "a shape beyond any memory", start + struct.pack("<I", 1) + huge + bytes(1000)
    yield (
        "bytes beyond the file",
        start + struct.pack("<I", 1) + b"\x02\0a\0" + struct.pack("<BIBI", 1, 2**30, 0, 2**32 - 4),
    )
    yield "many dimensions", start + struct.pack("<I", 1) + b"\x02\0a\0" + bytes([255]) + bytes(2000)
    yield (
        "an unknown type",
        start + struct.pack("<I", 1) + b"\x02\0a\0" + struct.pack("<BBI", 0, 77, 4) + bytes(8),
    )
    yield "bfloat16", start + struct.pack("<I", 1) + b"\x02\0a\0" + struct.pack("<BBI", 0, 5, 2) + bytes(6)
    yield "a name that is no text", start + struct.pack("<IH", 1, 4) + b"\xff\xfe\xfd\0" + bytes(100)
    scalar = b"\x02\0a\0" + struct.pack("<BBI", 0, 1, 1) + b"\0"
    yield "one name twice", start + struct.pack("<I", 2) + scalar + scalar + bytes(4)
    yield "an alias of nothing", start + struct.pack("<II", 0, 1) + b"\x02\0a\0\x02\0b\0"


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in hostile()])
def test_a_hostile_file_is_one_line_and_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, "is no model.bin of CTranslate2")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"


def test_a_file_cut_anywhere_is_refused(small: Checkpoint, arrays: Arrays, tmp_path: Path) -> None:
    path = folder(tmp_path / "mine", arrays, words(small))
    whole = (path / "model.bin").read_bytes()
    for length in (1, 5, 30, 100, len(whole) // 3, len(whole) - 60, len(whole) - 1):
        (path / "model.bin").write_bytes(whole[:length])
        refused(path, "is no model.bin of CTranslate2")
    (path / "model.bin").write_bytes(whole + b"more")
    refused(path, "4 bytes follow its end")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, r"there is no such file, nor a folder of a model")


def test_a_folders_weights_are_named_by_its_model_bin(
    small: Checkpoint, arrays: Arrays, tmp_path: Path
) -> None:
    """What `…/1.0/model` and the clients' reports tell of it."""
    path = folder(tmp_path / "mine", arrays, words(small))
    assert weight_files(path) == (path / "model.bin",)
    assert weight_files(path / "model.bin") == (path / "model.bin",)
    service = start({"handler": {"engine": {"model": str(path), "device": "cpu", "warm_up": False}}}, None)
    whole = hashlib.sha256((path / "model.bin").read_bytes()).hexdigest()
    assert service.model["name"] == "mine" and whole.startswith(service.model["sha256"])
