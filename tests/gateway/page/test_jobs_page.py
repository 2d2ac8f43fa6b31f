"""The page of jobs in Chromium, with the whole gateway behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.asr.containers import tone, wav
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.jobs.conftest import held_back
from tests.gateway.page.conftest import HARVARD, Watched
from tests.gateway.served import Gateway, settings_for

pytestmark = pytest.mark.slow

KEY = "a-key-for-the-jobs"
FIRST = "#jobs > li:first-child"
FOCUS = f"[document.activeElement.closest('{FIRST}') !== null, document.activeElement.dataset.action]"


@pytest.fixture(scope="module")
def site(fake: FakeTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with jobs and a key."""
    folder = tmp_path_factory.mktemp("jobs-page")
    (folder / "spool").mkdir()
    jobs = {"directory": folder / "jobs", "max_batches_per_key": 2}
    with Gateway(settings_for(fake, folder / "spool", jobs=jobs, access={"keys": [KEY]})) as gateway:
        yield gateway


@pytest.fixture
def jobs(tab: Watched, site: Gateway) -> Watched:
    """The page, with the key in its place."""
    tab.page.add_init_script(f"sessionStorage.setItem('whisper-api-key', '{KEY}')")
    tab.open(f"{site.url}/jobs")
    return tab


def drop(jobs: Watched, *files: Path) -> None:
    """Chooses the files and waits until they are a job."""
    count = jobs.page.locator("#jobs > li").count()
    jobs.page.set_input_files("#file", list(files))
    jobs.until(f"document.querySelectorAll('#jobs > li').length === {count + 1}")


def status(jobs: Watched) -> str:
    text: str = jobs.page.inner_text(f"{FIRST} .status")
    return text


def saved(jobs: Watched, action: str) -> tuple[str, str]:
    """File name and text of a download."""
    with jobs.page.expect_download() as waiting:
        jobs.page.click(f"{FIRST} [data-action={action}]")
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text(encoding="utf-8")


def test_several_files_become_one_job_with_its_results(jobs: Watched, site: Gateway, tmp_path: Path) -> None:
    notes = tmp_path / "notes.wav"
    notes.write_text("This is not a recording.")
    same_name = tmp_path / "harvard.wav"
    same_name.write_bytes(HARVARD.read_bytes())
    with held_back(site):
        drop(jobs, HARVARD, same_name, notes)
        assert jobs.page.inner_text(f"{FIRST} h3") == "harvard.wav and 2 more"
        jobs.until(f"document.querySelector('{FIRST} .status').textContent === '0 of 3 done'")
        assert jobs.page.evaluate(f"document.querySelector('{FIRST} progress').value") == 0
        assert not jobs.page.is_visible(f"{FIRST} [data-action=text]")
    jobs.page.wait_for_selector(f"{FIRST} [data-action=errors]")
    assert status(jobs).startswith("2 of 3 done, 1 failed, 0:32 of audio")
    assert jobs.page.inner_text("#announcement") == "harvard.wav and 2 more: completed"
    assert not jobs.page.is_visible(f"{FIRST} progress")

    name, lines = saved(jobs, "jsonl")
    assert name == "harvard.wav and 2 more.jsonl"
    answers = {one["custom_id"]: one["response"]["body"] for one in map(json.loads, lines.splitlines())}
    assert answers.keys() == {"harvard.wav", "harvard.wav (2)"} and answers["harvard.wav"]["segments"]
    name, text = saved(jobs, "text")
    assert name == "harvard.wav and 2 more.txt"
    assert text == "\n\n".join(f"{one}\n\n{body['text'].strip()}\n" for one, body in answers.items())
    (error,) = map(json.loads, saved(jobs, "errors")[1].splitlines())
    assert (error["custom_id"], error["response"]["status_code"]) == ("notes.wav", 415)


def test_a_job_is_cancelled_by_keyboard_and_the_focus_stays(jobs: Watched, site: Gateway) -> None:
    with held_back(site):
        drop(jobs, HARVARD)
        jobs.until(f"document.querySelector('{FIRST} .status').textContent === '0 of 1 done'")
        jobs.page.focus("#language")
        jobs.page.keyboard.press("Tab")
        jobs.page.keyboard.press("Tab")
        assert jobs.page.evaluate(FOCUS) == [True, "cancel"]
        with jobs.page.expect_response(lambda answer: "/v1/batches?" in answer.url):
            pass  # the list is looked at again
        assert jobs.page.evaluate(FOCUS) == [True, "cancel"]
        jobs.page.keyboard.press("Enter")
        jobs.until(f"document.querySelector('{FIRST} .status').textContent.startsWith('Cancelled: 0 of 1')")
    assert jobs.page.evaluate("document.activeElement.closest('#jobs > li') !== null"), "not lost"


def test_a_job_that_is_refused_leaves_no_file_behind(jobs: Watched, site: Gateway, tmp_path: Path) -> None:
    short = tmp_path / "short.wav"
    short.write_bytes(wav(tone(1.0)))
    jobs.expected_statuses = {429}
    with held_back(site):
        drop(jobs, short)
        drop(jobs, short)
        with jobs.page.expect_response(lambda answer: answer.request.method == "DELETE"):
            jobs.page.set_input_files("#file", [short])
        jobs.page.wait_for_selector("#problem")
        assert "are not finished" in jobs.page.inner_text("#problem")
        jobs.until("!document.getElementById('choose').disabled")
        listed = httpx2.get(f"{site.url}/v1/files", headers={"Authorization": f"Bearer {KEY}"}).json()
        names = [file["filename"] for file in listed["data"]]
        assert names.count("short.wav") == 2
    jobs.until("![...document.querySelectorAll('#jobs progress')].some((one) => !one.hidden)")


def test_the_page_asks_for_a_key_and_fits_a_phone(tab: Watched, site: Gateway) -> None:
    tab.expected_statuses = {401}
    tab.page.set_viewport_size({"width": 320, "height": 640})
    tab.open(f"{site.url}/jobs")
    assert tab.page.inner_text("#model") == "needs an API key"
    tab.page.fill("#key", KEY)
    tab.page.keyboard.press("Tab")
    tab.page.wait_for_selector(FIRST)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 320
    for button in tab.page.locator("#jobs button:visible").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 320 and box["height"] >= 36
    tab.page.click("text=Recording")
    tab.page.wait_for_url(f"{site.url}/")
    tab.page.click("#jobs-link")
    tab.page.wait_for_url(f"{site.url}/jobs")
