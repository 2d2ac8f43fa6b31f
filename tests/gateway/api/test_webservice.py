"""/asr and /detect-language, called as clients of the whisper-asr-webservice call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
import srt
import webvtt

from asr.audio import media
from asr.config import Limits
from tests.asr.containers import tone, wav
from tests.gateway.api.conftest import StartGateway
from tests.gateway.fake_hypotheses import SPEC
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.served import Gateway


@pytest.fixture(scope="module")
def pcm(request: pytest.FixtureRequest) -> bytes:
    speech: Path = request.getfixturevalue("speech")
    return media.decode(speech.read_bytes(), Limits()).samples.astype("<i2").tobytes()


def ask(http: httpx2.Client, audio: bytes, path: str = "/asr", **query: Any) -> httpx2.Response:
    return http.post(path, params=query, files={"audio_file": ("a b/ü.wav", audio)})


def verbose(http: httpx2.Client, speech: Path, **fields: Any) -> Any:
    data = {"response_format": "verbose_json", **fields}
    return http.post("/v1/audio/transcriptions", files={"file": speech.read_bytes()}, data=data).json()


def test_bazarrs_subtitles(gateway: Gateway, http: httpx2.Client, speech: Path, pcm: bytes) -> None:
    """subliminal_patch/providers/whisperai.py, WhisperAIProvider.download_subtitle"""
    answer = requests.post(
        f"{gateway.url}/asr",
        params={
            "task": "transcribe",
            "language": "en",
            "output": "srt",
            "encode": "false",
            "video_file": {None},
        },
        files={"audio_file": pcm},
        timeout=(60, 60),
    )
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    cues = list(srt.parse(answer.text))
    assert [cue.content for cue in cues] == [s["text"].strip() for s in verbose(http, speech)["segments"]]
    assert gateway.uploads == []


def test_bazarrs_language(gateway: Gateway, pcm: bytes) -> None:
    """WhisperAIProvider.detect_language, which passes the video's name on if it is set to"""
    answer = requests.post(
        f"{gateway.url}/detect-language",
        params={"encode": "false", "video_file": {"/films/A film (2019).mkv"}},
        files={"audio_file": pcm},
        timeout=(60, 60),
    )
    assert answer.json() == {"detected_language": "english", "language_code": "en", "confidence": 0.98}
    assert gateway.uploads == []


def test_the_language_is_asked_for_the_first_speech(
    http: httpx2.Client, fake: FakeTorchServe, speech: Path
) -> None:
    quiet = bytes(2 * 16_000 * 40)
    fake.windows.clear()
    fake.keep_windows = True
    try:
        spoken = media.decode(speech.read_bytes(), Limits()).samples.tobytes()
        ask(http, quiet + spoken, "/detect-language", encode="false")
        ask(http, wav(tone(1.0)), "/detect-language")  # nobody speaks
    finally:
        fake.keep_windows = False
    late, tones = fake.windows
    assert (late.options.task, late.options.language, tones.options.task) == (
        "detect_language",
        None,
        "detect_language",
    )
    assert late.samples[16_000:32_000].any() and 15 * 16_000 < len(late.samples) < 20 * 16_000
    assert len(tones.samples) == 16_000
    assert late.num_frames == tones.num_frames == 3_000  # silence behind them, as openai-whisper detects


def test_an_english_only_model_is_not_asked_for_the_language(
    start_gateway: StartGateway, tone_wav: bytes
) -> None:
    with FakeTorchServe() as fake:
        fake.spec = type(SPEC)("fake.en", multilingual=False, num_languages=99, n_mels=80, n_text_ctx=448)
        gateway = start_gateway(fake)
        with httpx2.Client(base_url=gateway.url, timeout=60) as http:
            answer = ask(http, tone_wav, "/detect-language").json()
            assert answer == {"detected_language": "english", "language_code": "en", "confidence": 1.0}
            refused = ask(http, tone_wav, language="hi")
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "language")
            assert "must be one of the model's languages: en" in refused.json()["error"]["message"]
        assert all(window.options.task != "detect_language" for window in fake.windows)


def test_text_is_the_default(http: httpx2.Client, speech: Path) -> None:
    answer = ask(http, speech.read_bytes())
    assert answer.headers["asr-engine"] == "openai_whisper"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="a%20b/%C3%BC.wav.txt"'
    assert answer.text.splitlines() == [s["text"].strip() for s in verbose(http, speech)["segments"]]


def test_json_is_whispers_result(http: httpx2.Client, speech: Path) -> None:
    answer = ask(http, speech.read_bytes(), output="json")
    expected = verbose(http, speech)
    assert answer.headers["content-disposition"].endswith('.json"')
    result = json.loads(answer.text)
    assert set(result) == {"text", "segments", "language"}
    assert (result["text"], result["segments"]) == (" " + expected["text"], expected["segments"])
    assert result["language"] == "en"


def test_words_are_in_the_segments_of_json(http: httpx2.Client, speech: Path) -> None:
    segments = ask(http, speech.read_bytes(), output="json", word_timestamps="true").json()["segments"]
    for segment in segments:
        assert "".join(word["word"] for word in segment["words"]) == segment["text"]
        assert set(segment["words"][0]) == {"word", "start", "end", "probability"}
    plain = ask(http, speech.read_bytes(), output="srt")
    assert ask(http, speech.read_bytes(), output="srt", word_timestamps="true").text == plain.text


def test_vtt_and_tsv(http: httpx2.Client, speech: Path) -> None:
    segments = verbose(http, speech)["segments"]
    captions = webvtt.from_string(ask(http, speech.read_bytes(), output="vtt").text).captions
    assert [caption.text for caption in captions] == [s["text"].strip() for s in segments]
    rows = ask(http, speech.read_bytes(), output="tsv").text.splitlines()
    assert rows[0] == "start\tend\ttext" and len(rows) == len(segments) + 1


def test_options_reach_the_windows(http: httpx2.Client, fake: FakeTorchServe, tone_wav: bytes) -> None:
    fake.windows.clear()
    fake.keep_windows = True
    query = {"task": "translate", "language": "deu", "initial_prompt": "Names", "vad_filter": "false"}
    try:
        assert ask(http, tone_wav, **query).status_code == 200
    finally:
        fake.keep_windows = False
    options = fake.windows[0].options
    assert (options.task, options.language, bool(options.prompt)) == ("translate", "de", True)


def test_empty_and_unknown_parameters(http: httpx2.Client, speech: Path) -> None:
    query = {"language": "", "task": "", "output": "", "encode": "", "vad_filter": "", "min_speakers": "2"}
    answer = ask(http, speech.read_bytes(), **query)
    assert answer.text == ask(http, speech.read_bytes()).text


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"output": "xml"}, "output"),
        ({"task": "diarize"}, "task"),
        ({"encode": "perhaps"}, "encode"),
        ({"word_timestamps": "2"}, "word_timestamps"),
        ({"language": "klingon"}, "language"),
        ({"initial_prompt": "x" * 5_000}, "initial_prompt"),
    ],
    ids=str,
)
def test_bad_values(http: httpx2.Client, tone_wav: bytes, query: dict[str, str], param: str) -> None:
    answer = ask(http, tone_wav, **query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


@pytest.mark.parametrize("path", ["/asr", "/detect-language"])
def test_bad_files(http: httpx2.Client, gateway: Gateway, tone_wav: bytes, path: str) -> None:
    odd = ask(http, b"abc", path, encode="false")
    assert (odd.status_code, odd.json()["error"]["code"]) == (400, "invalid_audio")
    assert ask(http, b"", path, encode="false").status_code == 400
    assert ask(http, b"no audio", path).status_code == 415
    wrong = http.post(path, files={"file": tone_wav})
    assert (wrong.status_code, "must be audio_file" in wrong.text) == (400, True)
    assert http.post(path, content=tone_wav, headers={"Content-Type": "audio/wav"}).status_code == 415
    assert gateway.uploads == []


def test_the_key_is_looked_at_first(start_gateway: StartGateway) -> None:
    gateway = start_gateway(access={"keys": ["sk-right-0123456789"]})
    for path in ("/asr?output=xml", "/detect-language"):
        answer = httpx2.post(gateway.url + path, files={"audio_file": b"x"}, timeout=30)
        assert answer.status_code == 401
