"""How the page looks: nothing is cut off, out of line or too pale."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.page.conftest import Watched


def test_the_bar_over_the_transcript_is_one_line(tab: Watched, url: str) -> None:
    tab.page.set_viewport_size({"width": 1000, "height": 800})
    tab.upload(url)
    tab.finish()
    boxes = [tab.page.locator(f".result-bar > {part}").bounding_box() for part in ("h2", "fieldset", "div")]
    middles = [box["y"] + box["height"] / 2 for box in boxes]
    assert max(middles) - min(middles) <= 1
    assert tab.page.evaluate("getComputedStyle(document.querySelector('h2')).borderBottomWidth") == "0px"


def test_a_phone_shows_everything_without_scrolling_sideways(tab: Watched, url: str) -> None:
    tab.page.set_viewport_size({"width": 320, "height": 640})
    tab.upload(url)
    tab.finish()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 320
    for selector in ("#choose", "#record", "#language", "#play", "#copy", "#download"):
        box = tab.page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 320, selector
        assert box["height"] >= 36, selector


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(tab: Watched, url: str, scheme: Any) -> None:
    """WCAG AA, 4.5 to 1, for each colour of text on each ground it stands on."""
    tab.page.emulate_media(color_scheme=scheme)
    tab.open(url)
    pairs = [("--text", "--ground"), ("--soft", "--ground"), ("--soft", "--card"), ("--text", "--card")]
    pairs += [("--accent", "--ground"), ("--on-accent", "--accent"), ("--problem", "--problem-ground")]
    pairs += [("--soft", "--tint"), ("--text", "--tint"), ("--accent", "--tint")]
    values = tab.page.evaluate(
        """(pairs) => pairs.map((pair) => pair.map((name) =>
             getComputedStyle(document.documentElement).getPropertyValue(name).trim()))""",
        pairs,
    )
    for names, (text, ground) in zip(pairs, values, strict=True):
        assert contrast(text, ground) >= 4.5, names


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
