"""A folder for sherpa-onnx is checked before the library sees it, which would end the process."""

from __future__ import annotations

import contextlib
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from asr.checkpoint_files import Kind, kind_of
from asr.config import ConfigError
from asr.engines.sherpa import onnx_header
from asr.engines.sherpa.folder import read_folder
from asr.engines.sherpa.onnx_header import NotOnnx, read_header
from tests.asr import sherpa_folders
from tests.asr.attention_folders import PARAFORMER, write_moonshine, write_paraformer
from tests.asr.sherpa_folders import CTC, LSTM, OFFLINE, write_ctc, write_transducer

ZEROS_BYTES = 2 << 30


def test_the_kind_is_found_from_the_files_and_the_metadata(tmp_path: Path) -> None:
    kinds = {
        "nemo_ctc": write_ctc(tmp_path / "ctc"),
        "transducer": write_transducer(tmp_path / "offline", encoder=OFFLINE),
        "streaming_transducer": write_transducer(tmp_path / "live"),
        "paraformer": write_paraformer(tmp_path / "paraformer"),
        "moonshine": write_moonshine(tmp_path / "moonshine"),
    }
    assert {name: read_folder(folder).kind for name, folder in kinds.items()} == {
        name: name for name in kinds
    }
    assert {kind_of(folder) for folder in kinds.values()} == {Kind.SHERPA}


def test_eight_bits_are_taken_unless_the_settings_ask_for_more(tmp_path: Path) -> None:
    folder = write_ctc(tmp_path)
    write_ctc(tmp_path, name="model.int8.onnx")
    assert read_folder(folder).files["model"].endswith("model.int8.onnx")
    assert read_folder(folder, quantised=False).files["model"].endswith("model.onnx")


def test_a_header_is_read_without_the_weights(tmp_path: Path) -> None:
    size = 30_000_000
    weights = helper.make_tensor("w", TensorProto.INT8, [size], bytes(size), raw=True)
    side = [helper.make_tensor_value_info("w", TensorProto.INT8, [size])]
    model = helper.make_model(helper.make_graph([], "large", [], side, [weights]))
    helper.set_model_props(model, {"model_type": "large"})
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    del model, weights
    tracemalloc.start()
    header = read_header(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert header.metadata == {"model_type": "large"} and header.outputs[0].name == "w"
    assert peak < size / 10


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), cut=st.integers(0, 400))
def test_any_bytes_are_a_header_or_no_onnx(tmp_path: Path, content: bytes, cut: int) -> None:
    """Bytes alone, and a model that goes on as them."""
    whole = (write_ctc(tmp_path) / "model.onnx").read_bytes()
    file = tmp_path / "any"
    for these in (content, whole[:cut] + content):
        file.write_bytes(these)
        with contextlib.suppress(NotOnnx):
            read_header(file)


def test_a_file_of_endless_fields_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_header, "MAX_FIELDS", 100)
    (tmp_path / "any").write_bytes(b"\x08\x01" * 101)
    with pytest.raises(NotOnnx, match="it has more than 100 parts"):
        read_header(tmp_path / "any")


def _zeros(folder: Path) -> None:
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(ZEROS_BYTES)  # a hole: it takes no room on disk


def _cut(folder: Path) -> None:
    file = folder / "model.onnx"
    file.write_bytes(file.read_bytes()[:-100])


def _whisper(folder: Path) -> None:
    write_ctc(folder, metadata={**CTC, "model_type": "whisper-tiny.en"})


CTC_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no tokens": (
        lambda folder: (folder / "tokens.txt").unlink(),
        "has no tokens.txt: NeMo's CTC models have",
    ),
    "no weights": (
        lambda folder: (folder / "model.onnx").unlink(),
        "has no ONNX file: NeMo's CTC models have",
    ),
    "zeros": (_zeros, "model.onnx is not an ONNX model: it holds no protobuf message at byte 0"),
    "cut short": (_cut, "model.onnx is not an ONNX model: it is cut short"),
    "a page": (
        lambda folder: (folder / "model.onnx").write_text("<!DOCTYPE html><html>not found</html>"),
        "model.onnx is not an ONNX model",
    ),
    "Whisper's": (
        _whisper,
        "model.onnx is Whisper's (whisper-tiny.en), must be a CTC model exported by NeMo",
    ),
    "no type": (
        lambda folder: write_ctc(folder, metadata={"subsampling_factor": "4"}),
        "says no model_type in its metadata, must be a CTC model exported by NeMo: one of EncDecCTCModel",
    ),
    "no subsampling": (
        lambda folder: write_ctc(folder, metadata={"model_type": "EncDecCTCModel"}),
        "says no subsampling_factor in its metadata",
    ),
    "words for numbers": (
        lambda folder: write_ctc(folder, metadata={**CTC, "subsampling_factor": "four"}),
        "says subsampling_factor 'four' in its metadata, must be a whole number",
    ),
    "no blank": (lambda folder: write_ctc(folder, blank="nothing"), "has no blank, must have one of <blk>"),
    "tokens of another model": (
        lambda folder: (folder / "tokens.txt").write_text("one 0\n<blk> 1\n"),
        "writes 5 tokens, and ",
    ),
    "tokens that are text": (
        lambda folder: (folder / "tokens.txt").write_text("these are no tokens\n"),
        "line 1 is 'these are no tokens', must be a token and its number",
    ),
    "two models": (lambda folder: write_ctc(folder, name="model-2.onnx"), "must have one model*.onnx"),
}


@pytest.mark.parametrize(("break_it", "message"), CTC_FAULTS.values(), ids=CTC_FAULTS)
def test_a_bad_ctc_folder_is_refused_in_one_line(
    tmp_path: Path, break_it: Callable[[Path], object], message: str
) -> None:
    folder = write_ctc(tmp_path / "model")
    break_it(folder)
    _refused(folder, message)


TRANSDUCER_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no joiner": (lambda folder: (folder / "joiner.onnx").unlink(), "has no joiner*.onnx, only decoder.onnx"),
    "Whisper's": (
        lambda folder: write_transducer(folder, encoder={"model_type": "whisper-tiny"}),
        "encoder.onnx is Whisper's (whisper-tiny), must be a transducer",
    ),
    "no chunks": (
        lambda folder: write_transducer(folder, encoder={k: v for k, v in LSTM.items() if k != "T"}),
        "encoder.onnx says no T in its metadata",
    ),
    "no context": (lambda folder: write_transducer(folder, decoder={}), "decoder.onnx says no context_size"),
    "a decoder for a joiner": (
        lambda folder: shutil.copy(folder / "decoder.onnx", folder / "joiner.onnx"),
        "joiner.onnx has 1 inputs and 1 outputs, must have 2 and 1 at least",
    ),
}


@pytest.mark.parametrize(("break_it", "message"), TRANSDUCER_FAULTS.values(), ids=TRANSDUCER_FAULTS)
def test_a_bad_transducer_folder_is_refused_in_one_line(
    tmp_path: Path, break_it: Callable[[Path], object], message: str
) -> None:
    folder = write_transducer(tmp_path / "model")
    break_it(folder)
    _refused(folder, message)


ATTENTION_FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a Paraformer without its mean": (
        lambda folder: write_paraformer(folder, metadata={**PARAFORMER, "neg_mean": ""}),
        "says neg_mean '' in its metadata, must be numbers with commas between",
    ),
    "a Paraformer without an end": (
        lambda folder: write_paraformer(folder, end="<eos>"),
        "tokens.txt has no </s>, which ends a text",
    ),
    "Moonshine with other tokens": (
        lambda folder: write_moonshine(folder, end="<eos>"),
        "tokens.txt has <eos> as number 2, must be </s>",
    ),
    "half of Moonshine": (
        lambda folder: _without(write_moonshine(folder), "cached_decode.onnx"),
        "has no cached_decode*.onnx, only encode.onnx, preprocess.onnx, uncached_decode.onnx: NeMo's CTC",
    ),
    "Moonshine's encoder twice": (
        lambda folder: _twice(write_moonshine(folder)),
        "cached_decode.onnx has 2 inputs and 1 outputs, must have 4 and 2 at least",
    ),
}


def _without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def _twice(folder: Path) -> Path:
    shutil.copy(folder / "encode.onnx", folder / "cached_decode.onnx")
    return folder


@pytest.mark.parametrize(("written", "message"), ATTENTION_FAULTS.values(), ids=ATTENTION_FAULTS)
def test_a_bad_folder_of_paraformer_or_moonshine_is_refused_in_one_line(
    tmp_path: Path, written: Callable[[Path], Path], message: str
) -> None:
    _refused(written(tmp_path / "model"), message)


def test_a_folder_is_refused_as_what_the_settings_call_it(tmp_path: Path) -> None:
    paraformer = write_paraformer(tmp_path / "paraformer")
    _refused(paraformer, "says model_type 'paraformer', must be a CTC model", family="ctc")
    _refused(write_ctc(tmp_path / "hindi"), "must be a Paraformer exported by FunASR", family="paraformer")
    _refused(write_ctc(tmp_path / "ctc"), "has no encoder*.onnx, only model.onnx", family="transducer")
    _refused(write_transducer(tmp_path / "live"), "has no model*.onnx, only decoder.onnx", family="ctc")


def _refused(folder: Path, message: str, family: str = "auto") -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        read_folder(folder, family)
    assert "\n" not in str(refused.value) and str(folder) in str(refused.value)


def test_a_table_names_blanks_by_their_number_alone(tmp_path: Path) -> None:
    folder = write_ctc(tmp_path)
    words = "".join(f"{word} {n}\n" for n, word in enumerate(sherpa_folders.WORDS[:-1]))
    (folder / "tokens.txt").write_text(
        f"{words}3\n<blk> 4\n"
    )  # a token that is a blank, as the library writes it
    assert read_folder(folder).kind == "nemo_ctc"
