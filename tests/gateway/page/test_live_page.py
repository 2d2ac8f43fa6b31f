"""Live captions in Chromium, whose microphone plays samples/harvard.wav, with the whole gateway behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import srt
import webvtt

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.page.conftest import Watched
from tests.gateway.realtime.streams import counted
from tests.gateway.served import Gateway, settings_for

KEY = "sk-right-0123456789"
TURNS = "#turns li span"


@pytest.fixture(scope="module")
def counting() -> Iterator[FakeTorchServe]:
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as fake:
        fake.hypothesis = counted
        yield fake


@pytest.fixture(scope="module")
def live(counting: FakeTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(settings_for(counting, tmp_path_factory.mktemp("spool"))) as gateway:
        yield gateway


def opened(tab: Watched, gateway: Gateway) -> None:
    tab.page.goto(f"{gateway.url}/live")
    tab.until("document.getElementById('model').dataset.state !== 'waiting'")
    tab.until("document.querySelectorAll('#language option').length > 1")


def listened(tab: Watched, turns: int = 1) -> None:
    """Starts the microphone and waits for turns."""
    tab.page.click("#microphone")
    tab.until(f"document.querySelectorAll('#turns li').length >= {turns}")


def stopped(tab: Watched) -> None:
    tab.page.click("#microphone")
    tab.until("document.getElementById('state').textContent === 'Stopped'")


def test_captions_appear_while_it_is_spoken(tab: Watched, live: Gateway) -> None:
    opened(tab, live)
    tab.page.click("#microphone")
    tab.until("/^one/.test(document.getElementById('open').textContent)")
    assert tab.page.inner_text("#state") == "Listening"
    tab.until("document.getElementById('level').value > 0.3")
    tab.until("/Stop  0:0[1-9]/.test(document.getElementById('microphone-label').textContent)")
    assert tab.page.is_disabled("#tab")
    tab.until("document.querySelectorAll('#turns li').length >= 2")
    stopped(tab)
    texts = tab.page.locator(TURNS).all_inner_texts()
    assert len(texts) >= 2 and all(re.match(r"one two .*\.$", text) for text in texts[:2])
    assert tab.page.inner_text("#open") == ""
    assert tab.page.get_attribute("#microphone", "aria-pressed") == "false"
    for name, count in (("srt", _cues), ("vtt", _captions), ("txt", _lines)):
        file, text = tab.save(name)
        assert (file, count(text)) == (f"captions.{name}", len(texts))
    tab.page.click("#copy")
    tab.until("document.getElementById('copy').textContent === 'Copied'")
    assert tab.page.evaluate("navigator.clipboard.readText()").splitlines() == texts


def _cues(text: str) -> int:
    return len(list(srt.parse(text)))


def _captions(text: str) -> int:
    return len(webvtt.from_string(text))


def _lines(text: str) -> int:
    return len(text.splitlines())


def test_a_tabs_sound_is_heard(tab: Watched, live: Gateway) -> None:
    """Chromium's fake device shares a tab whose sound is the same file."""
    opened(tab, live)
    tab.page.click("#tab")
    tab.until("/^one two/.test(document.getElementById('open').textContent)")
    assert tab.page.is_disabled("#microphone")
    tab.page.click("#tab")
    tab.until("document.getElementById('state').textContent === 'Stopped'")
    assert tab.page.inner_text("#tab-label") == "Sound of a tab"
    tab.console = [line for line in tab.console if "Permissions policy" not in line]  # of the fake device


def test_a_tab_without_sound_is_told(tab: Watched, live: Gateway) -> None:
    opened(tab, live)
    tab.page.evaluate(
        """() => {
          const canvas = document.createElement("canvas");
          navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream();
        }"""
    )
    tab.page.click("#tab")
    tab.page.wait_for_selector("#problem:not([hidden])")
    assert tab.page.inner_text("#problem").startswith("The tab was shared without its sound.")
    assert tab.page.is_enabled("#microphone") and not tab.page.is_visible("#listening")


def test_a_blocked_microphone_is_told(tab: Watched, live: Gateway) -> None:
    opened(tab, live)
    tab.page.evaluate(
        """() => {
          const refuse = () => Promise.reject(new DOMException("", "NotAllowedError"));
          navigator.mediaDevices.getUserMedia = refuse;
        }"""
    )
    tab.page.click("#microphone")
    tab.page.wait_for_selector("#problem:not([hidden])")
    assert tab.page.inner_text("#problem").startswith("The microphone is blocked.")


def test_another_stream_goes_on_behind_the_first(tab: Watched, live: Gateway) -> None:
    opened(tab, live)
    listened(tab)
    stopped(tab)
    count = tab.page.locator(TURNS).count()
    listened(tab, count + 1)
    stopped(tab)
    cues = list(srt.parse(tab.save("srt")[1]))
    assert len(cues) > count
    assert all(cue.end <= following.start for cue, following in pairwise(cues))
    tab.page.click("#clear")
    assert tab.page.locator(TURNS).count() == 0 and tab.save("txt")[1].strip() == ""


def test_model_and_language_are_asked_for(tab: Watched, live: Gateway) -> None:
    served = [{"id": name, "root": name, "object": "model"} for name in ("whisper", "whisper-1")]
    tab.page.route("**/v1/models", lambda route: route.fulfill(json={"object": "list", "data": served}))
    opened(tab, live)
    frames: list[str] = []
    tab.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: frames.append(str(frame))))
    tab.page.select_option("#language", "hi")
    tab.page.select_option("#model-choice", "whisper-1")
    listened(tab)
    tab.page.select_option("#language", "de")  # while it listens
    tab.page.select_option("#model-choice", "whisper")
    stopped(tab)
    updates = [json.loads(frame) for frame in frames if '"session.update"' in frame]
    asked = [update["session"]["audio"]["input"]["transcription"] for update in updates]
    assert [one["language"] for one in asked] == ["hi", "de", "de"]
    assert [one["model"] for one in asked] == ["whisper-1", "whisper-1", "whisper"]


def test_a_key_opens_a_stream(tab: Watched, counting: FakeTorchServe, tmp_path: Path) -> None:
    tab.expected_statuses = {401}
    with Gateway(settings_for(counting, tmp_path, access={"keys": [KEY]})) as gateway:
        opened(tab, gateway)
        assert tab.page.inner_text("#model") == "needs an API key"
        tab.page.click("#microphone")
        tab.page.wait_for_selector("#problem:not([hidden])")
        assert "API key" in tab.page.inner_text("#problem")
        assert tab.page.evaluate("document.activeElement.id") == "key"
        assert not tab.page.is_visible("#listening")
        tab.console = [line for line in tab.console if "WebSocket" not in line]  # Chromium's own line
        tab.page.fill("#key", KEY)
        tab.page.keyboard.press("Tab")
        tab.until("document.getElementById('model').dataset.state === 'ready'")
        listened(tab)
        stopped(tab)


def test_too_many_streams_are_told(tab: Watched, counting: FakeTorchServe, tmp_path: Path) -> None:
    tab.expected_statuses = {503}
    with Gateway(settings_for(counting, tmp_path, realtime={"max_streams": 1})) as gateway:
        with gateway.service.stream_places.take(_somebody()):
            opened(tab, gateway)
            tab.page.click("#microphone")
            tab.page.wait_for_selector("#problem:not([hidden])")
        assert "too many are open" in tab.page.inner_text("#problem")
        tab.console.clear()
        listened(tab)
        assert not tab.page.is_visible("#problem")
        stopped(tab)


def _somebody() -> Any:
    from gateway.caller import Caller

    return Caller(address="127.0.0.1")


def test_a_stream_that_ends_is_opened_again(tab: Watched, counting: FakeTorchServe, tmp_path: Path) -> None:
    """And what was said is neither lost nor there twice: the server closes each stream after 3 s."""
    with Gateway(settings_for(counting, tmp_path, realtime={"max_stream_s": 3.0})) as gateway:
        opened(tab, gateway)
        tab.page.evaluate(
            """() => {
              window.states = [];
              new MutationObserver(() => states.push(document.getElementById("state").textContent))
                .observe(document.getElementById("state"), { childList: true });
            }"""
        )
        listened(tab, 4)
        stopped(tab)
        states = tab.page.evaluate("window.states")
        cues = list(srt.parse(tab.save("srt")[1]))
    assert sum(state.startswith("The connection broke.") for state in states) >= 2
    assert states.count("Listening") >= 3
    assert all(cue.end <= following.start for cue, following in pairwise(cues))


def test_a_screen_reader_hears_what_is_settled(tab: Watched, live: Gateway) -> None:
    opened(tab, live)
    assert tab.page.get_attribute("#turns", "aria-live") == "polite"
    assert tab.page.locator("#open").evaluate("(open) => open.closest('[aria-live]')") is None
    assert tab.page.get_attribute("#state", "role") == "status"
    assert tab.page.get_attribute("#problem", "role") == "alert"


def test_the_keyboard_does_it_all(tab: Watched, live: Gateway) -> None:
    opened(tab, live)
    tab.page.focus("#microphone")
    tab.page.keyboard.press("Enter")
    tab.until("document.querySelectorAll('#turns li').length >= 1")
    assert tab.page.evaluate("document.activeElement.id") == "microphone"
    tab.page.keyboard.press("Space")
    tab.until("document.getElementById('state').textContent === 'Stopped'")
    order = []
    for _ in range(12):
        tab.page.keyboard.press("Tab")
        order.append(tab.page.evaluate(FOCUSED))
        if order[-1] == "download":
            break
    assert order == ["tab", "language", "SUMMARY", "txt", "clear", "copy", "download"]


def test_a_phone_shows_everything_without_scrolling_sideways(tab: Watched, live: Gateway) -> None:
    tab.page.set_viewport_size({"width": 320, "height": 640})
    opened(tab, live)
    listened(tab)
    stopped(tab)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 320
    for selector in ("#microphone", "#tab", "#language", "#level", "#clear", "#copy", "#download"):
        box = tab.page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 320, selector
        assert box["height"] >= 36 or selector == "#level", selector


FOCUSED = "document.activeElement.id || document.activeElement.value || document.activeElement.tagName"
RESAMPLED = """async ([rate, hertz]) => {
  const { Resampler } = await import("/page/resampler.js");
  const sound = Float32Array.from({ length: rate }, (_, i) => Math.sin((2 * Math.PI * hertz * i) / rate));
  const whole = new Resampler(rate, 24000).feed(sound);
  const inPieces = new Resampler(rate, 24000);
  const pieces = [];
  for (let at = 0; at < rate; at += 128) pieces.push(...inPieces.feed(sound.subarray(at, at + 128)));
  return [[...whole], pieces];
}"""


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000, 96_000])
def test_resampling_keeps_speech_and_has_no_seams(tab: Watched, live: Gateway, rate: int) -> None:
    opened(tab, live)
    whole, pieces = (np.array(given) for given in tab.page.evaluate(RESAMPLED, [rate, 1_000]))
    assert np.array_equal(whole, pieces)
    assert abs(len(whole) - 24_000) < 60
    expected = np.sin(2 * np.pi * 1_000 * np.arange(len(whole)) / 24_000)
    assert np.abs(whole - expected)[200:].max() < 0.01


def test_resampling_lets_nothing_fold_over(tab: Watched, live: Gateway) -> None:
    opened(tab, live)
    whole, _ = tab.page.evaluate(RESAMPLED, [48_000, 15_000])
    assert np.abs(np.array(whole))[200:].max() < 0.01
