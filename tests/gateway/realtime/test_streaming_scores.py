"""score.py --streaming before the gateway: what is said when, and how long it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import score
from tests.asr.piece_hypotheses import STREAMING, spoken
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.conftest import StartGateway
from tests.gateway.realtime.streams import counted, silence_pcm, speech_pcm, wav_of
from tests.gateway.served import Gateway
from whisper_client.command_line import run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two recordings of a turn, one of two."""
    sentence = speech_pcm(0, 1.5)
    for name, pcm in (("a", sentence), ("b", sentence), ("c", sentence + silence_pcm(0.9) + sentence)):
        wav_of(pcm, tmp_path / f"{name}.wav")
    (tmp_path / "wav.scp").write_text("a a.wav\nb b.wav\nc c.wav\n", "utf-8")
    said = "one two three four"
    (tmp_path / "text").write_text(f"a {said}\nb {said}\nc {said} {said}\n", "utf-8")
    return tmp_path


def waits(gateway: Gateway, data: Path) -> dict[str, dict[str, float]]:
    target = data / "scores.json"
    command = [str(data), "--streaming", "--url", gateway.url, "--json", str(target), "--concurrency", "3"]
    assert run(score.main, command) == 0
    found: dict[str, dict[str, float]] = json.loads(target.read_text("utf-8"))["streaming"]
    return found


def test_streams_are_scored_and_timed(live: Gateway, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = waits(live, data)
    out = capsys.readouterr().out
    assert "total (3)" in out and "deltas (3)" in out and "of 4 turns" in out
    first, final = found["first_word_s"], found["final_s"]
    assert first["count"] == final["count"] == 4
    assert 0.5 < first["p50"] < 2.0 and first["p50"] <= first["p95"], "two looks, half a second apart"
    assert 0.4 < final["p50"] < 1.5 and final["p50"] <= final["p95"], "half a second of silence ends a turn"


def test_a_slow_model_shows_in_both_waits(live: Gateway, start: StartGateway, data: Path) -> None:
    quick = waits(live, data)
    with FakeTorchServe(delay_s=1.0, keep_windows=False) as fake:
        fake.hypothesis = counted
        slow = waits(start(fake), data)
    for name in ("first_word_s", "final_s"):
        assert slow[name]["p50"] - quick[name]["p50"] > 0.3, name


def test_streams_of_a_family_beside_whisper_are_scored_by_its_name(start: StartGateway, data: Path) -> None:
    target = data / "scores.json"
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as fake:
        fake.models = {"whisper", "live"}
        fake.unlike = {"live": (STREAMING, spoken)}
        gateway = start(fake, upstream={"models": {"live": {}}})
        gateway.wait_for_all_models()
        command = [str(data), "--streaming", "--model", "live", "--url", gateway.url, "--concurrency", "3"]
        assert run(score.main, [*command, "--json", str(target)]) == 0
    found = json.loads(target.read_text("utf-8"))
    assert all(one["hypothesis"].startswith("ek do") for one in found["utterances"])
    assert found["streaming"]["first_word_s"]["count"] == 4


def test_a_turn_that_fails_is_no_score(
    start: StartGateway, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = start(access={"audio_seconds_per_minute": 1})
    assert run(score.main, [str(data), "--streaming", "--url", gateway.url, "--concurrency", "3"]) == 1
    err = capsys.readouterr().err
    assert "turns failed" in err and "no utterance was scored" in err


def test_torchserve_itself_has_no_streams(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(score.main, [str(data), "--streaming", "--url", "http://127.0.0.1:1/predictions/whisper"]) == 2
    assert "give the gateway" in capsys.readouterr().err
