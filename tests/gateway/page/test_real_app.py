"""The page and /visualize/ with the whole gateway behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
import srt
import webvtt

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.page.conftest import HARVARD, Watched
from tests.gateway.served import Gateway, settings_for

LONG = HARVARD.with_name("long.mp3")
TIMEOUT_S = 60
KEY = "a-key-for-the-page"


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        yield client


def transcript(http: httpx2.Client, file: Path, response_format: str) -> str:
    with file.open("rb") as audio:
        answer = http.post(
            "/v1/audio/transcriptions", files={"file": audio}, data={"response_format": response_format}
        )
    assert answer.status_code == 200, answer.text
    return answer.text


def test_what_the_page_saves_is_what_the_server_answers(
    tab: Watched, gateway: Gateway, http: httpx2.Client
) -> None:
    tab.upload(gateway.url)
    tab.finish()
    assert tab.page.inner_text("#model") == http.get("/v1/models").json()["data"][0]["id"]
    verbose = json.loads(transcript(http, HARVARD, "verbose_json"))
    assert tab.texts() == [segment["text"].strip() for segment in verbose["segments"]]
    assert tab.save("txt") == ("harvard.txt", transcript(http, HARVARD, "text"))
    subtitles, captions = tab.save("srt")[1], tab.save("vtt")[1]
    assert subtitles == transcript(http, HARVARD, "srt")
    assert captions == transcript(http, HARVARD, "vtt")
    assert len(list(srt.parse(subtitles))) == len(webvtt.from_string(captions)) == len(verbose["segments"])
    saved = json.loads(tab.save("json")[1])
    assert (saved["text"], saved["usage"]) == (verbose["text"], verbose["usage"])
    assert gateway.uploads == []


def test_five_minutes_arrive_in_order(tab: Watched, gateway: Gateway, http: httpx2.Client) -> None:
    tab.upload(gateway.url, LONG)
    tab.finish()
    subtitles = list(srt.parse(tab.save("srt")[1]))
    assert len(subtitles) >= 10
    assert subtitles == list(srt.parse(transcript(http, LONG, "srt")))


def test_the_microphone_is_transcribed(tab: Watched, gateway: Gateway) -> None:
    tab.open(gateway.url)
    tab.page.click("#record")
    tab.until("document.getElementById('record-label').textContent.includes('0:03')")
    tab.page.click("#record")
    tab.finish()
    assert not tab.page.is_visible("#problem")
    assert len(tab.texts()) >= 1
    tab.until("/0:0[3-9]$/.test(document.getElementById('clock').textContent)")


def test_a_text_file_is_refused_in_words(tab: Watched, gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("This is not a recording.")
    tab.expected_statuses = {415}
    tab.upload(gateway.url, file)
    tab.page.wait_for_selector("#problem")
    assert "audio" in tab.page.inner_text("#problem")
    assert not tab.page.is_visible("#result")


def test_a_key_opens_the_page(tab: Watched, fake: FakeTorchServe, tmp_path: Path) -> None:
    tab.expected_statuses = {401}
    with Gateway(settings_for(fake, tmp_path, access={"keys": [KEY]})) as gateway:
        assert httpx2.post(f"{gateway.url}/visualize/", timeout=TIMEOUT_S).status_code == 401
        tab.upload(gateway.url)
        tab.page.wait_for_selector("#problem")
        assert tab.page.inner_text("#model") == "needs an API key"
        tab.page.fill("#key", KEY)
        tab.page.keyboard.press("Tab")
        tab.until("document.getElementById('model').dataset.state === 'ready'")
        tab.page.set_input_files("#file", HARVARD)
        tab.finish()
        assert len(tab.texts()) >= 1


def picture(http: httpx2.Client, file: Path, **query: str) -> httpx2.Response:
    with file.open("rb") as audio:
        return http.post("/visualize/", files={"file": audio}, params=query)


def test_a_picture_shows_the_transcripts_segments(gateway: Gateway, http: httpx2.Client) -> None:
    answer = picture(http, HARVARD, format="svg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert "sandbox" in answer.headers["content-security-policy"]
    titles = [
        title.text for title in ElementTree.fromstring(answer.text).iter() if title.tag.endswith("title")
    ]
    segments = json.loads(transcript(http, HARVARD, "verbose_json"))["segments"]
    assert titles == [f"{i}: {segment['text'].strip()}" for i, segment in enumerate(segments, 1)]
    assert gateway.uploads == []


def test_a_picture_is_a_png_unless_asked_otherwise(http: httpx2.Client) -> None:
    answer = picture(http, HARVARD)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "param"),
    [({"format": "gif"}, "format"), ({"language": "klingon"}, "language")],
)
def test_a_picture_of_something_else_is_refused(
    http: httpx2.Client, query: dict[str, str], param: str
) -> None:
    answer = picture(http, HARVARD, **query)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_picture_needs_audio(http: httpx2.Client, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("This is not a recording.")
    assert picture(http, file).status_code == 415
    assert http.post("/visualize/", data={"language": "en"}).status_code in (400, 415)
    assert http.get("/visualize/").status_code == 405


def test_the_page_is_not_part_of_the_api(http: httpx2.Client) -> None:
    paths: dict[str, Any] = http.get("/openapi.json").json()["paths"]
    assert "/visualize/" in paths
    assert not [path for path in paths if path == "/" or path.startswith("/page")]
    assert http.get("/page/nothing.js").json()["error"]["code"] == "not_found"


def test_the_page_leads_to_the_api_without_another_host(tab: Watched, gateway: Gateway) -> None:
    tab.open(gateway.url)
    tab.page.click("footer a")
    tab.page.wait_for_url(f"{gateway.url}/docs")
    assert tab.page.locator("h2", has_text="POST /visualize/").count() == 1
    tab.page.set_viewport_size({"width": 390, "height": 800})
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
