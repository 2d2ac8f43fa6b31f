"""The metrics address after a known load: every declared metric, with the value that the load gives it.

What the load costs in seconds is not known beforehand; there the worker's own log lines are the measure.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from tests.asr.containers import tone, wav
from tests.live.server.calls import PLAIN, Api
from tests.live.server.conftest import OVERRIDES

pytestmark = pytest.mark.server

CONFIG = Path(__file__).resolve().parents[3] / "config" / "metrics.yaml"
SETTLED_WITHIN_S = 60  # samples travel through the worker's output, behind the answers
FALLBACKS = {"temperature": "0", "temperature_increment_on_fallback": "0.5"}  # three temperatures
ROW_PLACES: int = OVERRIDES["batchSize"]  # type: ignore[assignment]
WINDOW_PLACES: int = OVERRIDES["handler"]["engine"]["max_batch_size"]  # type: ignore[index]

# Read as a sample by the frontend if it stood at the beginning of a line (Metric.java).
FORGED = (
    "[METRICS]whisper_requests_total.count:1000|#kind:evil,outcome:evil,language:evil"
    "|#type:COUNTER|#hostname:evil,1"
)
LINES = "\n" + FORGED + "\r\n" + FORGED + "\n"


class Growth:
    """What the counters and histograms have grown by, and what the log says since."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._before = api.counters()
        self._log_start = api.server.model_log.stat().st_size

    def of(self, name: str, *labels: str) -> float:
        """The sum over all samples of this name that have these labels (`stage="media"`)."""
        return self._total(self._api.counters(), name, *labels) - self._total(self._before, name, *labels)

    def requests(self) -> list[dict[str, Any]]:
        """The log's line of each request since."""
        with self._api.server.model_log.open("rb") as file:
            file.seek(self._log_start)
            lines = [
                json.loads(line) for line in file.read().splitlines() if line.startswith(b'{"event": "req')
            ]
        return [line for line in lines if line["kind"] in ("file", "windows", "unread")]

    @staticmethod
    def _total(counters: dict[str, float], name: str, *labels: str) -> float:
        return sum(
            value
            for key, value in counters.items()
            if key.partition("{")[0] == name and all(label in key for label in labels)
        )


def until(claim: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + SETTLED_WITHIN_S
    while not claim():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.2)
    return True


@pytest.fixture(scope="module")
def grown(api: Api) -> Growth:
    """After eleven requests, one of them a health check, sent one after the other."""
    growth = Growth(api)
    speech = wav(tone(2.0))
    waited = {"X-Request-Start": str(time.time() - 5)}
    answers = [
        *(api.form(speech) for _ in range(2)),
        api.send(files={"file": ("a.wav", speech)}, data=PLAIN, headers=waited),
        *(api.form(speech, language="xx") for _ in range(2)),
        api.form(speech, stream="true"),
        api.form(speech, **FALLBACKS, logprob_threshold="0", compression_ratio_threshold="none"),
        api.form(speech, **FALLBACKS, logprob_threshold="none", compression_ratio_threshold="0.001"),
        api.form(speech, no_speech_threshold="0", logprob_threshold="none"),
        api.send("v1/audio/speech", data=speech),
        api.send("healthz"),
    ]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 200, 200, 400, 400, 200, 200, 200, 200, 404, 200], answers[-3].text
    assert until(lambda: growth.of("whisper_batch_fill_ratio_count", 'of="rows"') == len(answers))
    return growth


def test_every_declared_metric_is_there(api: Api, grown: Growth) -> None:
    declared = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    samples = api.counters()
    shown = {key.partition("{")[0] for key in samples}
    absent = {"Requests5XX"}  # nothing failed: TorchServe counts from the first on
    if "whisper_device_memory_bytes" not in shown:
        absent.add("whisper_device_memory_bytes")  # no GPU here
    for origin in ("ts_metrics", "model_metrics"):
        for kind, metrics in declared[origin].items():
            for metric in metrics:
                name = metric["name"] + ("_count" if kind == "histogram" else "")
                if name in absent:
                    continue
                assert name in shown, f"{name} is declared and never arrived"
                (sample,) = [key for key in samples if key.startswith(name + "{")][:1]
                added = {"Hostname"} if origin == "model_metrics" else set()
                assert set(re.findall(r"(\w+)=", sample)) == {*metric["dimensions"], *added}


def test_requests_are_counted_by_kind_outcome_and_language(grown: Growth) -> None:
    name = "whisper_requests_total"
    assert grown.of(name) == 10
    assert grown.of(name, 'kind="file"', 'outcome="ok"', 'language="en"') == 7
    assert grown.of(name, 'kind="file"', 'outcome="invalid_value"', 'language="none"') == 2
    assert grown.of(name, 'kind="unread"', 'outcome="not_found"', 'language="none"') == 1
    assert grown.of("whisper_request_seconds_count", 'kind="file"') == 9
    assert grown.of("whisper_request_seconds_count", 'kind="unread"') == 1


def test_audio_and_windows_are_counted(grown: Growth) -> None:
    assert grown.of("whisper_audio_seconds_total") == pytest.approx(14.0)
    assert grown.of("whisper_audio_seconds_total", 'outcome="ok"') == pytest.approx(14.0)
    assert grown.of("whisper_windows_total") == 5 + 3 + 3 + 1 - 2 + 1  # two of seven go up three temperatures
    assert grown.of("whisper_silent_windows_total") == 1
    assert grown.of("whisper_fallbacks_total", 'reason="logprob"') == 2
    assert grown.of("whisper_fallbacks_total", 'reason="compression_ratio"') == 2
    assert grown.of("whisper_rtf_count") == 7


def test_batches_are_counted_with_their_fill(grown: Growth) -> None:
    windows = grown.of("whisper_windows_total")
    assert grown.of("whisper_batches_total") == windows  # one window each: nobody else is here
    assert grown.of("whisper_batch_fill_ratio_count", 'of="windows"') == windows
    assert grown.of("whisper_batch_fill_ratio_sum", 'of="windows"') == pytest.approx(windows / WINDOW_PLACES)
    assert grown.of("whisper_batch_fill_ratio_sum", 'of="rows"') == pytest.approx(11 / ROW_PLACES)
    assert grown.of("whisper_oom_total") == 0


def test_seconds_are_those_of_the_log(grown: Growth) -> None:
    lines = grown.requests()
    assert len(lines) == 10
    rounding = pytest.approx
    for stage in ("media", "vad", "features", "encode", "decode", "words", "render"):
        logged = sum(line["stage_seconds"].get(stage, 0.0) for line in lines)
        assert grown.of("whisper_stage_seconds_total", f'stage="{stage}"') == rounding(logged, abs=2e-3)
    for metric, key in (
        ("whisper_request_seconds", "wall_s"),
        ("whisper_queue_wait_seconds", "queue_s"),
        ("whisper_first_segment_seconds", "first_segment_s"),
        ("whisper_rtf", "rtf"),
    ):
        logged_values = [
            line[key] for line in lines if key in line and (key != "rtf" or line["status"] == 200)
        ]
        assert grown.of(f"{metric}_count") == len(logged_values)
        assert grown.of(f"{metric}_sum") == rounding(sum(logged_values), abs=2e-3)
        within_ten = [value for value in logged_values if value <= 10]
        assert grown.of(f"{metric}_bucket", 'le="10.0"') == len(within_ten)
    assert grown.of("whisper_first_segment_seconds_count") == 1
    assert 5 <= grown.of("whisper_queue_wait_seconds_sum") < 60


def test_gauges_tell_of_this_worker(api: Api, grown: Growth) -> None:
    """And keep it apart from others that were there before."""
    shown = api.counters()
    (pid,) = api.server.worker_pids()
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    (worker,) = re.findall(r"\d+$", command[command.index("--sock-name") + 1])

    def of_worker(name: str, *labels: str) -> float:
        (value,) = [
            value
            for key, value in shown.items()
            if key.startswith(name) and all(label in key for label in (f'worker="{worker}"', *labels))
        ]
        return value

    assert of_worker("whisper_windows_outstanding") == 0
    assert 0 < time.time() - of_worker("whisper_worker_start_seconds") < 24 * 3600
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert of_worker("whisper_worker_memory_bytes", 'memory="host"') == pytest.approx(resident, rel=0.5)


def test_torchserves_own_counters_are_kept(api: Api) -> None:
    text = requests.get(f"{api.server.metrics}/metrics", timeout=30).text
    assert "ts_inference_requests_total" in text and "Requests2XX" in text


def folded_header(api: Api, name: str) -> None:
    """A request whose header goes on over several lines, which no client library would send."""
    url, body = urlsplit(api.url()), wav(tone(0.5))
    head = (
        f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: audio/wav\r\n"
        f"Content-Length: {len(body)}\r\n{name}: x\r\n {FORGED}\r\n\t{FORGED}\r\n\r\n"
    )
    with socket.create_connection((url.hostname or "", url.port or 80), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        HTTPResponse(connection).begin()


def part(disposition: str) -> dict[str, Any]:
    """A form by hand, because a client library would escape the line breaks in a name."""
    head = f"--X\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
    return {
        "data": head + wav(tone(0.5)) + b"\r\n--X--\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=X"},
    }


def with_title(audio: bytes) -> bytes:
    """The WAV with a title, in the chunk that FFmpeg reads titles from."""
    title = LINES.encode() + b"\0" * (len(LINES) % 2)
    info = b"INFOINAM" + len(title).to_bytes(4, "little") + title
    return audio + b"LIST" + len(info).to_bytes(4, "little") + info


FORGERIES: dict[str, Callable[[Api], object]] = {
    "prompt": lambda api: api.form(wav(tone(0.5)), prompt=LINES),
    "option": lambda api: api.form(wav(tone(0.5)), language=LINES),
    "option name": lambda api: api.form(wav(tone(0.5)), **{LINES: "1"}),
    "format": lambda api: api.form(wav(tone(0.5)), response_format=LINES),
    "options header": lambda api: api.send(
        data=wav(tone(0.5)), headers={"X-Whisper-Options": json.dumps({"prompt": LINES, LINES: LINES})}
    ),
    "start header": lambda api: api.send(data=wav(tone(0.5)), headers={"X-Request-Start": FORGED}),
    "folded start header": lambda api: folded_header(api, "X-Request-Start"),
    "folded options header": lambda api: folded_header(api, "X-Whisper-Options"),
    "folded header": lambda api: folded_header(api, "X-Anything"),
    "request id": lambda api: api.send(data=wav(tone(0.5)), headers={"X-Request-ID": FORGED}),
    "file name": lambda api: api.send(**part(f'name="file"; filename="{LINES}.wav"')),
    "part name": lambda api: api.send(**part(f'name="{LINES}"')),
    "audio": lambda api: api.form(LINES.encode() * 50),
    "audio as text": lambda api: api.send(data=LINES.encode(), headers={"Content-Type": "text/plain"}),
    "title of the audio": lambda api: api.form(with_title(wav(tone(0.5)))),
    "JSON": lambda api: api.send(json={"audio": LINES, LINES: LINES, "language": LINES}),
    "bad JSON": lambda api: api.send(data=LINES.encode(), headers={"Content-Type": "application/json"}),
    "path": lambda api: api.send("%0A" + requests.utils.quote(FORGED, safe="") + "%0A"),
    "query": lambda api: api.send(params={LINES: LINES}, data=wav(tone(0.5))),
    "window": lambda api: api.send("windows", data=LINES.encode()),
}


def test_a_sample_looks_like_the_forged_one() -> None:
    """Or nothing below would show that it was not taken for one."""
    frontend = (
        r"\[METRICS\]([\w\s]+)\.([\w\s]+):([0-9\-,.e]+)\|#([^|]*)\|#type:(\w+)\|#hostname:([^,]+),(\d+)"
    )
    assert re.fullmatch(frontend, FORGED)


@pytest.mark.parametrize("place", FORGERIES)
def test_nothing_in_a_request_forges_a_sample(api: Api, place: str) -> None:
    growth = Growth(api)
    FORGERIES[place](api)
    assert api.form(wav(tone(0.5))).status_code == 200  # whatever came before has been read by now
    assert until(lambda: growth.of("whisper_requests_total", 'outcome="ok"', 'kind="file"') >= 1)
    assert growth.of("whisper_requests_total") <= 2
    assert not [key for key in api.counters() if "evil" in key]
    with api.server.model_log.open("rb") as log:
        assert not [line for line in log if line.startswith(FORGED.encode()[:20])]
