"""The arrows of the architecture: who may import what, read from the source of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HANDLER = ROOT / "handler"
CORE = ROOT / "asr"
ENGINES = CORE / "engines"

HEAVY = {"torch", "whisper"}  # the gateway imports the core and has neither
SERVER = {"ts"}
HTTP = {"requests", "httpx", "httpx2", "aiohttp", "urllib3", "fastapi", "http"}
STARTS_SERVER = {"whisper_handler.py"}


def imports(file: Path) -> Iterator[str]:
    """Full names of the modules a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # a relative import, written out
                package = file.relative_to(ROOT).parts[: -node.level]
                yield ".".join([*package, *([node.module] if node.module else [])])
            elif node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offenders(files: list[Path], forbidden: set[str]) -> list[str]:
    """`file imports module` for each import of a forbidden package or of something in it."""
    return [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if any(name == module or name.startswith(module + ".") for module in forbidden)
    ]


def python_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*.py") if "__pycache__" not in file.parts)


def core_files() -> list[Path]:
    files = [file for file in python_files(CORE) if not file.is_relative_to(ENGINES)]
    assert len(files) >= 8, "the core is not where this test looks"
    return files


def test_the_core_outside_engines_has_no_torch_no_server_and_no_http() -> None:
    assert offenders(core_files(), HEAVY | SERVER | HTTP) == []


def test_engines_do_not_know_the_server() -> None:
    assert offenders(python_files(ENGINES), SERVER | HTTP) == []


def test_only_the_entry_point_imports_torchserve() -> None:
    files = [file for file in python_files(CORE) + python_files(HANDLER) if file.name not in STARTS_SERVER]
    assert offenders(files, SERVER) == []


def test_only_the_handler_imports_engines() -> None:
    assert offenders(core_files(), {"asr.engines"}) == []


def test_the_core_does_not_know_the_adapter() -> None:
    assert offenders(python_files(CORE), {"adapter", "whisper_handler"}) == []


def test_the_handler_reads_no_development_code() -> None:
    assert (
        offenders(
            python_files(CORE) + python_files(HANDLER),
            {"tests", "scripts", "training", "benchmarks", "clients"},
        )
        == []
    )


def test_the_gateway_knows_the_core_alone() -> None:
    files = python_files(ROOT / "gateway")
    others = {"adapter", "whisper_handler", "tests", "scripts", "training", "benchmarks", "clients"}
    assert offenders(files, others) == []


def test_the_core_and_the_handler_do_not_know_the_gateway() -> None:
    assert offenders(python_files(CORE) + python_files(HANDLER), {"gateway"}) == []


@pytest.mark.parametrize("folder", ["gateway", "clients"])
def test_what_runs_without_torch_does_not_import_it(folder: str) -> None:
    files = python_files(ROOT / folder)
    assert len(files) >= 5, f"{folder}/ is not where this test looks"
    assert offenders(files, HEAVY | SERVER | {"asr.engines"}) == []


def test_the_entry_point_defines_one_class() -> None:
    """TorchServe takes a handler module only if exactly one class is defined in it (ts/model_loader.py)."""
    tree = ast.parse((HANDLER / "whisper_handler.py").read_text(encoding="utf-8"))
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["WhisperHandler"]


def test_an_import_that_breaks_a_rule_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules above hold because nothing breaks them, not because nothing is read."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "deep.py"
    file.write_text(
        "import torchaudio\ndef f():\n    from torch.nn import functional\n    import ts.context\n"
    )
    assert offenders([file], HEAVY | SERVER) == [
        "deep.py imports torch.nn",
        "deep.py imports torch.nn.functional",
        "deep.py imports ts.context",
    ]
