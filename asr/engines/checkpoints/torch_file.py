"""What torch.save wrote: OpenAI's checkpoints, and transformers' older weights. No code in it is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from asr.config import ConfigError


def read_torch_file(file: Path, what: str) -> Any:
    """The content of `file`, tensors on the CPU and mapped where they can be; raises ConfigError.

    what: the file as the message should name it.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=_can_be_mapped(file))
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise ConfigError(f"{what} is not a readable checkpoint: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why a file cannot be read, in one line, without torch's advice to read it unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is no archive that torch.save writes, or holds more than tensors and plain values"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _can_be_mapped(file: Path) -> bool:
    """Whether the file is in torch's zip format with nothing compressed: it is then mapped, not read.

    The bundled demo checkpoint is compressed: most of its vocabulary rows are equal.
    """
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
