"""A model by its name on Hugging Face: downloaded where the network allows, else taken from the cache."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path

from asr.checkpoint_files import (
    ADAPTER_WEIGHTS,
    CTRANSLATE2_WEIGHTS,
    FORMATS,
    HUGGING_FACE_WEIGHTS,
    INDEX,
    ONNX_FILES,
    TOKENS_FILE,
    kind_of,
    weight_files,
)
from scripts.serve.serve_error import ServeError

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ANSWER_S = 10.0
FAMILY_FILES = (TOKENS_FILE, "bpe.vocab")
SMALL_FILES = ("*.json", "vocabulary.txt")  # beside the weights: sizes, tokens, lists


def is_name(model: str) -> bool:
    """Whether `model` reads as `org/name`, and not as the path of a file."""
    return NAME.fullmatch(model) is not None and not model.endswith((".pt", ".pth"))


def place(name: str) -> Path:
    """Where the model lies in the cache: its newest snapshot, or the folder that will hold it."""
    from huggingface_hub import constants  # imported where a name needs it: it takes 0.3 s

    home = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    return snapshot(home) or home


def snapshot(home: Path) -> Path | None:
    """The snapshot of `main` in a folder of the cache, models--org--name; None where there is none."""
    try:
        revision = (home / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    folder = home / "snapshots" / revision
    return folder if revision and folder.is_dir() else None


def fetch(name: str, say: Callable[[str], None]) -> Path:
    """The folder of the model `name`, downloaded or from the cache; raises ServeError without either."""
    import httpx2  # huggingface_hub lets its errors through
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        listed = HfApi().model_info(name, timeout=ANSWER_S).siblings or []
        chosen = _wanted(name, [each.rfilename for each in listed])
        say(f"downloading {name} from Hugging Face into its cache, {place(name)}")
        return Path(snapshot_download(name, allow_patterns=chosen))
    except RepositoryNotFoundError as error:
        return _cached(name, "Hugging Face has no such model, or hides it from you (HF_TOKEN)", error, say)
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        return _cached(name, f"Hugging Face does not answer ({_first_line(error)})", error, say)


def _cached(name: str, reason: str, error: Exception, say: Callable[[str], None]) -> Path:
    folder = place(name)
    if kind_of(folder) is None or not all(file.is_file() for file in weight_files(folder)):
        raise ServeError(f"{name}: {reason}; there is no copy in its cache, {folder}, either") from error
    say(f"{name}: {reason}; taking the copy in its cache, {folder}")
    return folder


def _wanted(name: str, files: Iterable[str]) -> list[str]:
    """The files of a repository that are needed: one set of weights, and what is small beside it."""
    top = sorted(file for file in files if "/" not in file)
    for weights in (CTRANSLATE2_WEIGHTS, *HUGGING_FACE_WEIGHTS, *ADAPTER_WEIGHTS):
        if weights in top:
            whole = Path(weights.removesuffix(INDEX))
            shards = f"{whole.stem}-*{whole.suffix}" if weights.endswith(INDEX) else weights
            return [file for file in top if any(fnmatch(file, each) for each in (shards, *SMALL_FILES))]
    if TOKENS_FILE in top:  # a model for sherpa-onnx, in eight bits where there is a choice
        onnx = [file for file in top if fnmatch(file, ONNX_FILES)]
        small = {file.replace(".int8.onnx", ".onnx") for file in onnx if file.endswith(".int8.onnx")}
        return [
            *(file for file in onnx if file not in small),
            *(file for file in top if file in FAMILY_FILES),
        ]
    raise ServeError(f"{name} on Hugging Face has no weights that can be read: it must be {FORMATS}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
