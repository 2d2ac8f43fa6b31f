"""score.py against the fake server: Kaldi's files, what failed, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import score
from tests.clients.fake_server import TEXT, FakeServer, good, slow, status, write_wav
from tests.processes import started
from whisper_client.command_line import run

CLIENTS = Path(score.__file__).parent


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three utterances as Kaldi writes them, one line with a tab."""
    clip = write_wav(tmp_path / "clip.wav", 1.0)
    (tmp_path / "wav.scp").write_text(f"a {clip}\nb\t{clip}\nc  clip.wav\n", "utf-8")
    (tmp_path / "text").write_text(f"a {TEXT}\nb\t{TEXT}\nc hello  नमस्ति\n", "utf-8")
    return tmp_path


def test_blanks_and_tabs_part_the_names_from_the_rest(
    server: FakeServer, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = data / "scores.json"
    assert run(score.main, [str(data), "--url", server.url, "--json", str(target), "--utterances"]) == 0
    assert "total (3)" in capsys.readouterr().out
    found = json.loads(target.read_text("utf-8"))
    assert [row["id"] for row in found["utterances"]] == ["a", "b", "c"]
    assert found["normalised"]["words"]["substitutions"] == 1  # a vowel sign of c
    assert found["utterances"][2]["substitutions"] == [["नमस्ति", "नमस्ते"]]


def test_the_two_files_may_be_named_and_the_model_too(
    server: FakeServer, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = data / "scores.json"
    pair = ["--wav-scp", str(data / "wav.scp"), "--text", str(data / "text")]
    where = ["--openai", server.root, "--model", "hindi", "--json", str(target)]
    assert run(score.main, [*pair, *where]) == 0
    assert [request.fields["model"] for request in server.received] == [["hindi"]] * 3
    assert "request → answer" in capsys.readouterr().out
    speed = json.loads(target.read_text("utf-8"))["speed"]
    assert speed["latency_s"]["count"] == 3 and speed["latency_s"]["p50"] > 0


@pytest.mark.parametrize(
    "words", [[], ["--text", "text"], ["data", "--wav-scp", "wav.scp", "--text", "text"]]
)
def test_references_are_named_in_one_way(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        score.parse(words)
    assert "name DATA, or both --wav-scp and --text" in capsys.readouterr().err


def test_a_manifest_is_scored_in_its_languages(server: FakeServer, data: Path) -> None:
    lines = [
        {"path": "clip.wav", "text": TEXT, "language": "hi"},
        {"path": "clip2.wav", "text": TEXT, "language": "ja"},  # by characters
    ]
    write_wav(data / "clip2.wav", 1.0)
    manifest, target = data / "manifest.jsonl", data / "scores.json"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert run(score.main, [str(manifest), "--url", server.url, "--json", str(target)]) == 0
    rows = json.loads(target.read_text("utf-8"))["utterances"]
    assert [row["normalised"]["words"]["reference"] for row in rows] == [2, 9]


def test_a_total_says_what_it_leaves_out(
    server: FakeServer, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.play(status(415, "no audio"), good, good)
    assert run(score.main, [str(data), "--url", server.url, "--concurrency", "1"]) == 1
    shown = capsys.readouterr()
    assert "total (2 of 3)" in shown.out and "error: a: the server answered 415" in shown.err


def test_nothing_scored_is_no_error_rate_of_zero(
    server: FakeServer, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.default = status(415, "no audio")
    assert run(score.main, [str(data), "--url", server.url]) == 1
    shown = capsys.readouterr()
    assert "0.00%" not in shown.out and "no utterance was scored" in shown.err


def test_a_result_that_cannot_be_written_is_told_before_the_work(server: FakeServer, data: Path) -> None:
    assert run(score.main, [str(data), "--url", server.url, "--json", str(data / "gone" / "x.json")]) == 2
    assert not server.received


def test_a_folder_without_references_says_what_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(score.main, [str(tmp_path)]) == 2
    assert "give a folder with wav.scp and text" in capsys.readouterr().err


def test_ctrl_c_scores_what_is_there(server: FakeServer, data: Path) -> None:
    """And waits for none of the others, of which the server may hold some for ever."""
    server.play(good, slow, slow)
    command = [sys.executable, str(CLIENTS / "score.py"), str(data), "--url", server.url]
    with started(
        [*command, "--concurrency", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # a shell's background jobs ignore Ctrl-C, and so would what these tests start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:  # fmt: skip
        give_up = time.monotonic() + 60
        while len(server.received) < 2 and time.monotonic() < give_up:
            time.sleep(0.02)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=15)  # the second answer would come after 20 s
    assert program.returncode == 130 and "Traceback" not in err
    assert "total (1 of 3)" in out
    assert len(server.received) == 2
