"""Writes a training checkpoint as an OpenAI-format Whisper checkpoint, small enough to commit."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from whisper.model import Whisper

from training.network import dimensions
from training.vocabulary_rows import NUM_TOKENS, used_tokens

EMBEDDING = "decoder.token_embedding.weight"
PREFIX = "whisper."


def full_state(checkpoint: Path) -> dict[str, Tensor]:
    """State of upstream's `Whisper`, all 51,865 rows; float16."""
    network = torch.load(checkpoint, map_location="cpu", weights_only=True)["network"]
    state = {name.removeprefix(PREFIX): w for name, w in network.items() if name.startswith(PREFIX)}
    trained = state[EMBEDDING]
    rows = trained[-1:].repeat(NUM_TOKENS, 1)
    rows[torch.tensor(used_tokens())] = trained[:-1]
    state[EMBEDDING] = rows
    template = Whisper(dimensions(NUM_TOKENS))
    template.load_state_dict(state, strict=False)
    return {name: w.half().contiguous() for name, w in template.state_dict().items()}


def trained_state(path: Path) -> dict[str, Tensor]:
    """Weights of the training's `Whisper`, float32, from an exported file: the reverse of `full_state`."""
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state_dict"]
    state = {name: w.float() for name, w in state.items()}
    rows, used = state[EMBEDDING], used_tokens()
    unused = next(token for token in range(NUM_TOKENS) if token not in set(used))
    state[EMBEDDING] = torch.cat([rows[torch.tensor(used)], rows[unused : unused + 1]])
    return state


def deflated(archive: bytes) -> bytes:
    """The same zip with every entry compressed; `torch.load` reads it unchanged."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for name in source.namelist():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, source.read(name), compresslevel=9)
    return target.getvalue()


def export(checkpoint: Path, path: Path) -> str:
    """Writes `path` (and `<path>.sha256` beside it); returns the SHA-256 in hexadecimal."""
    plain = io.BytesIO()
    torch.save({"dims": asdict(dimensions(NUM_TOKENS)), "model_state_dict": full_state(checkpoint)}, plain)
    data = deflated(plain.getvalue())
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
    digest = hashlib.sha256(data).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    return digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("path", type=Path, nargs="?", default=Path("whisper-models/demo.pt"))
    given = parser.parse_args()
    print(export(given.checkpoint, given.path), f"{given.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
