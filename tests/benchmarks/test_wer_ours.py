"""Ours, asked over HTTP, by a server that answers as told."""

from __future__ import annotations

from pathlib import Path

from benchmarks.wer.ours import Ours
from benchmarks.wer.systems import Setup
from tests.clients.conftest import server  # noqa: F401
from tests.clients.fake_server import TEXT, FakeServer, status, write_wav
from whisper_client.references import Reference


def setup(url: str, *, is_told: bool) -> Setup:
    return Setup(Path("none.pt"), None, threads=1, is_told=is_told, url=url, concurrency=1)


def test_a_request_says_how_and_in_which_language(server: FakeServer, tmp_path: Path) -> None:  # noqa: F811
    reference = Reference("one", write_wav(tmp_path / "a.wav", 1.0), TEXT, "hi")
    [(_, answer)] = Ours(setup(f"{server.root}/v1", is_told=True), "sequential").answers([reference])
    assert (answer.text, answer.language, answer.error) == (TEXT, "en", "")  # "english" in the answer
    fields = server.received[-1].fields
    assert (fields["long_form"], fields["language"]) == (["sequential"], ["hi"])
    list(Ours(setup(f"{server.root}/v1", is_told=False), "parallel").answers([reference]))
    assert "language" not in server.received[-1].fields


def test_an_error_is_the_answer_of_its_recording_alone(server: FakeServer, tmp_path: Path) -> None:  # noqa: F811
    clip = write_wav(tmp_path / "a.wav", 1.0)
    server.play(status(415, "no audio"))
    references = [Reference(name, clip, TEXT, "hi") for name in ("one", "two")]
    found = {
        one.name: answer
        for one, answer in Ours(setup(server.root, is_told=False), "parallel").answers(references)
    }
    assert found["one"].error.startswith("ServerRefused: the server answered 415")
    assert found["two"].text == TEXT
