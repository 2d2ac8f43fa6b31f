"""A checkpoint in another runtime's format: converted once, kept in a cache."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.checkpoint_files import hub_model, sha256_of
from asr.config import ConfigError
from asr.engines.checkpoints.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

DIGEST_CHARS = 16


@dataclass(frozen=True, slots=True)
class Format:
    """What is written for a checkpoint, and how to recognise it."""

    folder: str  # of the cache: "ctranslate2"
    layout: int  # raised when `write` writes something else for the same checkpoint
    last_file: str  # a folder without it was not written to its end
    write: Callable[[Path], None]


def converted_model(checkpoint: Checkpoint, sources: Sequence[Path], target: Format) -> Path:
    """Folder of the converted model, made when it is not there yet; raises ConfigError when it cannot be.

    sources: the checkpoint, then its adapter if it has one. The folder lies in `.<folder>/` beside the
    checkpoint or, where that cannot be written, in the user's cache, under a SHA-256 of weights and alignment
    heads: another file of the same name is another model.
    """
    path, digest = sources[0], sha256_of(sources)
    digest.update(repr(checkpoint.alignment_heads).encode())  # a folder has them in another file
    if checkpoint.suppress_tokens is not None:
        digest.update(repr(checkpoint.suppress_tokens).encode())
    name = f"{checkpoint.name}-{digest.hexdigest()[:DIGEST_CHARS]}-{target.layout}"
    homes = _homes(path, target.folder)
    for home in homes:
        if (home / name / target.last_file).is_file():
            return home / name
    reasons = []
    for home in homes:
        try:
            return _write(home, name, target)
        except OSError as error:
            reasons.append(str(error))
    raise ConfigError(f"engine.model {str(path)!r} cannot be converted: {'; '.join(reasons)}")


def _homes(path: Path, folder: str) -> list[Path]:
    """Where converted models may lie, best first."""
    # not into Hugging Face's cache, whose folders are all taken for revisions
    homes = [] if hub_model(path.absolute()) else [path.parent / f".{folder}"]
    with contextlib.suppress(RuntimeError):  # a user without a home
        homes.append(Path.home() / ".cache" / "whisper-torchserve" / folder)
    return homes or [path.parent / f".{folder}"]


def _write(home: Path, name: str, target: Format) -> Path:
    """The model in its folder below `home`; nobody ever sees half of it."""
    home.mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=home))
    try:
        target.write(unfinished)
        unfinished.chmod(0o755)  # mkdtemp's folders are their owner's alone
        try:
            unfinished.rename(home / name)
        except OSError:
            if not (home / name / target.last_file).is_file():  # else another worker was first
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    logger.info("model converted to %s", home / name)
    return home / name
