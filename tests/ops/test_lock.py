"""Making a lock: what pip would install, for every target, with the index's hashes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts import lock, package_index
from scripts.lock import Distribution, LockFailure, closure
from scripts.requirements import locked
from tests.ops.wheels import wheel


def distribution(name: str, *requires: str, version: str = "1", requires_python: str = "") -> Distribution:
    return Distribution(name, version, "0" * 64, tuple(map(Requirement, requires)), requires_python)


def graph(*distributions: Distribution) -> dict[str, Distribution]:
    return {each.name: each for each in distributions}


@pytest.fixture()
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package index on loopback that pip asks, and no other."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    server.server_close()


def publish(index: Path, name: str) -> None:
    """The page of a distribution, with the hashes of the files beside it."""
    files = sorted((index / name).glob("*.whl"))
    links = (f'<a href="{each.name}#sha256={sha256(each.read_bytes()).hexdigest()}">x</a>' for each in files)
    (index / name / "index.html").write_text("\n".join(links))


def test_a_lock_has_what_is_needed_and_every_file_of_it(index: Path, tmp_path: Path) -> None:
    outer = wheel(index / "outer", "outer", "1.0", "inner>=1", "triton", "torch")
    others = [wheel(index / "inner", "inner", "1.5", tag=f"py3-none-{machine}")
              for machine in ("any", "macosx_11_0_arm64")]  # fmt: skip
    wheel(index / "inner", "inner", "1.4")
    wheel(index / "torch", "torch", "2.0", "late ; python_version >= '3.12' and sys_platform == 'darwin'")
    wheel(index / "triton", "triton", "3.0")
    late = wheel(index / "late", "late", "7")
    for folder in index.iterdir():
        publish(index, folder.name)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("outer==1.0 # why\ntorch==2.0\n")
    texts = lock.make_locks([requirements], Path(sys.executable))
    path = tmp_path / "requirements.lock"
    path.write_text(texts[path])
    assert {name: (each.version, each.hashes) for name, each in locked(path).items()} == {
        "outer": ("1.0", (outer,)),
        "inner": ("1.5", tuple(sorted(others))),
        "late": ("7", (late,)),
    }
    assert "127.0.0.1" not in texts[path]


def test_a_file_that_the_index_does_not_have_is_refused(index: Path, tmp_path: Path) -> None:
    wheel(index / "outer", "outer", "1.0")
    publish(index, "outer")
    address = os.environ["PIP_INDEX_URL"]
    with pytest.raises(LockFailure, match=r"outer 1\.0 that pip takes is not among the 1 on the index"):
        lock.entry(address, distribution("outer", version="1.0"))


def test_an_index_that_does_not_answer_is_one_line(index: Path) -> None:
    with pytest.raises(package_index.IndexFailure, match="does not answer for outer: HTTP Error 404"):
        package_index.file_hashes(os.environ["PIP_INDEX_URL"], "outer", "1")


@pytest.mark.parametrize(
    ("file", "version"),
    [
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl", "2.4.6"),
        ("scipy-1.17.1-1-cp312-cp312-macosx_14_0_arm64.whl", "1.17.1"),
        ("openai_whisper-20250625.tar.gz", "20250625"),
        ("antlr4-python3-runtime-4.9.3.tar.gz", "4.9.3"),
        ("old-1.0.zip", "1.0"),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl.metadata", ""),
        ("old-1.0.win32.exe", ""),
    ],
)
def test_the_version_is_read_from_a_files_name(file: str, version: str) -> None:
    assert package_index.version_of(file) == version


def test_links_without_a_hash_and_other_versions_are_passed_over() -> None:
    page = f"""<!DOCTYPE html><a href="../a-1-py3-none-any.whl#sha256={"b" * 64}" data-yanked="">x</a>
    <a href="https://host/p/a-1.tar.gz?x=1#sha256={"a" * 64}">x</a> <a href="a-1.zip">x</a>
    <a href="a-1.1.tar.gz#sha256={"c" * 64}">x</a> <a href="a-1.tar.bz2#md5={"d" * 32}">x</a>"""
    assert package_index.hashes_on(page, "1") == ("a" * 64, "b" * 64)


def test_markers_count_if_they_hold_on_one_target() -> None:
    known = graph(
        distribution(
            "root",
            "old ; python_full_version < '3.11.3'",
            "arm ; platform_machine == 'aarch64'",
            "windows ; sys_platform == 'win32'",
            "ancient ; python_version < '3.11'",
            "optional ; extra == 'more'",
        ),
        distribution("old"),
    )
    found, missing = closure(["Root"], known)
    assert found == {"root", "old"}
    assert missing.keys() == {"arm"}


def test_extras_bring_their_own_needs() -> None:
    known = graph(
        distribution("root", "fast[more]"),
        distribution("fast", "plain", "extra-one ; extra == 'more'", "extra-two ; extra == 'other'"),
        distribution("plain"),
        distribution("extra-one"),
    )
    assert closure(["root"], known) == ({"root", "fast", "plain", "extra-one"}, {})


def test_cudas_libraries_are_left_to_torch() -> None:
    known = graph(
        distribution("torch", "nvidia-cublas==13", "cuda-bindings", "triton", "sympy"), distribution("sympy")
    )
    assert closure(["torch"], known) == ({"torch", "sympy"}, {})


def test_a_version_that_another_target_refuses_is_named() -> None:
    known = graph(
        distribution("root", "tool>=2 ; python_version >= '3.12'"), distribution("tool", version="1")
    )
    with pytest.raises(LockFailure, match=r"root needs tool>=2.* and 1 was chosen"):
        closure(["root"], known)


def test_a_version_for_newer_pythons_only_is_refused() -> None:
    known = graph(
        distribution("new", requires_python=">=3.12"), distribution("fine", requires_python=">=3.10")
    )
    lock.check_pythons(known, ["fine"])
    with pytest.raises(LockFailure, match=r"new 1 needs Python >=3\.12, 3\.11\.0 must work too"):
        lock.check_pythons(known, known)
