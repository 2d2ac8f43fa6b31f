"""Takes the pictures of the pages in docs/ from a running server: recordings and (`--jobs`) jobs with the
demo checkpoint, live captions (`--live`) with tiny.en.

./serve.sh &
python -m tests.gateway.page.screenshots --url http://127.0.0.1:8000 --out docs
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gateway.page.conftest import CHROMIUM, FLAGS
from tests.gateway.realtime.streams import silence_pcm, speech_pcm, wav_of

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
TRANSCRIPTION_TIMEOUT_MS = 300_000
MAX_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: the page after a sample, one segment of which has been pressed."""

    name: str
    sample: str
    width: int
    height: int
    scheme: str = "light"
    scale: float = 1
    play: int = 2  # the segment, from 1
    play_ms: int = 900


SHOTS = (
    Shot("page.png", "harvard.wav", 1_000, 900),
    Shot("page-dark.png", "hindi.opus", 1_000, 800, scheme="dark"),
    Shot("page-phone.png", "garden.m4a", 390, 844, scale=1.5),
)
JOBS_SHOT = Shot("jobs.png", "harvard.wav", 1_000, 850)
NUM_TALKS = 48
LIVE_SHOTS = (  # `play`: turns that are to be there; one more is open
    Shot("live.png", "jfk.flac", 1_000, 720, play=3),
    Shot("live-dark.png", "telephone.opus", 1_000, 720, scheme="dark", play=2),
    Shot("live-phone.png", "jfk.flac", 390, 844, scale=1.5, play=2),
)


def take(browser: Any, url: str, shot: Shot, out: Path) -> None:
    """Writes the picture; raises where the page did not come to an end."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        device_scale_factor=shot.scale,
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#model[data-state=ready]")
    page.set_input_files("#file", SAMPLES / shot.sample)
    page.wait_for_selector("#result[aria-busy=false]", timeout=TRANSCRIPTION_TIMEOUT_MS)
    page.wait_for_selector("#clock:text-matches('/ 0:[1-9]|/ 0:0[1-9]')")  # the waveform is there
    page.click(f"#segments li:nth-child({shot.play}) button")
    page.wait_for_timeout(shot.play_ms)
    page.click("#play")
    _save(page, out / shot.name)
    context.close()


def take_live(playwright: Any, url: str, shot: Shot, out: Path) -> None:
    """Writes the picture of captions while a turn is open; the microphone plays the sample."""
    with tempfile.TemporaryDirectory() as folder:
        sound = wav_of(speech_pcm(file=SAMPLES / shot.sample) + silence_pcm(1.0), Path(folder) / "sound.wav")
        flags = [*FLAGS[:-1], f"--use-file-for-fake-audio-capture={sound}"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        context = browser.new_context(
            viewport={"width": shot.width, "height": shot.height},
            color_scheme=shot.scheme,
            device_scale_factor=shot.scale,
            permissions=["microphone"],
        )
        page = context.new_page()
        page.goto(f"{url}/live")
        page.wait_for_selector("#model[data-state=ready]")
        page.click("#microphone")
        page.wait_for_selector(f"#turns li:nth-child({shot.play})", timeout=TRANSCRIPTION_TIMEOUT_MS)
        page.wait_for_selector("#open:text-matches('[a-z]+ [a-z]+ [a-z]+')")
        _save(page, out / shot.name)
        browser.close()


def take_jobs(browser: Any, url: str, shot: Shot, out: Path) -> None:
    """Writes the picture of a job that has ended below one that is at work."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme
    )
    page = context.new_page()
    page.goto(f"{url}/jobs")
    page.wait_for_selector("#model[data-state=ready]")
    page.set_input_files("#file", [SAMPLES / name for name in ("garden.m4a", "jfk.flac", "harvard.wav")])
    page.wait_for_selector("#jobs [data-action=text]:visible", timeout=TRANSCRIPTION_TIMEOUT_MS)
    with tempfile.TemporaryDirectory() as folder:
        talks = [Path(folder) / f"talk-{number:02}.wav" for number in range(1, NUM_TALKS + 1)]
        for talk in talks:
            talk.symlink_to(SAMPLES / shot.sample)
        page.set_input_files("#file", talks)
        page.wait_for_selector(
            f"#jobs .status:text-matches('^[1-9][0-9]* of {NUM_TALKS} done')",
            timeout=TRANSCRIPTION_TIMEOUT_MS,
        )
        _save(page, out / shot.name)
        page.click("#jobs [data-action=cancel]:visible")
    context.close()


def _save(page: Any, file: Path) -> None:
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(400)  # colours have settled
    page.screenshot(path=file)
    size = file.stat().st_size
    print(f"{file}: {size} bytes")
    assert size < MAX_BYTES, "too large for the repository"


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--live", action="store_true", help="captions instead of recordings")
    parser.add_argument("--jobs", action="store_true", help="jobs instead of recordings")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        if given.live:
            for shot in LIVE_SHOTS:
                take_live(playwright, given.url, shot, given.out)
            return
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        if given.jobs:
            take_jobs(browser, given.url, JOBS_SHOT, given.out)
        for shot in () if given.jobs else SHOTS:
            take(browser, given.url, shot, given.out)
        browser.close()


if __name__ == "__main__":
    main()
