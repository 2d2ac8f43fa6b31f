"""What lies at the path of a checkpoint, by the names of its files alone, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

INDEX = ".index.json"
READ_BYTES = 1 << 20
CONFIG_FILE = "config.json"
CTRANSLATE2_WEIGHTS = "model.bin"
TOKENS_FILE = "tokens.txt"  # of sherpa-onnx
ADAPTER_CONFIG = "adapter_config.json"
# Where transformers puts weights, best first: a file, or the index of several
HUGGING_FACE_WEIGHTS = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
ONNX_FILES = "*.onnx"
# of a model that is larger than one ONNX file may be
ONNX_WEIGHTS = (ONNX_FILES, "*.onnx.data", "*.onnx_data", "*.weights")
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


class Kind(Enum):
    """A format of checkpoints; the value names it for people."""

    OPENAI = "a file in OpenAI's format"
    HUGGING_FACE = "a folder in Hugging Face's format"
    CTRANSLATE2 = "a folder in CTranslate2's format"
    ADAPTER = "a LoRA adapter"
    SHERPA = "a folder of ONNX files for sherpa-onnx"


FORMATS = (
    f"a file in OpenAI's format, or a folder in Hugging Face's ({CONFIG_FILE}, {HUGGING_FACE_WEIGHTS[0]}) "
    f"or CTranslate2's ({CTRANSLATE2_WEIGHTS}), or one of ONNX files for sherpa-onnx ({TOKENS_FILE})"
)


def kind_of(path: Path) -> Kind | None:
    """The format of what lies at `path`; None where there is nothing, or a folder of something else."""
    if path.is_file():
        return Kind.OPENAI
    if (path / CTRANSLATE2_WEIGHTS).is_file():
        return Kind.CTRANSLATE2
    is_onnx = any(path.glob(ONNX_FILES))
    has_weights = any((path / name).is_file() for name in HUGGING_FACE_WEIGHTS)
    if (path / CONFIG_FILE).is_file() and (has_weights or not is_onnx):
        return Kind.HUGGING_FACE
    if is_onnx:
        return Kind.SHERPA
    return Kind.ADAPTER if (path / ADAPTER_CONFIG).is_file() else None


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files that make the weights of a checkpoint or an adapter, in order; `path` where none is known."""
    for name in (CTRANSLATE2_WEIGHTS, *HUGGING_FACE_WEIGHTS, *ADAPTER_WEIGHTS):
        if not (path / name).is_file():
            continue
        if name in ADAPTER_WEIGHTS:
            return (path / name, path / ADAPTER_CONFIG)  # which has the factor of its weights
        whole = Path(name.removesuffix(INDEX))
        if name.endswith(INDEX):
            return tuple(sorted(path.glob(f"{whole.stem}-*{whole.suffix}"))) or (path / name,)
        return (path / name,)
    return onnx_files(path) or (path,)


def onnx_files(path: Path) -> tuple[Path, ...]:
    """The files of a folder for sherpa-onnx, weights and tokens; empty where there are none."""
    weights = sorted({file for pattern in ONNX_WEIGHTS for file in path.glob(pattern)})
    return (*weights, path / TOKENS_FILE) if weights else ()


def sha256_of(paths: Iterable[Path]) -> hashlib._Hash:
    """SHA-256 over the weights of a checkpoint and its adapter, one file after the other; raises OSError."""
    digest = hashlib.sha256()
    for file in (file for path in paths for file in weight_files(path)):
        with file.open("rb") as stream:
            while chunk := stream.read(READ_BYTES):
                digest.update(chunk)
    return digest


def checkpoint_name(path: Path) -> str:
    """What people call the checkpoint: its file, its folder, or its model in Hugging Face's cache."""
    if path.is_file():
        return path.stem
    model = hub_model(path.absolute())
    return model.rpartition("/")[2] if model else path.absolute().name


def hub_model(path: Path) -> str | None:
    """`org/name` of a snapshot in Hugging Face's cache, models--org--name/snapshots/REVISION; else None."""
    home = path.parent.parent.name
    if path.parent.name != "snapshots" or not home.startswith("models--"):
        return None
    return home.removeprefix("models--").replace("--", "/", 1)
