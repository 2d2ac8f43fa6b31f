"""A folder of ONNX files → the model in it, checked before sherpa-onnx ends the process on a bad one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.checkpoint_files import TOKENS_FILE
from asr.config import ConfigError
from asr.engines.sherpa.header_checks import (
    WHISPERS_FILES,
    ZIPFORMERS,
    check_keys,
    check_outputs,
    check_sides,
    check_type,
    checked_header,
    size_of,
)
from asr.engines.sherpa.token_table import BLANKS, read_tokens

LAYOUTS = (
    f"NeMo's CTC models have model.onnx and {TOKENS_FILE}, as Paraformer has, transducers encoder*.onnx, "
    f"decoder*.onnx, joiner*.onnx and {TOKENS_FILE}, Moonshine preprocess.onnx, encode.onnx, "
    f"uncached_decode.onnx, cached_decode.onnx and {TOKENS_FILE}; {WHISPERS_FILES}"
)
TRANSDUCER = ("encoder", "decoder", "joiner")
# the library's name of a part → how its file is called, and its inputs and outputs at least
MOONSHINE = {
    "preprocessor": ("preprocess", 1, 1),
    "encoder": ("encode", 2, 1),
    "uncached_decoder": ("uncached_decode", 3, 2),
    "cached_decoder": ("cached_decode", 4, 2),
}
OF_MOONSHINE_ALONE = ("preprocess", "uncached_decode", "cached_decode")
PARAFORMER = "paraformer"
END = "</s>"  # token that ends a text of Paraformer or Moonshine
MOONSHINES_END = 2  # its number, to the library
WITH_TIMES = 4  # outputs of a Paraformer that tells the times of its tokens
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
STREAMING_KEYS = {
    "conformer": ("num_encoder_layers", "left_context", "encoder_dim", "pad_length", "cnn_module_kernel"),
    "lstm": ("num_encoder_layers", "rnn_hidden_size", "d_model"),
    "zipformer": ("attention_dims", *ZIPFORMERS),
    "zipformer2": ("query_head_dims", "value_head_dims", "num_heads", *ZIPFORMERS),
}
DECODER_KEYS = ("vocab_size", "context_size")
PARAFORMER_KEYS = {
    PARAFORMER: ("vocab_size", "lfr_window_size", "lfr_window_shift", "neg_mean", "inv_stddev")
}


@dataclass(frozen=True, slots=True)
class SherpaFolder:
    """A model that is whole as far as its files say."""

    family: str  # "ctc", "transducer", "paraformer" or "moonshine"
    kind: str  # of a Recipe
    files: Mapping[str, str]  # of a Recipe
    feature_dim: int = 80
    bpe_vocab: str = ""  # file that spells hotwords; "" without one
    has_times: bool = True  # whether its tokens have times


def read_folder(folder: Path, family: str = "auto", *, quantised: bool = True) -> SherpaFolder:
    """The model in a folder; raises ConfigError in one line that says what is wrong and what would be right.

    family: where the settings name it. quantised: whether eight bits are taken where a file is there in both
    forms.
    """
    names = sorted(file.name for file in folder.glob("*.onnx")) if folder.is_dir() else []
    if not names:
        raise ConfigError(f"{folder} has no ONNX file: {LAYOUTS}")
    if not (folder / TOKENS_FILE).is_file():
        raise ConfigError(f"{folder} has no {TOKENS_FILE}: {LAYOUTS}")
    read = READERS[_family(folder, names) if family == "auto" else family]
    return read(folder, names, read_tokens(folder / TOKENS_FILE), quantised)


def _family(folder: Path, names: list[str]) -> str:
    """The family, by the files' names and by what a single file says of itself."""
    if any(name.startswith(TRANSDUCER) for name in names):
        return "transducer"
    if any(name.startswith(OF_MOONSHINE_ALONE) for name in names):
        return "moonshine"
    models = [name for name in names if name.startswith("model")]
    is_paraformer = models and checked_header(folder / models[0]).metadata.get("model_type") == PARAFORMER
    return "paraformer" if is_paraformer else "ctc"


def _ctc(folder: Path, names: list[str], tokens: Mapping[int, str], quantised: bool) -> SherpaFolder:
    file = folder / _chosen(folder, names, "model", quantised)
    header = checked_header(file)
    check_type(file, header, CTC_KEYS, "a CTC model exported by NeMo")
    check_sides(file, header, inputs=2)
    if not any(blank in tokens.values() for blank in BLANKS):
        raise ConfigError(f"{folder / TOKENS_FILE} has no blank, must have one of {', '.join(BLANKS)}")
    check_outputs(file, header, tokens, folder)
    files = {"model": str(file), "tokens": str(folder / TOKENS_FILE)}
    return SherpaFolder("ctc", "nemo_ctc", files, size_of(header.inputs[0], 1) or 80)


def _paraformer(folder: Path, names: list[str], tokens: Mapping[int, str], quantised: bool) -> SherpaFolder:
    file = folder / _chosen(folder, names, "model", quantised)
    header = checked_header(file)
    check_type(file, header, PARAFORMER_KEYS, "a Paraformer exported by FunASR")
    check_sides(file, header, inputs=2, outputs=2)
    if END not in tokens.values():
        raise ConfigError(f"{folder / TOKENS_FILE} has no {END}, which ends a text")
    check_outputs(file, header, tokens, folder)
    files = {"paraformer": str(file), "tokens": str(folder / TOKENS_FILE)}
    return SherpaFolder(PARAFORMER, PARAFORMER, files, has_times=len(header.outputs) >= WITH_TIMES)


def _moonshine(folder: Path, names: list[str], tokens: Mapping[int, str], quantised: bool) -> SherpaFolder:
    """Its files have no metadata, and the library leaves tokens out that have no name."""
    if tokens.get(MOONSHINES_END) != END:
        named = tokens.get(MOONSHINES_END, "nothing")
        raise ConfigError(f"{folder / TOKENS_FILE} has {named} as number {MOONSHINES_END}, must be {END}")
    files = {"tokens": str(folder / TOKENS_FILE)}
    for part, (called, inputs, outputs) in MOONSHINE.items():
        file = folder / _chosen(folder, names, called, quantised)
        check_sides(file, checked_header(file), inputs=inputs, outputs=outputs)
        files[part] = str(file)
    return SherpaFolder("moonshine", "moonshine", files, has_times=False)


def _transducer(folder: Path, names: list[str], tokens: Mapping[int, str], quantised: bool) -> SherpaFolder:
    chosen = {part: folder / _chosen(folder, names, part, quantised) for part in TRANSDUCER}
    headers = {part: checked_header(file) for part, file in chosen.items()}
    encoder = headers["encoder"]
    kind = "transducer"
    if STREAMING_KEY in encoder.metadata:
        kind = "streaming_transducer"
        keys = {name: ("T", STREAMING_KEY, *keys) for name, keys in STREAMING_KEYS.items()}
        check_type(chosen["encoder"], encoder, keys, "a streaming transducer exported by icefall")
        check_sides(chosen["encoder"], encoder, inputs=2)
    elif encoder.metadata.get("model_type") in NEMO_KEYS:
        kind = "nemo_transducer"
        check_type(chosen["encoder"], encoder, NEMO_KEYS, "a transducer exported by NeMo")
        check_sides(chosen["encoder"], encoder, inputs=2)
    else:
        check_type(chosen["encoder"], encoder, OFFLINE_KEYS, "a transducer exported by icefall or NeMo")
        check_sides(chosen["encoder"], encoder, inputs=2, outputs=2)
    if kind != "nemo_transducer":
        check_keys(chosen["decoder"], headers["decoder"], DECODER_KEYS)
        check_sides(chosen["joiner"], headers["joiner"], inputs=2)
        check_outputs(chosen["joiner"], headers["joiner"], tokens, folder)
    files = {part: str(file) for part, file in chosen.items()} | {"tokens": str(folder / TOKENS_FILE)}
    vocab = folder / "bpe.vocab"
    dim = 80 if kind == "nemo_transducer" else size_of(encoder.inputs[0], 2) or 80
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


Reader = Callable[[Path, list[str], Mapping[int, str], bool], SherpaFolder]
READERS: Mapping[str, Reader] = {
    "ctc": _ctc,
    "transducer": _transducer,
    "paraformer": _paraformer,
    "moonshine": _moonshine,
}
