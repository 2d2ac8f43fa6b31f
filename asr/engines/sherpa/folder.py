"""A folder of ONNX files → the model in it, checked before sherpa-onnx ends the process on a bad one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.checkpoint_files import TOKENS_FILE
from asr.config import ConfigError
from asr.engines.sherpa.onnx_header import Header, NotOnnx, read_header
from asr.engines.sherpa.token_table import BLANKS, read_tokens

WHISPERS_FILES = "Whisper is served from OpenAI's, Hugging Face's or CTranslate2's files"
LAYOUTS = (
    f"NeMo's CTC models have model.onnx and {TOKENS_FILE}, transducers encoder*.onnx, decoder*.onnx, "
    f"joiner*.onnx and {TOKENS_FILE}; {WHISPERS_FILES}"
)
TRANSDUCER = ("encoder", "decoder", "joiner")
STREAMING_KEY = "decode_chunk_len"  # in the metadata of every streaming encoder
# model_type in the metadata → other keys that the library demands
CTC_KEYS = {
    name: ("vocab_size", "subsampling_factor")
    for name in ("EncDecCTCModel", "EncDecCTCModelBPE", "EncDecHybridRNNTCTCBPEModel")
}
OFFLINE_KEYS: dict[str, tuple[str, ...]] = {"conformer": (), "zipformer": (), "zipformer2": ()}
NEMO_KEYS = {
    name: ("vocab_size", "subsampling_factor", "pred_rnn_layers", "pred_hidden")
    for name in ("EncDecRNNTBPEModel", "EncDecHybridRNNTCTCBPEModel")
}
_ZIPFORMER = ("encoder_dims", "num_encoder_layers", "cnn_module_kernels", "left_context_len")
STREAMING_KEYS = {
    "conformer": ("num_encoder_layers", "left_context", "encoder_dim", "pad_length", "cnn_module_kernel"),
    "lstm": ("num_encoder_layers", "rnn_hidden_size", "d_model"),
    "zipformer": ("attention_dims", *_ZIPFORMER),
    "zipformer2": ("query_head_dims", "value_head_dims", "num_heads", *_ZIPFORMER),
}
DECODER_KEYS = ("vocab_size", "context_size")
LISTS = {*_ZIPFORMER, "attention_dims", "query_head_dims", "value_head_dims", "num_heads"}


@dataclass(frozen=True, slots=True)
class SherpaFolder:
    """A model that is whole as far as its files say."""

    family: str  # "ctc" or "transducer"
    kind: str  # of a Recipe
    files: Mapping[str, str]  # of a Recipe
    feature_dim: int
    bpe_vocab: str  # file that spells hotwords; "" without one


def read_folder(folder: Path, family: str = "auto", *, quantised: bool = True) -> SherpaFolder:
    """The model in a folder; raises ConfigError in one line that says what is wrong and what would be right.

    family: "ctc" or "transducer", where the settings name it. quantised: whether eight bits are taken where
    a file is there in both forms.
    """
    names = sorted(file.name for file in folder.glob("*.onnx")) if folder.is_dir() else []
    if not names:
        raise ConfigError(f"{folder} has no ONNX file: {LAYOUTS}")
    if not (folder / TOKENS_FILE).is_file():
        raise ConfigError(f"{folder} has no {TOKENS_FILE}: {LAYOUTS}")
    if family == "auto":
        family = "transducer" if any(name.startswith(TRANSDUCER) for name in names) else "ctc"
    read = _ctc if family == "ctc" else _transducer
    return read(folder, names, read_tokens(folder / TOKENS_FILE), quantised)


def _ctc(folder: Path, names: list[str], tokens: Mapping[int, str], quantised: bool) -> SherpaFolder:
    file = folder / _chosen(folder, names, "model", quantised)
    header = _header(file)
    _check_type(file, header, CTC_KEYS, "a CTC model exported by NeMo")
    _check_sides(file, header, inputs=2)
    if not any(blank in tokens.values() for blank in BLANKS):
        raise ConfigError(f"{folder / TOKENS_FILE} has no blank, must have one of {', '.join(BLANKS)}")
    _check_outputs(file, header, tokens, folder)
    files = {"model": str(file), "tokens": str(folder / TOKENS_FILE)}
    return SherpaFolder("ctc", "nemo_ctc", files, _dim(header.inputs[0], 1) or 80, "")


def _transducer(folder: Path, names: list[str], tokens: Mapping[int, str], quantised: bool) -> SherpaFolder:
    chosen = {part: folder / _chosen(folder, names, part, quantised) for part in TRANSDUCER}
    headers = {part: _header(file) for part, file in chosen.items()}
    encoder = headers["encoder"]
    kind = "transducer"
    if STREAMING_KEY in encoder.metadata:
        kind = "streaming_transducer"
        keys = {name: ("T", STREAMING_KEY, *keys) for name, keys in STREAMING_KEYS.items()}
        _check_type(chosen["encoder"], encoder, keys, "a streaming transducer exported by icefall")
        _check_sides(chosen["encoder"], encoder, inputs=2)
    elif encoder.metadata.get("model_type") in NEMO_KEYS:
        kind = "nemo_transducer"
        _check_type(chosen["encoder"], encoder, NEMO_KEYS, "a transducer exported by NeMo")
        _check_sides(chosen["encoder"], encoder, inputs=2)
    else:
        _check_type(chosen["encoder"], encoder, OFFLINE_KEYS, "a transducer exported by icefall or NeMo")
        _check_sides(chosen["encoder"], encoder, inputs=2, outputs=2)
    if kind != "nemo_transducer":
        _check_keys(chosen["decoder"], headers["decoder"], DECODER_KEYS)
        _check_sides(chosen["joiner"], headers["joiner"], inputs=2)
        _check_outputs(chosen["joiner"], headers["joiner"], tokens, folder)
    files = {part: str(file) for part, file in chosen.items()} | {"tokens": str(folder / TOKENS_FILE)}
    vocab = folder / "bpe.vocab"
    dim = 80 if kind == "nemo_transducer" else _dim(encoder.inputs[0], 2) or 80
    return SherpaFolder("transducer", kind, files, dim, str(vocab) if vocab.is_file() else "")


def _chosen(folder: Path, names: list[str], part: str, quantised: bool) -> str:
    """The file of one part: in eight bits or not where both are there."""
    of_part = [name for name in names if name.startswith(part)]
    whole = [name for name in of_part if not name.endswith(".int8.onnx")]
    small = [name for name in of_part if name.endswith(".int8.onnx")]
    if len(whole) > 1 or len(small) > 1:
        raise ConfigError(
            f"{folder} has {', '.join(of_part)}, must have one {part}*.onnx (and one {part}*.int8.onnx)"
        )
    if not of_part:
        raise ConfigError(f"{folder} has no {part}*.onnx, only {', '.join(names)}: {LAYOUTS}")
    return (small or whole)[0] if quantised else (whole or small)[0]


def _header(file: Path) -> Header:
    try:
        return read_header(file)
    except NotOnnx as error:
        raise ConfigError(f"{file} is not an ONNX model: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error


def _check_type(file: Path, header: Header, known: Mapping[str, tuple[str, ...]], what: str) -> None:
    """Raises ConfigError where the metadata is not that of one of the known types."""
    name = header.metadata.get("model_type", "")
    if name.startswith("whisper"):
        raise ConfigError(f"{file} is Whisper's ({name}), must be {what}: {WHISPERS_FILES}")
    if name not in known:
        said = f"says model_type {name!r}" if name else "says no model_type in its metadata"
        raise ConfigError(f"{file} {said}, must be {what}: one of {', '.join(known)}")
    _check_keys(file, header, known[name])


def _check_keys(file: Path, header: Header, keys: tuple[str, ...]) -> None:
    for key in keys:
        value = header.metadata.get(key)
        if value is None:
            raise ConfigError(f"{file} says no {key} in its metadata, which its export must write")
        numbers = value.split(",") if key in LISTS else [value]
        if not all(number.strip().isascii() and number.strip().isdecimal() for number in numbers):
            kind = "whole numbers with commas between" if key in LISTS else "a whole number"
            raise ConfigError(f"{file} says {key} {value[:80]!r} in its metadata, must be {kind}")


def _check_sides(file: Path, header: Header, *, inputs: int, outputs: int = 1) -> None:
    if len(header.inputs) < inputs or len(header.outputs) < outputs:
        raise ConfigError(
            f"{file} has {len(header.inputs)} inputs and {len(header.outputs)} outputs, "
            f"must have {inputs} and {outputs} at least"
        )


def _check_outputs(file: Path, header: Header, tokens: Mapping[int, str], folder: Path) -> None:
    """Raises ConfigError where the model may write a token that has no name."""
    size = _dim(header.outputs[0], -1)
    if size is not None and (unnamed := next((n for n in range(size) if n not in tokens), None)) is not None:
        raise ConfigError(
            f"{file} writes {size} tokens, and {folder / TOKENS_FILE} has no number {unnamed}: "
            "it must name them all"
        )


def _dim(value: object, axis: int) -> int | None:
    """A fixed size of an input or output; None where it varies or is not said."""
    dims = value.type.tensor_type.shape.dim  # type: ignore[attr-defined]
    if not dims or not -len(dims) <= axis < len(dims):
        return None
    return int(dims[axis].dim_value) or None
