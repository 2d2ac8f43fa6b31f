"""What the page's routes send: types, caching, policy, and nothing from elsewhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from asr.languages import LANGUAGES
from gateway.routes.page import PAGE_DIR
from tests.gateway.page.stand_in import Script, stand_in_app

VENDOR = PAGE_DIR / "vendor" / "wavesurfer-8.0.1"
OWN_FILES = [file for file in sorted(PAGE_DIR.iterdir()) if file.is_file()]


@pytest.fixture
def client(script: Script) -> Iterator[TestClient]:
    with TestClient(stand_in_app(script)) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/live", "/jobs"])
def test_a_page_forbids_what_it_does_not_need(client: TestClient, path: str) -> None:
    client.app.state.jobs = object()  # type: ignore[attr-defined]
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert answer.headers["permissions-policy"].startswith("microphone=(self)")


@pytest.mark.parametrize(
    ("path", "content_type", "cache"),
    [
        ("app.js", "text/javascript; charset=utf-8", "no-cache"),
        ("worklet.js", "text/javascript; charset=utf-8", "no-cache"),
        ("style.css", "text/css; charset=utf-8", "no-cache"),
        ("icon.svg", "image/svg+xml", "no-cache"),
        ("vendor/wavesurfer-8.0.1/wavesurfer.esm.js", "text/javascript; charset=utf-8", "immutable"),
    ],
)
def test_files_have_their_types_and_lifetimes(
    client: TestClient, path: str, content_type: str, cache: str
) -> None:
    answer = client.get(f"/page/{path}")
    assert answer.status_code == 200
    assert answer.content == (PAGE_DIR / path).read_bytes()
    assert answer.headers["content-type"] == content_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert cache in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/", "/page/app.js"])
def test_an_unchanged_file_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    ["nothing.js", "", "vendor", "../routes/page.py", "..%2froutes%2fpage.py", "%2fetc%2fpasswd", "a%00b"],
)
def test_there_is_no_way_out_of_the_folder(client: TestClient, path: str) -> None:
    assert client.get(f"/page/{path}").status_code == 404


def test_settings_name_the_models_languages_and_the_caps(client: TestClient, script: Script) -> None:
    told = client.get("/page/settings.json").json()
    assert len(told["languages"]) == 99
    assert {"code": "hi", "name": "hindi"} in told["languages"]
    assert "yue" not in {language["code"] for language in told["languages"]}
    assert told["max_upload_bytes"] == 150_000_000 and told["max_audio_s"] == 14_400
    script.ready = False
    assert len(client.get("/page/settings.json").json()["languages"]) == len(LANGUAGES)


def test_without_jobs_there_is_no_page_of_them(client: TestClient) -> None:
    assert client.get("/jobs").status_code == 404
    assert client.get("/page/settings.json").json()["jobs"] is False


@pytest.mark.parametrize("file", OWN_FILES, ids=lambda file: file.name)
def test_no_file_names_another_host(file: Path) -> None:
    addresses = set(
        re.findall(r"https?://[^\s\"'<>)]+|[\"'(]//[^\s\"'<>)]+", file.read_text(encoding="utf-8"))
    )
    assert addresses <= {"http://www.w3.org/2000/svg"}


class Inline(HTMLParser):
    """Collects what a strict policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.append(given.get("id") or "")
        self.labelled.add(given.get("for") or "")
        if tag == "style" or (tag == "script" and "src" not in given):
            self.found.append(tag)
        self.found += [name for name in given if name == "style" or name.startswith("on")]


def parsed(name: str) -> Inline:
    parser = Inline()
    parser.feed((PAGE_DIR / name).read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("name", ["index.html", "live.html", "jobs.html"])
def test_a_page_has_no_inline_script_or_style(name: str) -> None:
    parser = parsed(name)
    assert parser.found == []
    assert {"language", "key"} <= parser.labelled
    named = [name for name in parser.ids if name]
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    ("page", "scripts"),
    [
        ("index.html", ["app.js", "choices.js"]),
        ("live.html", ["live.js"]),
        ("jobs.html", ["jobs.js", "choices.js"]),
    ],
)
def test_the_scripts_find_every_element_they_ask_for(page: str, scripts: list[str]) -> None:
    texts = [(PAGE_DIR / name).read_text(encoding="utf-8") for name in (*scripts, "shared.js")]
    asked = set(re.findall(r"\$\(\"([a-z-]+)\"\)", "".join(texts)))
    assert len(asked) >= 12
    assert asked <= set(parsed(page).ids)


def test_vendored_files_are_those_of_the_release() -> None:
    readme = (VENDOR / "README.md").read_text(encoding="utf-8")
    for name in ("wavesurfer.esm.js", "regions.esm.js"):
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() in readme
    assert "BSD 3-Clause" in (VENDOR / "LICENSE").read_text(encoding="utf-8")
