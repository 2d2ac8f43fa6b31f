"""The model card's figures: how long a model was trained stands in its file, its error rates in a table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.families import to_onnx
from training.families.conformer import Shape
from training.families.ctc import CtcNetwork

pytest.importorskip("sherpa_onnx")
from training.families import evaluation

ROW = {
    "family": "ctc", "language": "hi", "clips": "short", "count": 120, "wer": 7.94, "cer": 2.5,
    "cpu_s_per_audio_s": 0.0131,
}  # fmt: skip


def test_an_export_says_how_long_it_was_trained(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save({"spent_s": 1260.0, "audio_s": 97_200.0}, checkpoint)
    network = CtcNetwork(Shape(dim=32, heads=2, layers=1, hidden=48, kernel=3))
    to_onnx.export(network, tmp_path / "ctc", to_onnx.training_of(checkpoint))
    line = evaluation.training_line(tmp_path / "ctc", "ctc")
    assert line == "- CTC: 21 processor minutes, in which it heard 27.0 hours of sound"


def test_a_table_says_which_targets_are_met() -> None:
    rows = [ROW, {**ROW, "wer": 8.1, "language": "en"}, {**ROW, "clips": "dense", "count": 18}]
    assert evaluation.table(rows).splitlines()[2:] == [
        "| CTC | Hindi | 120 short | 7.9 % | 2.5 % | ≤ 8 % | yes | 0.013 |",
        "| CTC | English | 120 short | 8.1 % | 2.5 % | ≤ 8 % | **no** | 0.013 |",
        "| CTC | Hindi | 18 dense | 7.9 % | 2.5 % |  |  | 0.013 |",
    ]


def test_the_card_gets_new_figures_and_keeps_its_words(tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text((Path(evaluation.__file__).parent / "card.md").read_text("utf-8"), "utf-8")
    evaluation.put_into(card, "old figures")
    evaluation.put_into(card, "| new |")
    text = card.read_text("utf-8")
    assert "old figures" not in text and text.count("| new |") == 1
    assert "## Results" in text and "## Limits" in text
    card.write_text("no marks", "utf-8")
    with pytest.raises(SystemExit, match="has no lines"):
        evaluation.put_into(card, "| new |")
