"""The files the page makes, in the browser's own JavaScript, against those the server makes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import srt
import webvtt

from asr.constants import SAMPLE_RATE
from asr.render.formats import seconds
from asr.render.subtitles import cues
from asr.render.subtitles import srt as server_srt
from asr.render.subtitles import vtt as server_vtt
from tests.gateway.page.conftest import Watched

TEXTS = (" one", " two & <three>", "  ", " चलो नाव", " a --> b", "\nline\tends ", " ---> x")
HOUR = 3600 * SAMPLE_RATE


def made(tab: Watched, url: str, segments: list[dict[str, Any]], name: str) -> str:
    if not tab.page.url.startswith(url):
        tab.open(url)
    text: str = tab.page.evaluate(
        """async ([segments, name]) => {
          const { FORMATS } = await import("/page/formats.js");
          return FORMATS[name].make({ text: " all of it ", segments });
        }""",
        [segments, name],
    )
    return text


def random_segments(seed: int) -> list[tuple[int, int, str]]:
    """In samples: out of order at times, empty, overlapping, across minutes and hours."""
    rng = random.Random(seed)
    start = rng.choice([0, HOUR - 8_000, 59 * SAMPLE_RATE])
    found = []
    for _ in range(12):
        end = start + rng.choice([0, 1, 5, 8_000, 15_999, 40_000])
        found.append((start, end, rng.choice(TEXTS)))
        start = end + rng.choice([-9_000, -1, 0, 3, 20_000])
        start = max(start, 0)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_subtitles_equal_the_servers(tab: Watched, url: str, seed: int) -> None:
    timed = random_segments(seed)
    sent = [{"start": seconds(start), "end": seconds(end), "text": text} for start, end, text in timed]
    expected = cues(timed, duration=10 * HOUR)
    assert made(tab, url, sent, "srt") == server_srt(expected)
    assert made(tab, url, sent, "vtt") == server_vtt(expected)


def test_times_are_rounded_once(tab: Watched, url: str) -> None:
    segments = [
        {"start": 0, "end": 59.9996, "text": "a minute"},
        {"start": 3599.9995, "end": 3600.0004, "text": "an hour"},
    ]
    text = made(tab, url, segments, "srt")
    assert "00:00:00,000 --> 00:01:00,000" in text
    assert "01:00:00,000 --> " in text
    assert "60" not in text.replace("3600", "")


def test_files_parse(tab: Watched, url: str) -> None:
    segments = [{"start": i * 2, "end": i * 2 + 2, "text": f" {i} < {i + 1} & चलो"} for i in range(5)]
    texts = [f"{i} < {i + 1} & चलो" for i in range(5)]
    subtitles = list(srt.parse(made(tab, url, segments, "srt")))
    assert [cue.content for cue in subtitles] == texts
    captions = webvtt.from_string(made(tab, url, segments, "vtt"))
    assert [caption.text.replace("&lt;", "<").replace("&amp;", "&") for caption in captions] == texts
    assert json.loads(made(tab, url, segments, "json"))["segments"] == segments
    assert made(tab, url, segments, "txt") == "all of it\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_events_survive_any_cut(tab: Watched, url: str, newline: str) -> None:
    stream = newline.join(
        ["data: {", "data: }", "", ": a comment", "", "event: x", "data:two", "", "data: left"]
    )
    tab.open(url)
    answers = tab.page.evaluate(
        """async (stream) => {
          const { eventParser } = await import("/page/sse.js");
          const answers = new Set();
          for (let cut = 0; cut <= stream.length; cut++) {
            for (let second = cut; second <= stream.length; second++) {
              const feed = eventParser();
              const parts = [stream.slice(0, cut), stream.slice(cut, second), stream.slice(second)];
              answers.add(JSON.stringify(parts.flatMap(feed)));
            }
          }
          return [...answers];
        }""",
        stream,
    )
    assert [json.loads(answer) for answer in answers] == [["{\n}", "two"]]
