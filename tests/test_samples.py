"""samples/: what may be passed on, what stands beside each clip, and how much of it there is."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from whisper_client.references import read_references
from whisper_client.scoring import normalised

SAMPLES = Path(__file__).parents[1] / "samples"
MANIFEST = SAMPLES / "manifest.jsonl"
REAL = [json.loads(line) for line in MANIFEST.read_text("utf-8").splitlines()]
AUDIO = sorted(
    path.name for path in SAMPLES.iterdir() if path.suffix not in (".md", ".txt", ".py", ".jsonl", "")
)
FREE = ("CC0", "CC BY 4.0", "CC BY-SA 4.0", "MIT", "public domain")
MAX_BYTES = 2_000_000


@pytest.mark.parametrize("name", AUDIO)
def test_every_clip_has_its_text_and_its_line(name: str) -> None:
    assert (SAMPLES / name).with_suffix(".txt").is_file()
    assert f"| `{name}` |" in (SAMPLES / "README.md").read_text("utf-8")


@pytest.mark.parametrize("entry", REAL, ids=lambda entry: entry["path"])
def test_a_recording_of_a_person_may_be_passed_on(entry: dict[str, object]) -> None:
    assert str(entry["licence"]).startswith(FREE) and entry["source"]
    text = (SAMPLES / str(entry["path"])).with_suffix(".txt").read_text("utf-8")
    assert normalised(text) == normalised(str(entry["text"]))
    with av.open(str(SAMPLES / str(entry["path"]))) as container:
        assert container.duration / av.time_base == pytest.approx(entry["seconds"], abs=0.1)


def test_people_are_many_and_small() -> None:
    clips = read_references(MANIFEST)
    assert {one.language for one in clips} >= {"en", "de", "es"}
    assert {one.kind for one in clips} >= {"read", "noisy", "telephone"}
    assert sum(one.audio.stat().st_size for one in clips) < MAX_BYTES
