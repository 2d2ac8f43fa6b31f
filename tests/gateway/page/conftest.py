"""Debian's Chromium through playwright, watched: what the page must never do fails the test that saw it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.gateway.page.stand_in import Script, running, stand_in_app

CHROMIUM = Path("/usr/bin/chromium")
HARVARD = Path(__file__).resolve().parents[3] / "samples" / "harvard.wav"
FLAGS = [
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={HARVARD}",
]
ACTION_TIMEOUT_MS = 30_000
NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push([event.violatedDirective, event.blockedURI, event.sourceFile].join(" ")));
"""


@dataclass
class Watched:
    """A tab and what it did."""

    page: Any
    expected_statuses: set[int] = field(default_factory=set)  # refusals the test provokes
    console: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def until(self, expression: str) -> None:
        """Waits until JavaScript says so. The page's policy forbids playwright's own way, which uses eval."""
        give_up = time.monotonic() + ACTION_TIMEOUT_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < give_up, f"never became true: {expression}"
            self.page.wait_for_timeout(20)

    def open(self, url: str) -> None:
        """Opens the page and lets it ask what it asks at first."""
        self.page.goto(url)
        self.until("document.getElementById('model').dataset.state !== 'waiting'")
        self.until("document.getElementById('limits').textContent.includes('up to')")

    def upload(self, url: str, file: Path = HARVARD) -> None:
        """Opens the page and chooses the file."""
        self.open(url)
        self.page.set_input_files("#file", file)

    def finish(self) -> None:
        """Waits for the end of the transcription."""
        self.page.wait_for_selector("#result[aria-busy=false]")

    def texts(self) -> list[str]:
        """Of the segments shown."""
        return [text.strip() for text in self.page.locator("#segments span").all_inner_texts()]

    def save(self, name: str) -> tuple[str, str]:
        """File name and text of a download."""
        self.page.check(f"input[value={name}]", force=True)
        with self.page.expect_download() as waiting:
            self.page.click("#download")
        download = waiting.value
        return download.suggested_filename, Path(download.path()).read_text(encoding="utf-8")

    def problems(self) -> list[str]:
        expected = [f"status of {status}" for status in self.expected_statuses]
        return [line for line in self.console if not any(text in line for text in expected)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Its microphone hears samples/harvard.wav, again and again."""
    api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    with running(stand_in_app(script)) as address:
        yield address


@pytest.fixture
def tab(browser: Any, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A fresh tab; no error on its console, no blocked resource, no host but loopback by the end."""
    if "url" in request.fixturenames:
        request.getfixturevalue("url")  # first, so that the server outlives the tab
    context = browser.new_context(
        permissions=["microphone", "clipboard-read", "clipboard-write"], accept_downloads=True
    )
    page = context.new_page()
    page.set_default_timeout(ACTION_TIMEOUT_MS)
    watched = Watched(page)
    page.add_init_script(NOTE_VIOLATIONS)
    page.on("console", lambda said: said.type == "error" and watched.console.append(said.text))
    page.on("pageerror", lambda error: watched.console.append(str(error)))
    page.on("request", lambda request: watched.hosts.add(urlsplit(request.url).hostname or ""))
    yield watched
    violations = page.evaluate("window.violations")
    problems = watched.problems()  # closing cuts off what still loads, which the console calls an error
    context.close()
    assert (violations or [], problems) == ([], [])
    assert watched.hosts <= {"127.0.0.1", ""}, "'' is a blob: or data: address"
