"""A run goes on where it stopped, with the rate and the labels that belong there."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from training.families import clips, run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One shard of two utterances of noise, one in each language."""
    folder = tmp_path / "data"
    folder.mkdir()
    noise = np.random.default_rng(0).standard_normal(2 * 16_000) * 3000
    noise.astype(np.int16).tofile(folder / "0000.pcm")
    rows = [
        {"language": language, "voice": "espeak-ng:x", "offset": offset, "samples": 16_000, "words": words}
        for language, offset, words in (
            ("en", 0, [["hello", 0.0, 0.4], ["again", 0.5, 0.9]]), ("hi", 16_000, [["चांद", 0.1, 0.8]]),
        )
    ]  # fmt: skip
    (folder / "0000.json").write_text(json.dumps(rows), "utf-8")
    return folder


@pytest.mark.parametrize("family", run.FAMILIES)
def test_a_run_goes_on_where_it_stopped(
    family: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "STAGES", (clips.Stage(1.0, (2.0,), 4.0, 0.0, 0.0, 0.5),))
    monkeypatch.setattr(run, "LOG_STEPS", 1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    spent = iter((0.0, 0.0, 0.0, 60.0) * 2)
    monkeypatch.setattr(run.time, "process_time", lambda: next(spent))
    folder = tmp_path / "run"
    folder.mkdir()
    for minutes in (1.0, 2.0):
        run.train(0, run.Settings(family, folder, data, minutes, 1, 1, None))
        for store in folder.glob("store-*"):
            store.unlink()
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert (state["step"], state["spent_s"]) == (4, 120.0)
    lines = (folder / "log.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["step=1", "step=2", "step=3", "step=4"]
    assert "nan" not in "".join(lines)


def test_the_rate_rises_stays_and_falls_to_a_hundredth() -> None:
    assert run.learning_rate(0, 0.0) < run.learning_rate(run.WARMUP_STEPS // 2, 0.0) < run.PEAK_RATE
    assert run.learning_rate(1000, run.DECAY_FROM) == run.PEAK_RATE
    assert run.learning_rate(1000, 1.0) == pytest.approx(run.PEAK_RATE / 100)


def test_the_label_of_a_frame_is_the_piece_said_there() -> None:
    rows = clips.said([(7, 0.1, 0.3), (9, 0.3, 0.31)], 10, 0.005)
    assert rows.tolist() == [-1, -1, 7, 7, 7, 7, 7, 9, -1, -1]
