"""What a search leaves: its file, as a worker reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from asr.config import EngineConfig
from asr.engines.hardware import Hardware, hardware
from asr.engines.tuning import checkpoint_digest, tuned_config
from tests.tune.samples import cell
from tune.configurations import Configuration
from tune.measurements import Cell
from tune.outcome import Outcome
from tune.recordings import Words
from tune.terminal import table

HERE = hardware(torch.device("cpu"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "mine.pt"
    file.write_bytes(b"weights")
    return file


def outcome(model: Path, winner: Cell, *others: Cell, machine: Hardware = HERE) -> Outcome:
    return Outcome(
        winner=winner,
        cells=[*others, winner],
        exact=Words(20, 200),
        hardware=machine,
        checkpoint="mine",
        sha256=checkpoint_digest(EngineConfig(str(model))),
        minutes=3.0,
        load=0.1,
        largest_batch=8,
    )


def test_a_worker_takes_what_was_written(model: Path, tmp_path: Path) -> None:
    winner = Cell(
        Configuration("onnxruntime", "weights_int8", 1, 4, full_windows=False, spinning="never"),
        cell(20, 20, 20).samples,
        Words(20, 200, ("fünf → 5",)),
    )
    (tmp_path / "tuned").mkdir()
    file = outcome(model, winner, cell(10, 10, 10)).write(tmp_path / "tuned")
    assert file.name.endswith("-cores-mine.yaml")
    assert sorted(path.suffix for path in file.parent.iterdir()) == [".svg", ".yaml"]
    found = tuned_config(
        EngineConfig(str(model), device="cpu", tuning_dir=str(file.parent)), torch.device("cpu")
    )
    assert found is not None
    assert (found.backend, found.compute_type, found.spinning) == ("onnxruntime", "weights_int8", "never")
    assert (found.max_batch_size, found.full_windows) == (4, False)
    assert "fünf → 5" in file.read_text(encoding="utf-8")


def test_all_cores_and_the_largest_batch_are_the_defaults(model: Path) -> None:
    machine = replace(HERE, cores=4)
    winner = Cell(Configuration("torch", "float32", 4, 8), cell(20, 20, 20).samples)
    engine = outcome(model, winner, machine=machine).engine()
    assert (engine["threads"], engine["max_batch_size"]) == (0, 16)
    half = Cell(Configuration("torch", "float32", 2, 1), winner.samples)
    engine = outcome(model, half, machine=machine).engine()
    assert (engine["threads"], engine["max_batch_size"]) == (2, 1)


def test_the_files_are_named_after_processor_and_checkpoint(model: Path) -> None:
    machine = Hardware("AMD EPYC(TM) 9R14 96-Core Processor", "25/17", 8, "avx2")
    found = outcome(model, cell(1, 1, 1), machine=machine)
    assert found.stem == "amd-epyc-9r14-96-core-processor-8-cores-mine"
    held = replace(machine, held_down="ATEN_CPU_CAPABILITY=avx2")
    assert outcome(model, cell(1, 1, 1), machine=held).stem.endswith("-aten-cpu-capability-avx2-mine")


def test_the_table_has_the_winner_first_and_says_who_was_disturbed(model: Path) -> None:
    winner, slow, dead = cell(20, 21, 22), cell(10, backend="onnxruntime"), cell(backend="ctranslate2")
    slow.loses, dead.loses, slow.is_disturbed = "0.48 of the winner's speed", "crashed by SIGILL", True
    assert not outcome(model, winner, slow, dead).is_doubtful
    slow.is_today = True
    assert outcome(model, winner, slow, dead).is_doubtful
    slow.is_today = False
    slow.words = Words(21, 200, ("three → 3",))
    lines = table(outcome(model, winner, slow, dead)).splitlines()
    assert lines[2].startswith("1  torch float32, 30 s windows, batch 8, 2 threads")
    assert "21.0 (20.0-22.0)" in lines[2]
    assert lines[3].endswith("0.48 of the winner's speed")
    assert "10.0*" in lines[3] and "21 of 200" in lines[3]
    assert lines[4].endswith("crashed by SIGILL")
    assert lines[5] == "words changed by 2: three → 3"
    assert lines[6].startswith("* these cores did other work meanwhile")
    assert yaml.safe_dump(outcome(model, winner, slow, dead).as_table())
