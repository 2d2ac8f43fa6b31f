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
            {"tests", "scripts", "training", "benchmarks", "clients", "tune"},
        )
        == []
    )


def test_the_gateway_knows_the_core_alone() -> None:
    files = python_files(ROOT / "gateway")
    others = {"adapter", "whisper_handler", "tests", "scripts", "training", "benchmarks", "clients", "tune"}
    assert offenders(files, others) == []


def test_bulk_stands_on_the_core_and_the_clients() -> None:
    beside = {"gateway", "adapter", "whisper_handler", "tests", "scripts", "training", "benchmarks", "tune"}
    assert offenders(python_files(ROOT / "bulk"), beside) == []
    below = [file for room in ("asr", "gateway", "handler", "clients") for file in python_files(ROOT / room)]
    assert offenders(below, {"bulk"}) == []


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


# The gateway's rooms, from the roof down: each imports from the floors below its own, and nothing else.
GATEWAY_FLOORS = (
    ("__main__",),
    ("process",),
    ("app",),
    ("routes", "middleware"),
    ("realtime", "jobs"),
    ("http",),
    ("service", "openapi", "visualize"),
    ("run",),
    ("dispatch", "webhooks"),
    ("torchserve", "access", "media", "outbound"),
    ("observe", "patience"),
    ("settings",),
    ("upstream_settings", "settings_outgoing"),
    ("api_errors", "caller", "drain", "job_rows", "setting_types", "settings_errors"),
)


def room_of(name: str, package: str) -> str | None:
    """The room of a module, a folder or a file at the package's top; None for another package's module."""
    prefix = package.replace("/", ".") + "."
    room = name.removeprefix(prefix).partition(".")[0]
    is_room = (ROOT / package / room).is_dir() or (ROOT / package / f"{room}.py").is_file()
    return room if name.startswith(prefix) and is_room else None


def room_arrows(package: str) -> dict[str, set[str]]:
    """Each room of a package → the other rooms that its files import."""
    arrows: dict[str, set[str]] = {}
    for file in python_files(ROOT / package):
        here = file.relative_to(ROOT / package).with_suffix("").parts[0]
        rooms = {room for name in imports(file) if (room := room_of(name, package))}
        arrows.setdefault(here, set()).update(rooms - {here})
    del arrows["__init__"]
    return arrows


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The rooms that lie on a circle of imports or lead to one; none where there is none."""
    left = dict(arrows)
    while free := [room for room, others in left.items() if not others & left.keys()]:
        for room in free:
            del left[room]
    return sorted(left)


@pytest.mark.parametrize("package", ["asr", "asr/engines", "gateway"])
def test_no_imports_between_rooms_go_round(package: str) -> None:
    arrows = room_arrows(package)
    assert len(arrows) >= 10, f"{package}/ is not where this test looks"
    assert circle(arrows) == []


def test_the_gateways_rooms_import_from_the_floors_below() -> None:
    floor = {room: number for number, rooms in enumerate(GATEWAY_FLOORS) for room in rooms}
    arrows = room_arrows("gateway")
    assert arrows.keys() == floor.keys(), "a room without a floor, or a floor without its room"
    wrong = [
        f"{room} imports {other}"
        for room, others in arrows.items()
        for other in others
        if floor[other] <= floor[room]
    ]
    assert wrong == []


def test_the_dispatcher_knows_no_http_and_no_json() -> None:
    files = python_files(ROOT / "gateway" / "dispatch")
    assert offenders(files, {"json", "httptools", "starlette", *HTTP}) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
