"""The page in Chromium, beside an API that behaves as each test says."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import srt
import webvtt

from tests.gateway.page.conftest import HARVARD, Watched
from tests.gateway.page.stand_in import SEGMENTS, Script, error_body

TEXTS = [text.strip() for _, _, text in SEGMENTS]
FIRST_SEGMENT = 2  # events: a delta and the segment
DROP = """async ([name, text]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], name, { type: "audio/wav" }));
  const over = new DragEvent("dragover", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(over);
  const shown = document.getElementById("choose").classList.contains("over");
  const drop = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(drop);
  return shown && over.defaultPrevented;
}"""


def test_an_upload_becomes_segments_and_files(tab: Watched, url: str, script: Script) -> None:
    tab.upload(url)
    tab.finish()
    assert tab.texts() == TEXTS
    assert tab.page.inner_text("#model") == "whisper-demo"
    assert script.uploads == [HARVARD.read_bytes()]
    assert script.forms == [{"model": "whisper-demo", "response_format": "json", "stream": "true"}]

    assert tab.save("txt") == ("harvard.txt", " ".join(TEXTS) + "\n")
    name, text = tab.save("srt")
    assert name == "harvard.srt"
    assert [cue.content for cue in srt.parse(text)] == TEXTS
    assert "00:01:00,000" in text
    name, text = tab.save("vtt")
    assert len(webvtt.from_string(text)) == 3
    assert tab.page.inner_text("#preview").startswith("WEBVTT")
    document = json.loads(tab.save("json")[1])
    assert document["usage"] == {"type": "duration", "seconds": 60}
    assert [segment["text"] for segment in document["segments"]] == [text for _, _, text in SEGMENTS]
    tab.page.click("#copy")
    tab.until("document.getElementById('copy').textContent === 'Copied'")
    assert json.loads(tab.page.evaluate("navigator.clipboard.readText()")) == document


SEVERAL = (
    {"id": "base", "root": "whisper", "state": "ready", "languages": []},
    {"id": "whisper-1", "root": "whisper", "state": "ready", "languages": []},
    {"id": "hindi", "root": "hindi", "state": "unloaded", "languages": ["hi", "mr"]},
)


def test_one_model_leaves_nothing_to_choose(tab: Watched, url: str, script: Script) -> None:
    script.models = SEVERAL[:2]
    tab.open(url)
    assert not tab.page.is_visible("#model-choice"), "two names of one model"


def test_a_person_chooses_among_several_models(tab: Watched, url: str, script: Script) -> None:
    script.models = SEVERAL
    tab.open(url)
    assert tab.page.is_visible("#model-choice")
    offered = tab.page.locator("#model-choice option").all_inner_texts()
    assert offered == ["base", "hindi for hi, mr (loads first)"]
    assert tab.page.get_by_role("combobox", name="Model").count() == 1
    tab.page.select_option("#model-choice", "hindi")
    tab.page.set_input_files("#file", HARVARD)
    tab.finish()
    tab.page.select_option("#model-choice", "base")
    tab.page.click("#again")
    tab.finish()
    assert [form["model"] for form in script.forms] == ["hindi", "base"]


def test_text_arrives_while_the_rest_is_missing(tab: Watched, url: str, script: Script) -> None:
    script.hold_after = FIRST_SEGMENT
    tab.upload(url)
    tab.page.wait_for_selector("#segments li")
    assert tab.page.get_attribute("#result", "aria-busy") == "true"
    assert tab.texts() == TEXTS[:1]
    assert tab.page.inner_text("#status").startswith("Transcribed up to 0:01")
    script.hold_after = None
    tab.finish()
    assert tab.texts() == TEXTS
    assert not tab.page.is_visible("#job")
    assert tab.page.inner_text("#announcement") == "The transcript is complete."


def test_the_upload_shows_how_far_it_is(tab: Watched, url: str, script: Script) -> None:
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 1_000_000}
    tab.open(url)
    tab.page.context.new_cdp_session(tab.page).send("Network.emulateNetworkConditions", slow)
    tab.page.set_input_files("#file", HARVARD)
    tab.until("/^Sending, [1-9]/.test(document.getElementById('status').textContent)")
    assert 0 < tab.page.evaluate("document.getElementById('progress').value") < 1
    assert script.uploads == []
    tab.finish()
    assert script.uploads == [HARVARD.read_bytes()]


def test_cancel_stops_the_stream_and_keeps_what_came(tab: Watched, url: str, script: Script) -> None:
    script.hold_after = FIRST_SEGMENT
    tab.upload(url)
    tab.page.wait_for_selector("#segments li")
    tab.page.click("#cancel")
    tab.finish()
    assert not tab.page.is_visible("#job") and not tab.page.is_visible("#problem")
    assert tab.texts() == TEXTS[:1]
    assert tab.page.evaluate("document.activeElement.id") == "choose"


def test_dropping_a_file_sends_it(tab: Watched, url: str, script: Script) -> None:
    tab.open(url)
    assert tab.page.evaluate(DROP, ["note.wav", "not audio, but the stand-in does not mind"])
    tab.finish()
    assert script.uploads == [b"not audio, but the stand-in does not mind"]
    tab.page.wait_for_selector("#player-note")
    assert "cannot play" in tab.page.inner_text("#player-note")
    assert not tab.page.is_visible("#player")
    tab.page.set_input_files("#file", HARVARD)
    tab.until("document.getElementById('clock').textContent === '0:00 / 0:16'")
    assert tab.page.is_visible("#player") and not tab.page.is_visible("#player-note")
    tab.finish()


def test_the_language_is_sent(tab: Watched, url: str, script: Script) -> None:
    tab.open(url)
    tab.page.wait_for_selector("#language option[value=hi]", state="attached")
    assert tab.page.locator("#language option").count() == 100
    tab.page.select_option("#language", label="Hindi")
    tab.page.set_input_files("#file", HARVARD)
    tab.finish()
    assert script.forms[0]["language"] == "hi"
    tab.page.select_option("#language", "")
    tab.page.click("#again")
    tab.until("document.querySelectorAll('#segments span').length === 3")
    tab.finish()
    assert [form.get("language") for form in script.forms] == ["hi", None]


@pytest.mark.parametrize(
    ("refusal", "shown"),
    [
        ((415, error_body("The upload is not audio.", "unsupported_media")), "The upload is not audio."),
        ((500, {"detail": "?"}), "The server answered 500."),
        ((503, {"detail": "?"}), "The server answered 503. Try again in 5 s."),
        ((429, error_body("too much; try again in 5 s", "queue_full")), "too much; try again in 5 s"),
    ],
)
def test_refusals_are_told(tab: Watched, url: str, script: Script, refusal: Any, shown: str) -> None:
    script.refusal = refusal
    tab.expected_statuses = {refusal[0]}
    tab.upload(url)
    tab.page.wait_for_selector("#problem")
    assert tab.page.inner_text("#problem") == shown
    assert tab.page.get_attribute("#problem", "role") == "alert"
    assert not tab.page.is_visible("#result")
    script.refusal = None
    tab.page.set_input_files("#file", HARVARD)
    tab.finish()
    assert not tab.page.is_visible("#problem")
    assert tab.texts() == TEXTS


def test_too_large_a_file_is_not_sent(tab: Watched, url: str, script: Script) -> None:
    script.max_upload_bytes = 1_000_000
    tab.open(url)
    tab.until("document.getElementById('limits').textContent.includes('up to 1 MB')")
    tab.page.set_input_files("#file", HARVARD)
    tab.page.wait_for_selector("#problem")
    assert tab.page.inner_text("#problem") == "harvard.wav has 2 MB; this server takes at most 1 MB."
    assert script.forms == []


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"fail_after": 2}, "The worker died twice."), ({"cut_after": 2}, "The connection ended before")],
)
def test_what_came_before_a_failure_stays(
    tab: Watched, url: str, script: Script, change: dict[str, int], shown: str
) -> None:
    vars(script).update(change)
    tab.upload(url)
    tab.page.wait_for_selector("#problem")
    assert tab.page.inner_text("#problem").startswith(shown)
    assert tab.texts() == TEXTS[:1]


def test_a_key_is_asked_for_and_kept_in_the_tab_only(tab: Watched, url: str, script: Script) -> None:
    script.key = "sk-test"
    tab.expected_statuses = {401}
    tab.upload(url)
    tab.page.wait_for_selector("#problem")
    assert "API key" in tab.page.inner_text("#problem")
    assert tab.page.evaluate("document.activeElement.id") == "key"
    tab.page.keyboard.type("sk-test")
    tab.page.keyboard.press("Tab")
    tab.until("document.getElementById('model').dataset.state === 'ready'")
    tab.page.set_input_files("#file", HARVARD)
    tab.finish()
    assert tab.texts() == TEXTS
    stored = tab.page.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie]")
    assert stored == [["sk-test"], 0, ""]
    tab.page.reload()
    tab.until("document.getElementById('model').dataset.state === 'ready'")


def test_the_microphone_is_recorded_and_sent(tab: Watched, url: str, script: Script) -> None:
    tab.open(url)
    tab.page.click("#record")
    tab.page.wait_for_selector("#record[aria-pressed=true]")
    tab.until("document.getElementById('record-label').textContent.includes('0:01')")
    tab.page.click("#record")
    tab.finish()
    assert tab.texts() == TEXTS
    assert script.uploads[0][:4] == b"\x1a\x45\xdf\xa3", "not a Matroska file"
    assert len(script.uploads[0]) > 1_000
    assert tab.save("txt")[0] == "recording.txt"


def test_pressing_a_segment_plays_it(tab: Watched, url: str) -> None:
    tab.upload(url)
    tab.finish()
    tab.until("document.querySelector('#wave div')?.shadowRoot.querySelector('[part~=segment-2]')")
    tab.page.click("#segments li:nth-child(2) button")
    tab.page.wait_for_selector("#segments li:nth-child(2) button[aria-current]")
    tab.page.wait_for_selector("#play[aria-label=Play]")  # ends with the segment
    tab.until("document.getElementById('clock').textContent >= '0:02'")
    tab.page.evaluate(
        "document.querySelector('#wave div').shadowRoot.querySelector('[part~=segment-0]').click()"
    )
    tab.page.wait_for_selector("#segments li:nth-child(1) button[aria-current]")


def test_the_keyboard_reaches_everything(tab: Watched, url: str) -> None:
    opened: list[Any] = []
    tab.page.on("filechooser", lambda chooser: opened.append(chooser))
    tab.upload(url)
    tab.finish()
    tab.page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges()")
    order = []
    for _ in range(16):
        tab.page.keyboard.press("Tab")
        focused = (
            "(document.activeElement.id || document.activeElement.value || document.activeElement.tagName)"
        )
        order.append(tab.page.evaluate(focused))
        outlined = """getComputedStyle(document.activeElement.matches('input[type=radio]')
          ? document.activeElement.nextElementSibling : document.activeElement).outlineStyle"""
        assert tab.page.evaluate(outlined) != "none", f"{order[-1]} shows no focus"
        if order[-1] == "BUTTON":
            break
    assert order == [
        *(
            "A",  # to the recording
            "A",  # the two pages
            "A",
            "choose",
            "record",
            "language",
            "SUMMARY",
            "play",
            "txt",
            "again",
            "copy",
            "download",
            "BUTTON",
        )
    ]
    for key, expected in (("ArrowDown", 1), ("End", 2), ("ArrowUp", 1), ("Home", 0)):
        tab.page.keyboard.press(key)
        at = "[...document.querySelectorAll('#segments button')].indexOf(document.activeElement)"
        assert tab.page.evaluate(at) == expected
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("#segments li:nth-child(1) button[aria-current]")
    tab.page.focus("#choose")
    tab.page.keyboard.press("Enter")
    give_up = time.monotonic() + 60
    while not opened:
        assert time.monotonic() < give_up, "no file chooser"
        tab.page.wait_for_timeout(20)
