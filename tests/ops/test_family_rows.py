"""Families beside Whisper in the table of models: what serve.sh makes of their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.engines.memory_plan import MIB
from scripts.serve import settings
from scripts.serve.arguments import parse_options
from scripts.serve.memory_needs import FAMILY_WINDOW_BYTES, WORKER_BYTES, needs_of
from scripts.serve.model_table import read_table
from scripts.serve.models import weights_of
from scripts.serve.serve_error import ServeError
from scripts.serve.served_models import model_configs, served_models
from tests.asr.sherpa_folders import write_ctc, write_transducer
from tests.ops.commands import ROOT

BASE = settings.read_model_config(ROOT / "config" / "model-config.yaml")
TABLE = """
models:
  whisper: {checkpoint: mine.pt}
  hindi: {checkpoint: ctc, languages: [hi, mr], batch_size: 4}
  live: {checkpoint: live, family: transducer, search_paths: 4, endpoints: model}
  german: {checkpoint: mine.pt, languages: [de]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "models.yaml").write_text(TABLE)
    (tmp_path / "mine.pt").write_bytes(b"weights")
    write_ctc(tmp_path / "ctc")
    write_transducer(tmp_path / "live")
    return tmp_path


def test_a_row_says_what_its_worker_must_know(folder: Path) -> None:
    options = parse_options([], {}, folder, folder)
    configs = model_configs(BASE, options, served_models(options, folder, folder))
    engines = {name: config["handler"]["engine"] for name, config in configs.items()}
    keys = ("family", "languages", "search_paths", "endpoints", "max_batch_size")
    assert {name: tuple(engine[key] for key in keys) for name, engine in engines.items()} == {
        "whisper": ("auto", [], 0, "silence", 16),
        "hindi": ("auto", ["hi", "mr"], 0, "silence", 4),
        "live": ("transducer", [], 4, "model", 16),
        "german": ("auto", [], 0, "silence", 16),
    }
    for config in configs.values():
        settings.check_handler_section(config)


def test_its_memory_is_known_from_its_files(folder: Path) -> None:
    options = parse_options([], {}, folder, folder)
    configs = model_configs(BASE, options, served_models(options, folder, folder))
    found = needs_of({name: config["handler"] for name, config in configs.items()})
    assert found["needs"].keys() == {"hindi", "live"}, "of the others nothing can be read"
    for name, batch in (("hindi", 4), ("live", 16)):
        expected = WORKER_BYTES + batch * FAMILY_WINDOW_BYTES
        assert expected < found["needs"][name]["cpu"] < expected + MIB, "a few kB of weights"


def test_a_folder_of_it_is_a_model_by_its_path(folder: Path) -> None:
    assert weights_of("ctc", folder, folder).checkpoint == folder / "ctc"
    (folder / "ctc" / "model.onnx").unlink()
    with pytest.raises(ServeError, match=r"is a folder without a model: give .* sherpa-onnx"):
        weights_of("ctc", folder, folder)


@pytest.mark.parametrize("row", ["family: rnnt", "search_paths: -1", "endpoints: never"])
def test_a_wrong_value_names_its_key(tmp_path: Path, row: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(f"models:\n  whisper: {{checkpoint: a.pt, {row}}}\n")
    with pytest.raises(ServeError, match=f"models.yaml: whisper: {row.partition(':')[0]}: "):
        read_table(file)
