#!/usr/bin/env python3
"""What a batch costs beside plain requests, and what it costs the others.

1. The same 10 s files through `clients/jobs.py submit --wait` and through `clients/bulk_request.py`, in turn,
   uploads and fetching included: how much of the throughput remains? At least 90 % is wanted.
2. A 3 s clip every two seconds, alone and beside a batch with thousands of lines: its 95th percentile may
   grow by one batch, which is what the worker has at work at once, at the rate it keeps up.

Real speech; --model is a checkpoint that hears something in it.

    python benchmarks/job_costs.py throughput --model tiny.en
    python benchmarks/job_costs.py latency --model tiny.en
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openai
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from asr.constants import SAMPLE_RATE  # noqa: E402
from benchmarks import report  # noqa: E402
from benchmarks.closed_loop import wav  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.seeded import speech  # noqa: E402
from tests.live.faults.stack import Gateway  # noqa: E402
from tests.servers import Server, start_server  # noqa: E402

FILE_S, CLIP_S = 10.0, 3.0
PHASES = ("uploading", "validating", "lines", "finishing", "fetching")  # of a batch
STEP_S = 1.7  # from the beginning of one file to the next one's, so that no two are the same
EVERY_S = 2.0
MIN_SHARE = 0.9
ENDPOINT: Any = "/v1/audio/transcriptions"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=["throughput", "latency"])
    parser.add_argument("--model", default=str(ROOT / "whisper-models" / "demo.pt"), help="a checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--files", type=int, default=300, help="of a round")
    parser.add_argument("--rounds", type=int, default=2, help="of each way")
    parser.add_argument("--lines", type=int, default=2_000, help="of the batch beside the clips")
    parser.add_argument("--clips", type=int, default=25, help="alone, and again beside the batch")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    found = conditions()
    measure = throughput if given.part == "throughput" else latency
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), given) as site:
        data, text = measure(site, given)
    name = f"jobs-{given.part}"
    text = f"{text}\n\n{conditions_text(found)}"
    report.hand_over(name, {"conditions": found, **data}, text, keep=not given.no_publish)
    return 0 if data["good"] else 1


@dataclass(frozen=True, slots=True)
class Site:
    folder: Path  # for files
    server: Server
    gateway: Gateway


@contextmanager
def running(folder: Path, given: argparse.Namespace) -> Iterator[Site]:
    """A warm server with the settings of `config/`, and a gateway with jobs before it."""
    config = {"handler": {"engine": {"threads": given.threads}}}
    server = start_server(Path(given.model), folder / "server", model_config=config)
    try:
        gateway = Gateway(folder, [server], GATEWAY_JOBS__DIRECTORY=str(folder / "jobs"))
        try:
            gateway.wait_until(gateway.is_ready, "ready")
            make_files(folder / "warm", 32)
            by_requests(folder / "warm", gateway)
            yield Site(folder, server, gateway)
        finally:
            gateway.stop()
    finally:
        server.stop()


def make_files(folder: Path, count: int) -> None:
    """Files of FILE_S seconds of speech, each another piece."""
    folder.mkdir()
    pcm = speech(FILE_S + STEP_S * count)
    for number in range(count):
        start = round(number * STEP_S * SAMPLE_RATE)
        body = wav(pcm[start : start + round(FILE_S * SAMPLE_RATE)])
        (folder / f"{number:04}.wav").write_bytes(body)


def throughput(site: Site, given: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Seconds of audio per second of each way, the ways in turn."""
    rates: dict[str, list[float]] = {"requests": [], "batch": []}
    phases: list[list[float]] = []
    folder = site.folder
    make_files(folder / "files", given.files)
    for number in range(given.rounds):
        for name in rates:
            # another folder each time: an Idempotency-Key is made of a file's path
            files = (folder / "files").rename(folder / f"{name}-{number}")
            begun = time.perf_counter()
            if name == "batch":
                phases.append(by_batch(files, site.gateway))
            else:
                by_requests(files, site.gateway)
            rates[name].append(FILE_S * given.files / (time.perf_counter() - begun))
            print(f"{name}, round {number}: {rates[name][-1]:.1f} audio s per s", file=sys.stderr, flush=True)
            files.rename(folder / "files")
    spread = {name: report.Spread.of(found) for name, found in rates.items()}
    share = spread["batch"].median / spread["requests"].median
    rows = [
        ["`bulk_request.py --concurrency 16`", spread["requests"].text(1), ""],
        ["`jobs.py submit --wait`", spread["batch"].text(1), f"{100 * share:.0f} %"],
    ]
    headers = [f"{given.files} files of {FILE_S:g} s", "audio s per s", "of the requests'"]
    spent = "; ".join(
        ", ".join(f"{name} {seconds:.0f} s" for name, seconds in zip(PHASES, found, strict=True))
        for found in phases
    )
    text = f"{report.table(headers, rows)}\n\nWhere a batch's time went, to the second: {spent}."
    return {"rates": rates, "phases": phases, "good": share >= MIN_SHARE}, text


def by_requests(files: Path, gateway: Gateway) -> None:
    out = files.parent / f"{files.name}-out"
    call("bulk_request.py", str(files), "--to", str(out), "--concurrency", "16", gateway=gateway)


def by_batch(files: Path, gateway: Gateway) -> list[float]:
    """Seconds of each of PHASES; the batch's own times are whole seconds."""
    out = files.parent / f"{files.name}-out"
    asked = ("submit", str(files), "--wait", "--format", "verbose_json", "--out", str(out))
    begun = time.time()
    said = call("jobs.py", *asked, gateway=gateway)
    ended = time.time()
    if (got := len(list(out.iterdir()))) != (sent := len(list(files.iterdir()))):
        raise RuntimeError(f"{sent} files came to {got} answers")
    batch = requests.get(f"{gateway.url}/v1/batches/{said.split()[0]}", timeout=30).json()
    moments = [batch[f"{name}_at"] for name in ("created", "in_progress", "finalizing", "completed")]
    return np.diff([begun, *moments, ended]).tolist()


def call(program: str, *arguments: str, gateway: Gateway) -> str:
    """What the program printed."""
    command = [sys.executable, str(ROOT / "clients" / program), *arguments, "--language", "en"]
    done = subprocess.run(
        [*command, "--url", f"{gateway.url}/v1"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout


def latency(site: Site, given: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Seconds of a clip alone and beside a batch, which is cancelled at the end."""
    clip = wav(speech(CLIP_S))
    alone = clip_seconds(site.gateway, clip, given.clips)
    with openai.OpenAI(api_key="none", base_url=f"{site.gateway.url}/v1") as client:
        batch_id = submitted(client, wav(speech(FILE_S)), given.lines)
        wait_until_some_are_done(client, batch_id)
        begun, before = time.perf_counter(), num_windows(site.server)
        beside = clip_seconds(site.gateway, clip, given.clips)
        windows_per_s = (num_windows(site.server) - before) / (time.perf_counter() - begun)
        counts = client.batches.retrieve(batch_id).request_counts
        assert counts is not None and counts.completed < counts.total, "the batch ended too soon"
        client.batches.cancel(batch_id)
    more_s, batch_s = p95(beside) - p95(alone), site.server.describe()["batchSize"] / windows_per_s
    rows = [[name, *(f"{one:.2f}" for one in (np.median(found), p95(found), max(found)))]
            for name, found in (("alone", alone), (f"beside {given.lines:,} lines", beside))]  # fmt: skip
    text = report.table([f"{CLIP_S:g} s clip every {EVERY_S:g} s", "p50, s", "p95, s", "slowest, s"], rows)
    text += (
        f"\n\n{more_s:.2f} s more at p95. Meanwhile {windows_per_s:.1f} windows a second were decoded, so a "
        f"batch took {batch_s:.2f} s. {given.clips} clips each."
    )
    return {"alone": alone, "beside": beside, "batch_s": batch_s, "good": more_s <= batch_s}, text


def clip_seconds(gateway: Gateway, clip: bytes, count: int) -> list[float]:
    """Seconds of each clip."""
    found = []
    form = {"model": "whisper-1", "language": "en"}
    with requests.Session() as session:
        for _ in range(count):
            begun = time.perf_counter()
            answer = session.post(
                f"{gateway.url}{ENDPOINT}", data=form, files={"file": ("a.wav", clip)}, timeout=120
            )
            answer.raise_for_status()
            found.append(time.perf_counter() - begun)
            time.sleep(max(0.0, EVERY_S - found[-1]))
    return found


def submitted(client: openai.OpenAI, audio: bytes, count: int) -> str:
    """The id of a batch of this number of lines over one file."""
    file_id = client.files.create(file=("a.wav", audio), purpose="user_data").id
    body = {"model": "whisper-1", "file_id": file_id, "language": "en"}
    lines = [
        {"custom_id": str(number), "method": "POST", "url": ENDPOINT, "body": body} for number in range(count)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    lines_id = client.files.create(file=("lines.jsonl", text), purpose="batch").id
    made = client.batches.create(input_file_id=lines_id, endpoint=ENDPOINT, completion_window="24h")
    return made.id


def wait_until_some_are_done(client: openai.OpenAI, batch_id: str) -> None:
    while True:
        counts = client.batches.retrieve(batch_id).request_counts
        if counts is not None and counts.completed:
            return
        time.sleep(0.1)


def num_windows(server: Server) -> float:
    """Windows that the worker has decoded."""
    text = requests.get(f"{server.metrics}/metrics", timeout=30).text
    return sum(float(one) for one in re.findall(r"^whisper_windows_total\S* (\S+)$", text, re.MULTILINE))


def p95(seconds: list[float]) -> float:
    return float(np.quantile(seconds, 0.95))


if __name__ == "__main__":
    sys.exit(main())
