"""`python -m fuzz --minutes 10`: every target for its share of the time, one after the other.

    python -m fuzz --minutes 10
    python -m fuzz --minutes 60 --only media --keep fuzz-run
    python -m fuzz --reproduce fuzz-run/media/crash-…  --only media

Exit status: 0 nothing found, 1 a finding, whose input is kept and named.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("media", "request_options", "multipart")
MEMORY_MB = 3_000  # of a target's process; more is a finding
INPUT_S = 20  # of one input; more is a finding
START_S = 120  # instrumenting the modules
DONE = re.compile(r"Done (\d+) (?:runs )?in (\d+) second")
COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
FINDINGS = ("crash-*", "timeout-*", "oom-*", "leak-*")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one target's run."""

    target: str
    executions: int
    seconds: float
    coverage: int  # edges of instrumented code
    corpus: int  # inputs that each reached something new
    findings: tuple[str, ...]  # files with the inputs
    reason: str = ""  # of the first finding


def run(target: str, seconds: int, folder: Path) -> Outcome:
    """Runs one target; its findings stay in `folder`."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    module = importlib.import_module(f"fuzz.{target}")
    for number, seed in enumerate(module.seeds()):
        (corpus / f"seed-{number:02}").write_bytes(seed)
    words = folder / "words.dict"
    words.write_text("".join(f'"{escaped(word)}"\n' for word in module.WORDS))
    started = time.monotonic()
    command = [
        sys.executable, "-m", "fuzz.one", target, str(corpus), f"-dict={words}", f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB}", f"-timeout={INPUT_S}", f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]  # fmt: skip
    log = folder / "log.txt"
    with log.open("wb") as stream:
        status = subprocess.run(
            command, cwd=ROOT, stdout=stream, stderr=stream, timeout=seconds + START_S + INPUT_S
        ).returncode
    return outcome(target, folder, log.read_text("utf-8", "replace"), time.monotonic() - started, status)


def outcome(target: str, folder: Path, log: str, seconds: float, status: int) -> Outcome:
    """The numbers that libFuzzer printed, and the files that it left."""
    done = DONE.search(log)
    executions = (
        int(done[1]) if done else max((int(n) for n in re.findall(r"^#(\d+)\t", log, re.M)), default=0)
    )
    covered = COVERAGE.findall(log)
    findings = tuple(sorted(str(file) for pattern in FINDINGS for file in folder.glob(pattern)))
    reason = ""
    if findings or status:
        lines = [
            line for line in log.splitlines() if re.match(r"(\w+\.)*\w*(Error|Exception)\b|==\d+==", line)
        ]
        reason = (lines or log.splitlines()[-1:] or ["no output"])[0][:300]
        findings = findings or (f"exit status {status}, see {folder}/log.txt",)
    edges, corpus = (int(covered[-1][0]), int(covered[-1][2])) if covered else (0, 0)
    return Outcome(target, executions, round(seconds, 1), edges, corpus, findings, reason)


def escaped(word: bytes) -> str:
    """A word as libFuzzer's dictionaries spell it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word
    )


def reproduce(target: str, file: Path) -> int:
    """Runs one input without the fuzzer: its traceback is the finding."""
    importlib.import_module(f"fuzz.{target}").check(file.read_bytes())
    print(f"{file}: nothing wrong")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Fuzz what reads strangers' bytes.", epilog=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=10, help="of all targets together")
    parser.add_argument("--only", choices=TARGETS, action="append", help="again for several")
    parser.add_argument("--keep", type=Path, help="corpus, logs and findings; a temporary folder without it")
    parser.add_argument("--reproduce", type=Path, metavar="INPUT", help="run this one input; needs --only")
    args = parser.parse_args()
    targets = args.only or list(TARGETS)
    if args.reproduce:
        return reproduce(targets[0], args.reproduce)
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is missing: pip install -r fuzz/requirements.txt", file=sys.stderr)
        return 1
    keep = args.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    found = False
    for target in targets:
        seconds = max(1, round(args.minutes * 60 / len(targets)))
        result = run(target, seconds, keep / target)
        print(json.dumps(asdict(result)), flush=True)
        found = found or bool(result.findings)
    print(f"corpus, logs and findings: {keep}", file=sys.stderr)
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
