"""Ranges, mixes, surroundings, pictures and comparisons of the load programs."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

import bulk_request
import client_ceiling
import request_train
from load_kit.compare import BETTER, SAME, UNCLEAR, WORSE, compare, verdict_of
from load_kit.load import Clip, Job, LoadRun, LoadRunner, Outcome, Reply
from load_kit.load_progress import LoadProgress
from load_kit.load_report import level_document, make_report
from load_kit.mix import RATE, VARIANTS, decode, make_mix, parse_mix
from load_kit.schedule import at_random, parse_levels, poisson_arrivals, poisson_count
from load_kit.surroundings import config_hash, machine, model_line, shown_command
from tests.clients.fake_server import DURATION_S, FakeServer, openai_error, status, write_wav
from tests.clients.test_programs import call
from whisper_client import BadArgument, WhisperClient, openai_url

GOOD = Reply(200, b'{"text": "hi"}', 0.0, 1, "application/json")


# -- levels and schedules


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1:64:2x", (1, 2, 4, 8, 16, 32, 64)),
        ("1:10:2x", (1, 2, 4, 8)),
        ("2:10:4", (2, 6, 10)),
        ("0.1:1:0.3", (0.1, 0.4, 0.7, 1.0)),
        ("16,1,4,4", (1, 4, 16)),
        ("8", (8,)),
        ("5:5:1", (5,)),
    ],
)
def test_levels_of_a_range(text: str, levels: tuple[float, ...]) -> None:
    assert parse_levels(text) == levels


@pytest.mark.parametrize(
    "text",
    ["", "x", "1:2", "1:2:3:4", "2:1:1", "1:8:1x", "1:8:0", "0:8:2x", "-1,2", "1:1e9:1", "nan", "1,inf"],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(BadArgument, match="is no range"):
        parse_levels(text)


def test_a_count_of_arrivals_is_the_beginning_of_the_same_process() -> None:
    arrivals = poisson_arrivals(5, 20, 3)
    assert poisson_count(5, 30, 3) == pytest.approx(arrivals[:30])
    with pytest.raises(BadArgument, match="take less"):
        poisson_count(5, 10**9, 3)


def test_weights_are_shares() -> None:
    drawn = list(islice(at_random("ab", 1, [0.9, 0.1]), 5_000))
    assert drawn.count("a") / 5_000 == pytest.approx(0.9, abs=0.02)


def test_no_job_starts_after_the_duration() -> None:
    """Each takes a second of the hand clock: the third starts at 2 s, and a fourth would at 3 s."""
    time = 100.0

    def send(_: Clip) -> Reply:
        nonlocal time
        time += 1.0
        return GOOD

    endless = iter(lambda: Job(Clip(Path("a.wav"), 2.0)), None)
    run = LoadRunner(send, 1, now=lambda: time).run(endless, start_for_s=2.5)
    assert [outcome.sent_s for outcome in run.outcomes] == [0.0, 1.0, 2.0]


# -- mixes


def test_a_mix_is_cut_from_the_files_and_wraps(tmp_path: Path) -> None:
    samples = np.arange(RATE * 2, dtype=np.int16)
    soundfile.write(tmp_path / "two.wav", samples, RATE)
    short = write_wav(tmp_path / "as-it-is.wav", 0.5)
    mix = make_mix(parse_mix(f"3s:0.6,0.5s:0.2,{short}:0.2"), [tmp_path / "two.wav"], tmp_path)
    assert [clip.audio_s for clip in mix.clips] == [3.0] * VARIANTS + [0.5] * VARIANTS + [0.5]
    assert {clip.group for clip in mix.clips} == {"3s", "0.5s", "as-it-is.wav"}
    assert sum(mix.weights[:VARIANTS]) == pytest.approx(0.6) and sum(mix.weights) == pytest.approx(1)
    for number, clip in enumerate(mix.clips[:VARIANTS]):
        first = number * len(samples) // VARIANTS
        expected = np.resize(np.roll(samples, -first), 3 * RATE)
        assert np.array_equal(decode([clip.path], 3), expected)


@pytest.mark.parametrize("text", ["", "3s", "3s:0", "3s:x", "0s:1", ":1", "3s:0.5,,", "3s:inf"])
def test_what_is_no_mix(text: str) -> None:
    with pytest.raises(BadArgument, match="is no share of a mix"):
        parse_mix(text)


def test_a_mix_needs_sound(tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no audio at all")
    with pytest.raises(BadArgument, match="cannot read sound from"):
        make_mix(parse_mix("3s:1"), [noise], tmp_path)
    with pytest.raises(BadArgument, match=r"no file gone\.wav"):
        make_mix(parse_mix("gone.wav:1"), [], tmp_path)


# -- programs


def test_a_sweep_reports_each_level(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.description = {"name": "demo", "sha256": "abc", "runs_on": "cpu"}
    write_wav(tmp_path / "source.wav", 2.0)
    result = tmp_path / "result.json"
    arguments = ["--concurrency-range", "1:4:2x", "--count", 6, "--mix", "1s:0.5,2s:0.5", "--json", result]
    assert (
        call(bulk_request, tmp_path / "source.wav", "--url", server.url, *arguments, "--token", "hush") == 0
    )
    out, err = capsys.readouterr()
    assert (
        "concurrency  requests  failed" in out and "p99.9" in out and "demo (sha256 abc, runs_on cpu)" in out
    )
    assert "concurrency 4: 6 of 6 good" in err and "hush" not in out + err + result.read_text()
    document = json.loads(result.read_text())
    assert [level["level"] for level in document["levels"]] == [1, 2, 4]
    for level in document["levels"]:
        assert level["figures"]["requests"] == 6 and level["figures"]["audio_s"] == 6 * DURATION_S
        assert set(level["figures"]["latency_by_group_s"]) <= {"1s", "2s"}
        assert {outcome["group"] for outcome in level["outcomes"]} <= {"1s", "2s"}
    assert document["server"] == server.description
    assert document["client_machine"]["cpus"] >= 1 and document["config_sha256"]
    assert "--concurrency-range 1:4:2x" in document["command"] and "--token …" in document["command"]


def test_a_duration_bounds_each_level(server: FakeServer, clip: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    arguments = ["--url", server.url, "--concurrency", 2, "--duration", 0.3, "--json", result]
    assert call(bulk_request, clip, *arguments) == 0
    (level,) = json.loads(result.read_text())["levels"]
    assert level["figures"]["requests"] > 0
    assert all(outcome["sent_s"] < 5 for outcome in level["outcomes"])


def test_a_train_of_rates(server: FakeServer, clip: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    arguments = ["--rate-range", "50,100", "--count", 5, "--json", result, "--url", f"{server.root}/v1"]
    assert call(request_train, clip, *arguments, "--model", "large-v3") == 0
    document = json.loads(result.read_text())
    assert [(level["level"], level["figures"]["requests"]) for level in document["levels"]] == [
        (50, 5),
        (100, 5),
    ]
    assert {request.path for request in server.received} == {"/v1/audio/transcriptions"}
    assert {request.fields["model"][0] for request in server.received} == {"large-v3"}


def test_failures_are_told_by_level(
    server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.play(openai_error(400, "no such language"), status(503, Retry_After="0"))
    arguments = ["--concurrency-range", "1,2", "--count", 2, "--warm-up", 0, "--url", server.url]
    assert call(bulk_request, clip, *arguments) == 1
    out, err = capsys.readouterr()
    assert "at 1: failures        1 http 400" in out and "at 1: retries         1 http 503" in out
    assert "no such language" in err


def test_a_failure_is_shown_once_with_how_often(
    server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.default = openai_error(415, "no audio")
    assert call(bulk_request, clip, "--url", server.url, "--count", 7, "--warm-up", 0) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed:")]
    assert "no audio" in line and line.endswith(" (7 times)")


def test_the_live_line_fits_a_narrow_terminal() -> None:
    """With the time whole: a line that is cut loses the end of its figures."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with LoadProgress(console) as progress:
        progress.start("concurrency 64", 3)
        for number in range(3):
            progress.show(Outcome("a.wav", 0, 0, number + 1.5, 30.0, 503, "http 503" if number else None))
    assert isinstance(console.file, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    last = [line for line in re.split(r"[\r\n]+", shown) if line.strip()][-1]
    assert re.search(r"concurrency 64 ━+ 0:00:0\d 3 done · 2 failed · p50 2.50 p95 3.50 s", last), last
    assert len(last) <= 80


def test_the_ceiling_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(client_ceiling, "--duration", 0.2, "--concurrency-range", "1,2", "--clip-seconds", 1) == 0
    assert "concurrency  requests  failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (bulk_request, ["--concurrency-range", "1:4:2x"], "--duration or --count"),
        (bulk_request, ["--mix", "1s:1"], "--duration or --count"),
        (bulk_request, ["--concurrency-range", "0.5,1", "--count", "1"], "part of a request"),
        (bulk_request, ["--count", "1", "--duration", "1"], "not allowed with"),
        (bulk_request, ["--config", "/nowhere"], "is no folder"),
        (bulk_request, ["--png", "/nowhere/a.png"], "cannot write"),
        (bulk_request, ["--compare", "gone.json", "gone.json"], "cannot read gone.json"),
        (request_train, ["--duration", "1"], "--rate or --rate-range"),
        (request_train, ["--rate", "1"], "--duration or --count"),
    ],
)
def test_a_load_that_cannot_run(
    program: Any, arguments: list[str], words: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(program, clip, *arguments) == 2
    assert words in capsys.readouterr().err


# -- surroundings


def test_servers_describe_themselves(server: FakeServer) -> None:
    server.description = {"object": "list", "data": [{"id": "one"}, {"id": "two"}]}
    with WhisperClient(openai_url(server.root)) as client:
        assert client.describe() == {"id": "one"} and client.describe("two") == {"id": "two"}
    server.play(status(404))
    with WhisperClient(f"{server.root}/elsewhere") as client:
        assert model_line(client.describe()) == "the server does not say"


def test_the_config_hash_follows_the_settings_only(tmp_path: Path) -> None:
    assert config_hash(tmp_path) is None
    (tmp_path / "a.yaml").write_text("x: 1")
    first = config_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("anything")
    assert config_hash(tmp_path) == first
    (tmp_path / "a.yaml").write_text("x: 2")
    assert config_hash(tmp_path) != first


def test_the_command_is_shown_without_its_token() -> None:
    shown = shown_command("bulk_request", ["a b.wav", "--token", "s3cret", "--token=s3cret", "--count", "2"])
    assert shown == "clients/bulk_request.py 'a b.wav' --token … --token=… --count 2"


def test_the_machine_has_memory_and_cores() -> None:
    here = machine()
    assert here["cpu"] and here["cpus"] >= 1 and here["memory_gib"] > 0


# -- pictures and comparisons


def result_of(latencies: list[float], *, failed: int = 0, wall_s: float = 10.0) -> dict[str, Any]:
    outcomes = [Outcome("a.wav", 0.0, 0.0, seconds, 2.0, 200, None) for seconds in latencies]
    outcomes += [Outcome("a.wav", 0.0, 0.0, 1.0, 2.0, 500, "http 500") for _ in range(failed)]
    report = make_report(LoadRun(tuple(outcomes), wall_s))
    return {
        "schema_version": 2,
        "kind": "closed loop",
        "url": "http://127.0.0.1:1/",
        "server": None,
        "config_sha256": None,
        "settings": {},
        "options": {},
        "started_at": "2026-11-21T04:00:00+00:00",
        "client_machine": machine(),
        "levels": [level_document(4, report, outcomes)],
    }


def verdicts(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    return {row.name: row.verdict for row in compare(before, after, 0.05)}


def test_a_slower_server_is_worse_and_the_other_way_round_better() -> None:
    slow, fast = (
        [1 + 0.001 * number for number in range(300)],
        [0.5 + 0.0005 * number for number in range(300)],
    )
    one, other = result_of(fast, wall_s=5), result_of(slow, wall_s=10)
    names = ("requests/s", "RTFx", "p50 s", "p95 s", "p99 s")
    assert verdicts(one, other) == dict.fromkeys(names, WORSE) | {"failed share": SAME}
    assert verdicts(other, one) == dict.fromkeys(names, BETTER) | {"failed share": SAME}
    assert set(verdicts(one, one).values()) == {SAME}
    assert verdicts(one, result_of(fast, failed=1, wall_s=5))["failed share"] == WORSE


def test_a_change_within_the_noise_is_unclear() -> None:
    rng = np.random.default_rng(0)
    one, other = (result_of((1 + rng.exponential(1, 12)).tolist()) for _ in range(2))
    (row,) = [row for row in compare(one, other, 0.0001) if row.name == "p95 s"]
    assert row.interval is not None and row.interval[0] < 0 < row.interval[1] and row.verdict == UNCLEAR


@pytest.mark.parametrize(
    ("change", "interval", "more_is_better", "verdict"),
    [
        (0.04, None, True, SAME),
        (0.2, None, True, BETTER),
        (0.2, None, False, WORSE),
        (-0.2, (-0.3, -0.1), False, BETTER),
        (-0.2, (-0.3, 0.1), False, UNCLEAR),
    ],
)
def test_verdicts(change: float, interval: Any, more_is_better: bool, verdict: str) -> None:
    assert verdict_of(change, interval, 0.05, more_is_better=more_is_better) == verdict


def test_compare_prints_a_table_and_fails_on_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    settings = {"count": 50, "warm_up": 0}
    files[0].write_text(json.dumps(result_of([1.0] * 50) | {"settings": settings}))
    changed = {"config_sha256": "other", "settings": settings | {"warm_up": 1}}
    files[1].write_text(json.dumps(result_of([2.0] * 50) | changed))
    assert call(bulk_request, "--compare", *files, "--png", tmp_path / "both.png") == 1
    out = capsys.readouterr().out
    assert "differs: config_sha256: None → other" in out and "+100.0%" in out and WORSE in out
    assert "differs: settings: warm_up: 0 → 1\n" in out and "settings: count" not in out
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert call(bulk_request, "--compare", files[0], files[0]) == 0


def test_results_that_cannot_be_compared() -> None:
    one = result_of([1.0])
    with pytest.raises(BadArgument, match="no level in common"):
        compare(one, one | {"levels": []}, 0.05)
    with pytest.raises(BadArgument, match="different things"):
        compare(one, one | {"kind": "open loop"}, 0.05)


def test_a_picture_of_a_sweep(server: FakeServer, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["--concurrency-range", "1,2", "--count", 4, "--png", tmp_path / "a.png", "--url", server.url]
    assert call(bulk_request, clip, *arguments) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_one_line_says_what_to_install(
    server: FakeServer,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert call(bulk_request, clip, "--png", tmp_path / "a.png", "--url", server.url) == 2
    err = capsys.readouterr().err
    assert "pip install matplotlib" in err and len(err.splitlines()) == 1 and server.received == []


def test_percentiles_reach_the_last_of_a_thousand() -> None:
    figures = result_of([float(number) for number in range(1, 1001)])["levels"][0]["figures"]["latency_s"]
    assert (figures["p50"], figures["p99"], figures["p99.9"], figures["max"]) == (500, 990, 999, 1000)
    assert not math.isnan(figures["mean"])
