"""Tensors of a folder in Hugging Face's layout: one file, or several with an index that names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from asr.config import ConfigError
from asr.engines.checkpoints.json_files import read_table
from asr.engines.checkpoints.torch_file import read_torch_file

READABLE = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor, mapped and never written, and the file it lies in."""

    tensor: Tensor
    file: Path


def read_tensors(folder: Path, names: Sequence[str]) -> dict[str, Stored]:
    """The tensors of the first of `names` that `folder` has; raises ConfigError where it has none.

    names: of files, or of indexes (`….index.json`) of several.
    """
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise ConfigError(f"{str(folder)!r} has no weights: it has neither {' nor '.join(names)}")
    if file.name.endswith(".index.json"):
        found = _read_shards(file)
    else:
        found = {name: Stored(tensor, file) for name, tensor in _read_file(file)}
    for name, stored in found.items():
        if stored.tensor.dtype not in READABLE:
            raise ConfigError(
                f"{str(stored.file)!r}: {name} is {str(stored.tensor.dtype).removeprefix('torch.')}; "
                "float32, float16 and bfloat16 can be read: save the model in one of them"
            )
    return found


def _read_shards(index: Path) -> dict[str, Stored]:
    wanted = read_table(index).get("weight_map")
    if not isinstance(wanted, dict) or not all(_is_file_name(each) for each in wanted.values()):
        raise ConfigError(f"{str(index)!r} must hold a weight_map from tensors to files of its folder")
    shards: dict[str, dict[str, Tensor]] = {}
    for name in sorted(set(wanted.values())):
        file = index.parent / name
        if not file.is_file():
            raise ConfigError(f"{str(file)!r} is missing, {index.name} names it: download the folder whole")
        shards[name] = dict(_read_file(file))
    for tensor, name in wanted.items():
        if tensor not in shards[name]:
            raise ConfigError(f"{str(index.parent / name)!r} lacks {tensor}: {index.name} puts it there")
    return {tensor: Stored(shards[name][tensor], index.parent / name) for tensor, name in wanted.items()}


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name == Path(name).name


def _read_file(file: Path) -> Iterator[tuple[str, Tensor]]:
    if file.suffix == ".safetensors":
        yield from _read_safetensors(file)
        return
    content = read_torch_file(file, repr(str(file)))
    if not isinstance(content, dict) or not all(isinstance(each, Tensor) for each in content.values()):
        raise ConfigError(f"{str(file)!r} must hold tensors by name, as transformers writes them")
    yield from content.items()


def _read_safetensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  # it is no mapping
                yield name, tensors.get_tensor(name)
    except (SafetensorError, OSError, KeyError, ValueError) as error:  # a type that torch lacks is a KeyError
        raise ConfigError(
            f"{str(file)!r} is no whole safetensors file ({str(error).splitlines()[0]}): download it again"
        ) from error
