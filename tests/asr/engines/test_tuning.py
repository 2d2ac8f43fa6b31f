"""Files of --tune: which of them a worker takes, and what it takes from them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from asr.config import EngineConfig
from asr.engines import load_engine
from asr.engines.hardware import hardware
from asr.engines.tuning import checkpoint_digest, tuned_config, versions
from tests.asr.engines.conftest import Pair

CPU = torch.device("cpu")
ENGINE = {
    "backend": "torch",
    "precision": "float32",
    "threads": 1,
    "max_batch_size": 4,
    "full_windows": False,
}


def tuned_file(folder: Path, model: Path, name: str = "a.yaml", **changes: Any) -> Path:
    """A file for this machine and `model`, with other values where a test asks for them."""
    content = {
        "engine": ENGINE,
        "hardware": hardware(CPU).as_table(),
        "checkpoint": {"name": "m", "sha256": checkpoint_digest(EngineConfig(str(model)))},
        "versions": versions(),
    }
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(content | changes))
    return folder / name


def config(model: Path, folder: Path, **settings: Any) -> EngineConfig:
    return EngineConfig(str(model), device="cpu", tuning_dir=str(folder), warm_up=False, **settings)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "m.pt"
    file.write_bytes(b"weights")
    return file


@pytest.fixture(autouse=True)
def log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_auto_runs_as_it_was_measured(
    multilingual: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tuned_file(tmp_path / "tuned", multilingual.path)
    engine = load_engine(config(multilingual.path, tmp_path / "tuned"))
    assert engine.description == "cpu float32"  # torch's, where auto alone takes another or bfloat16
    assert engine.max_batch_size == 4
    assert engine.spec.short_windows
    assert f"from {file}: backend torch, precision float32" in caplog.text


def test_a_backend_of_the_users_is_not_overruled(multilingual: Pair, tmp_path: Path) -> None:
    tuned_file(tmp_path / "tuned", multilingual.path)
    engine = load_engine(config(multilingual.path, tmp_path / "tuned", backend="onnxruntime", threads=1))
    assert (engine.description, engine.max_batch_size) == ("cpu onnxruntime float32", 16)


def test_settings_of_the_users_win(model: Path, tmp_path: Path) -> None:
    tuned_file(tmp_path / "tuned", model)
    found = tuned_config(config(model, tmp_path / "tuned", threads=3, max_batch_size=2), CPU)
    assert found is not None
    assert (found.threads, found.max_batch_size, found.full_windows) == (3, 2, False)
    assert tuned_config(config(model, tmp_path / "tuned", precision="float32"), CPU) is None


def test_several_workers_share_the_cores(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned_file(tmp_path / "tuned", model, engine={**ENGINE, "threads": 4})
    monkeypatch.setattr("asr.engines.tuning.cpu_threads", lambda config: 8 // config.workers)
    for workers, threads in ((1, 4), (2, 4), (4, 2)):
        found = tuned_config(config(model, tmp_path / "tuned", workers=workers), CPU)
        assert found is not None
        assert found.threads == threads


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware": {"name": "another processor", "model": "6/1", "cores": 2, "flags": "", "held_down": ""}},
        {"checkpoint": {"name": "m", "sha256": "0" * 64}},
        {"checkpoint": None},
    ],
)
def test_a_file_for_another_processor_or_checkpoint_is_ignored(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    tuned_file(tmp_path / "tuned", model, **changes)
    assert tuned_config(config(model, tmp_path / "tuned"), CPU) is None
    assert "none of 1 files" in caplog.text


def test_the_right_one_of_several_is_taken(model: Path, tmp_path: Path) -> None:
    tuned_file(tmp_path / "tuned", model, "a.yaml", checkpoint={"name": "m", "sha256": "0" * 64})
    tuned_file(tmp_path / "tuned", model, "b.yaml")
    assert tuned_config(config(model, tmp_path / "tuned"), CPU) is not None


def test_a_processor_that_is_held_down_is_another(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    tuned_file(tmp_path / "tuned", model)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert tuned_config(config(model, tmp_path / "tuned"), CPU) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "cannot be read"),
        ("- 1\n", "none of 1 files"),
    ],
)
def test_a_file_that_is_no_table_is_passed_over(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert tuned_config(config(model, tmp_path), CPU) is None
    assert said in caplog.text


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({**ENGINE, "warm_up": False}, "warm_up, which --tune does not choose"),
        ({**ENGINE, "threads": "many"}, "handler.engine.threads is 'many'"),
        ({"threads": 1}, "engine.backend is missing"),
        (None, "is not usable"),
    ],
)
def test_a_file_with_wrong_settings_is_passed_over_with_a_warning(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, engine: Any, said: str
) -> None:
    tuned_file(tmp_path / "tuned", model, engine=engine)
    assert tuned_config(config(model, tmp_path / "tuned"), CPU) is None
    assert said in caplog.text


def test_other_versions_of_the_packages_are_told(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuned_file(tmp_path / "tuned", model, versions={"torch": "1.0"})
    assert tuned_config(config(model, tmp_path / "tuned"), CPU) is not None
    assert "was measured with {'torch': '1.0'}: tune again" in caplog.text


def test_a_backend_that_is_gone_leaves_the_choice_to_auto(
    multilingual: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ctranslate2", None)
    int8 = {"backend": "ctranslate2", "compute_type": "int8"}
    tuned_file(tmp_path / "tuned", multilingual.path, engine=int8)
    engine = load_engine(config(multilingual.path, tmp_path / "tuned", threads=1))
    assert "ctranslate2" not in engine.description
    assert "the settings measured on this machine cannot be used" in caplog.text
