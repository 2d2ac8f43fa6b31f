"""The scoring client on finished transcripts: vowel marks count, punctuation does not."""

from __future__ import annotations

import json
from pathlib import Path

import score as program
from whisper_client.scoring import clusters, normalised, normaliser_for, score, scored


def test_normalisation_keeps_combining_marks() -> None:
    assert normalised("हमने उस उम्मीदवार को चुना।") == "हमने उस उम्मीदवार को चुना"
    assert normalised("It's 5, don't!") == "its 5 dont"
    assert normalised("५ क\u093c") == normalised("5 \u0958")


def test_languages_without_blanks_are_scored_by_characters() -> None:
    found = score("今日は 5 時", "今日は５字。", normaliser_for("ja"))
    assert (found.words.reference, found.words.substitutions, found.words.wrong) == (5, 1, 1)
    assert found.characters == found.words
    assert normaliser_for("hi") is normalised


def test_characters_carry_their_marks() -> None:
    assert clusters("पानी") == ["पा", "नी"]


def test_a_wrong_vowel_is_a_wrong_word_before_and_after_normalisation() -> None:
    row = scored("a", "पानी ठंडा है", "पानि ठंडा है।")
    assert row.raw.words.substitutions == 2
    assert row.normalised.words.substitutions == 1
    assert row.substitutions == (("पानी", "पानि"),)


def test_an_empty_hypothesis_is_all_deletions() -> None:
    words = score("two blue fish", "", normalised).words
    assert (words.reference, words.deletions, words.rate) == (3, 3, 1.0)


def test_a_hypothesis_file_is_scored_without_a_server(tmp_path: Path, capsys) -> None:
    (tmp_path / "text").write_text("a two blue fish\nb घर\n", "utf-8")
    (tmp_path / "given").write_text("a Two blue fish.\nb पर\n", "utf-8")
    target = tmp_path / "scores.json"
    assert program.main([str(tmp_path), "--hypotheses", str(tmp_path / "given"), "--json", str(target)]) == 0
    assert "total (2)" in capsys.readouterr().out
    values = json.loads(target.read_text("utf-8"))
    assert values["normalised"]["words"] == {
        "reference": 4, "substitutions": 1, "deletions": 0, "insertions": 0, "rate": 0.25,
    }  # fmt: skip
