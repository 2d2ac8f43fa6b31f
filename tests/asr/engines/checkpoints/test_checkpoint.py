"""Files that are no usable checkpoint are refused with the reason."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch

from asr.config import ConfigError
from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.checkpoints.dimensions import expected_shapes
from tests.asr import checkpoints


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = checkpoints.random_checkpoint(tmp_path_factory.mktemp("model"))
    return torch.load(path, weights_only=True)


def refused(tmp_path, content, match):
    path = tmp_path / "m.pt"
    torch.save(content, path)
    with pytest.raises(ConfigError, match=match):
        load_checkpoint(str(path))


def test_good(tmp_path, content):
    torch.save(content, tmp_path / "good.pt")
    loaded = load_checkpoint(str(tmp_path / "good.pt"))
    assert (loaded.name, loaded.dims.n_vocab) == ("good", 51_865)
    assert set(expected_shapes(loaded.dims)) == set(loaded.state)


def test_old_torch_format(tmp_path, content):
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_checkpoint(str(tmp_path / "old.pt")).dims.n_mels == 80


def test_half_precision_file(tmp_path, content):
    halves = {name: tensor.half() for name, tensor in content["model_state_dict"].items()}
    torch.save(content | {"model_state_dict": halves}, tmp_path / "half.pt")
    assert load_checkpoint(str(tmp_path / "half.pt")).state["decoder.ln.weight"].dtype == torch.float16


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        load_checkpoint(str(tmp_path / "none.pt"))


@pytest.mark.parametrize("bytes_", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
def test_garbage(tmp_path, bytes_):
    path = tmp_path / "m.pt"
    path.write_bytes(bytes_)
    with pytest.raises(ConfigError, match="not a readable checkpoint") as refusal:
        load_checkpoint(str(path))
    assert "weights_only" not in str(refusal.value), "torch advises to read it unsafely"


def test_cut_file(tmp_path, content):
    path = tmp_path / "m.pt"
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ConfigError, match="not a readable checkpoint"):
        load_checkpoint(str(path))


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_code_in_the_file_is_not_run(tmp_path, capsys):
    path = tmp_path / "m.pt"
    path.write_bytes(pickle.dumps({"dims": Evil(), "model_state_dict": {}}))
    with pytest.raises(ConfigError, match="not a readable checkpoint"):
        load_checkpoint(str(path))
    assert "executed" not in capsys.readouterr().out


def test_wrong_contents(tmp_path, content):
    refused(tmp_path, [1, 2], "OpenAI's format")
    refused(tmp_path, {"state_dict": {}}, "OpenAI's format")
    refused(tmp_path, content | {"dims": {"n_mels": 80}}, "'dims' must hold exactly")
    refused(tmp_path, content | {"dims": content["dims"] | {"n_mels": 0}}, "above 0")
    refused(tmp_path, content | {"dims": content["dims"] | {"n_mels": 64}}, "n_mels is 64")
    refused(tmp_path, content | {"dims": content["dims"] | {"n_text_head": 5}}, "not a multiple of 5")
    refused(tmp_path, content | {"dims": content["dims"] | {"n_audio_state": 128}}, "has shape")
    fewer = {name: t for name, t in content["model_state_dict"].items() if name != "decoder.ln.bias"}
    refused(tmp_path, content | {"model_state_dict": fewer}, "lacks 1 weights, among them decoder.ln.bias")
    refused(tmp_path, content | {"alignment_heads": [(7, 0)]}, "outside")
    refused(tmp_path, content | {"alignment_heads": "no"}, "must be .layer, head. pairs")


def test_a_compressed_checkpoint_loads_as_the_stored_one(tmp_path):
    stored = checkpoints.random_checkpoint(tmp_path)
    compressed = tmp_path / "compressed.pt"
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    expected, loaded = load_checkpoint(str(stored)).state, load_checkpoint(str(compressed)).state
    assert expected.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
