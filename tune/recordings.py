"""What is transcribed: recordings of people with what they say, of samples/ or the user's own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_client.errors import BadArgument
from whisper_client.references import Reference, read_references
from whisper_client.scoring import normaliser_for, score

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
DEMO = ROOT / "whisper-models" / "demo.pt"
# synthesised, with the words that the demo knows
DEMO_CLIPS = {"harvard.wav": "en", "digits.flac": "en", "emma.mp3": "en", "garden.m4a": "en"}
# with more wrong words float32 guesses: a format that guesses otherwise says nothing about the format
MOST_WRONG = 0.5


@dataclass(frozen=True, slots=True)
class Words:
    """A configuration's transcripts against the references."""

    wrong: int
    total: int
    changed: tuple[str, ...] = ()  # "fifteen → 15": where they differ from float32 torch's

    @property
    def rate(self) -> float:
        return self.wrong / max(self.total, 1)


def recordings(checkpoint: Path, manifest: Path | None) -> list[Reference]:
    """What is transcribed: `manifest`'s, else what samples/ has for this checkpoint; raises BadArgument."""
    if manifest is None and checkpoint.absolute() == DEMO:
        return [
            Reference(name, SAMPLES / name, (SAMPLES / name).with_suffix(".txt").read_text("utf-8"), language)
            for name, language in DEMO_CLIPS.items()
        ]
    found = [one for one in read_references(manifest or SAMPLES / "manifest.jsonl") if one.text]
    if missing := [one for one in found if not one.audio.is_file()]:
        raise BadArgument(f"{len(missing)} recordings are not there, e.g. {missing[0].audio}")
    return found


def intelligible(references: Sequence[Reference], texts: Mapping[str, str]) -> list[Reference]:
    """The recordings that the model understands, by the texts of float32 torch.

    Texts lack recordings of a language that the model does not know.
    """
    there = [one for one in references if one.name in texts]
    return [one for one in there if word_errors([one], texts, texts).rate <= MOST_WRONG]


def word_errors(references: Sequence[Reference], texts: Mapping[str, str], exact: Mapping[str, str]) -> Words:
    """Wrong words of `texts`, and where they differ from the texts `exact`."""
    wrong = total = 0
    changed: list[str] = []
    for one in references:
        normaliser = normaliser_for(one.language)
        words = score(one.text, texts[one.name], normaliser).words
        wrong, total = wrong + words.wrong, total + words.reference
        changed += differences(normaliser(exact[one.name]).split(), normaliser(texts[one.name]).split())
    return Words(wrong, total, tuple(changed))


def differences(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Where two texts differ: "fifteen → 15", "so → (nothing)"."""
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    return [
        f"{' '.join(before[a:b]) or '(nothing)'} → {' '.join(after[c:d]) or '(nothing)'}"
        for kind, a, b, c, d in matcher.get_opcodes()
        if kind != "equal"
    ]
