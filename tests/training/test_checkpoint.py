"""The committed demo checkpoint: its checksum, its format, and that upstream reads it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
import whisper

from samples.make_samples import heard
from whisper_client.scoring import normalised

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "whisper-models"
DEMO = MODELS / "demo.pt"
MAX_BYTES = 16_000_000


def digest() -> str:
    return hashlib.sha256(DEMO.read_bytes()).hexdigest()


def test_the_checksum_file_names_the_committed_bytes() -> None:
    assert (MODELS / "demo.pt.sha256").read_text() == f"{digest()}  demo.pt\n"


def test_the_model_card_names_the_committed_bytes() -> None:
    assert digest() in (MODELS / "demo.md").read_text("utf-8")


def test_the_file_is_small_because_every_entry_is_deflated() -> None:
    assert DEMO.stat().st_size <= MAX_BYTES
    with zipfile.ZipFile(DEMO) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}


def test_it_loads_without_unpickling_code_and_has_openai_dimensions() -> None:
    checkpoint = torch.load(DEMO, weights_only=True)
    assert set(checkpoint) == {"dims", "model_state_dict"}
    fixed = {"n_mels": 80, "n_vocab": 51_865, "n_audio_ctx": 1500, "n_text_ctx": 448}
    assert {name: checkpoint["dims"][name] for name in fixed} == fixed
    assert all(torch.isfinite(weight).all() for weight in checkpoint["model_state_dict"].values())


def test_upstream_loads_it_and_aligns_with_the_last_decoder_layer() -> None:
    model = whisper.load_model(str(DEMO), "cpu")
    assert model.is_multilingual
    heads = model.alignment_heads.to_dense()
    assert heads[-1].all()
    assert not heads[:-1].any()


@pytest.mark.parametrize("clip", ["harvard.wav", "hindi.opus", "silence.wav"])
def test_upstream_transcribes_a_sample_rightly(clip: str) -> None:
    """What the checkpoint is for: the unmodified package, language detection and all, at its defaults."""
    text = heard(whisper.load_model(str(DEMO), "cpu"), ROOT / "samples" / clip)
    reference = (ROOT / "samples" / clip).with_suffix(".txt").read_text("utf-8")
    assert normalised(text) == normalised(reference)
