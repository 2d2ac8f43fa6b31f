"""What pip's package index has of one version. Standard library only."""

from __future__ import annotations

import ast
import html.parser
import re
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

TIMEOUT_S = 120
SOURCE_ARCHIVE = re.compile(r"-([^-]+)\.(?:tar\.gz|tar\.bz2|zip)$")
SHA256 = re.compile(r"(?:^|&)sha256=([0-9a-f]{64})(?:&|$)")


class IndexFailure(Exception):
    """The index does not answer; the message is one line."""


class Links(html.parser.HTMLParser):
    """The addresses on an index page. Every index speaks HTML; JSON is an extra that some lack."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for key, value in attrs if tag == "a" and key == "href" and value]


def address_of(python: Path) -> str:
    """The address of the index that `python`'s pip asks: configured, else pip's own."""
    pip = [str(python), "-m", "pip", "config", "list"]
    lines = subprocess.run(pip, capture_output=True, text=True, check=True).stdout.splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line)
    for key in (":env:.index-url", "install.index-url", "global.index-url"):
        if key in settings:
            return str(ast.literal_eval(settings[key]))
    ask = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def file_hashes(index: str, name: str, version: str) -> tuple[str, ...]:
    """SHA-256 of every file that the index has of `version`; raises IndexFailure."""
    request = urllib.request.Request(f"{index.rstrip('/')}/{name}/", headers={"Accept": "text/html"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return hashes_on(response.read().decode("utf-8"), version)
    except OSError as error:
        raise IndexFailure(f"the package index does not answer for {name}: {error}") from error


def hashes_on(page: str, version: str) -> tuple[str, ...]:
    """SHA-256 of the files of `version` on a distribution's page, sorted."""
    links = Links()
    links.feed(page)
    found = set()
    for address in links.addresses:
        parts = urllib.parse.urlsplit(address)
        file = urllib.parse.unquote(parts.path.rpartition("/")[2])
        if version_of(file) == version and (match := SHA256.search(parts.fragment)):
            found.add(match[1])
    return tuple(sorted(found))


def version_of(file: str) -> str:
    """Version in the name of a wheel or a source archive; of another file, nothing."""
    if file.endswith(".whl"):
        return file.split("-")[1]
    match = SOURCE_ARCHIVE.search(file)
    return match[1] if match else ""
