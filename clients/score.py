#!/usr/bin/env python3
"""Scores transcripts against references: word and character error rates, raw and normalised side by side.

The references are a Kaldi data directory: `wav.scp` (utterance id, audio path) and `text` (utterance id,
words). The audio goes to the server, or `--hypotheses` names a file like `text` with finished transcripts.

Exit code: 0 when every utterance was scored, 1 when the server failed for some, 2 when a file is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from whisper_client.client import WhisperClient
from whisper_client.command_line import (
    add_server_arguments,
    make_client,
    make_parser,
    positive_count,
    report_error,
    run,
)
from whisper_client.errors import BadArgument, ClientError, NoServer

EXAMPLES = """\
  python clients/score.py data/test
  python clients/score.py data/hindi --language hi --json scores.json
  python clients/score.py data/test --hypotheses decoded.txt --utterances"""
SHOWN_SUBSTITUTIONS = 20
APOSTROPHES = dict.fromkeys(map(ord, "'’ʼ"))
JOINERS = dict.fromkeys((0x200C, 0x200D))  # zero-width: they change the look of a conjunct, not the word
Normaliser = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Errors:
    """Alignment counts against `reference` units (words or characters)."""

    reference: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(*(a + b for a, b in zip(_counts(self), _counts(other), strict=True)))

    @property
    def rate(self) -> float:
        """(S + D + I) / N; insertions into an empty reference count as 1 each."""
        return (self.substitutions + self.deletions + self.insertions) / max(self.reference, 1)


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one text, or the sum over texts, by one normaliser."""

    words: Errors = Errors()
    characters: Errors = Errors()

    def __add__(self, other: Score) -> Score:
        return Score(self.words + other.words, self.characters + other.characters)


@dataclass(frozen=True, slots=True)
class Scored:
    """One utterance: both texts, its two scores, and the word pairs (reference, hypothesis) that differ."""

    name: str
    reference: str
    hypothesis: str
    raw: Score
    normalised: Score
    substitutions: tuple[tuple[str, str], ...]


def raw(text: str) -> str:
    """The text with runs of blanks made one blank; nothing else is forgiven."""
    return " ".join(text.split())


def normalised(text: str) -> str:
    """NFC, lower case, digits in ASCII, without punctuation and symbols (danda too); combining marks stay.

    Indic vowels are combining marks: Whisper's own normalisers drop them and so hide vowel errors.
    """
    folded = unicodedata.normalize("NFC", text).lower().translate(APOSTROPHES | JOINERS)
    return " ".join("".join(map(_normalised_character, folded)).split())


def _normalised_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    return " " if category[0] in "PS" else character


def clusters(text: str) -> list[str]:
    """The characters as readers count them: each with the combining marks behind it."""
    found: list[str] = []
    for character in text:
        if found and unicodedata.category(character)[0] == "M":
            found[-1] += character
        else:
            found.append(character)
    return found


def score(reference: str, hypothesis: str, normaliser: Normaliser) -> Score:
    """Errors in words and in character clusters after `normaliser` on both sides."""
    wanted, given = normaliser(reference), normaliser(hypothesis)
    return Score(_errors(wanted.split(), given.split()), _errors(clusters(wanted), clusters(given)))


def scored(name: str, reference: str, hypothesis: str) -> Scored:
    """Both scores of one utterance."""
    pairs = substitutions(normalised(reference).split(), normalised(hypothesis).split())
    both = (score(reference, hypothesis, normaliser) for normaliser in (raw, normalised))
    return Scored(name, reference, hypothesis, *both, pairs)


def substitutions(reference: list[str], hypothesis: list[str]) -> tuple[tuple[str, str], ...]:
    """Aligned word pairs that differ."""
    if not reference or not hypothesis:
        return ()
    chunks = _aligned(reference, hypothesis).alignments[0]
    pairs = []
    for chunk in chunks:
        if chunk.type == "substitute":
            wanted = reference[chunk.ref_start_idx : chunk.ref_end_idx]
            pairs += zip(wanted, hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx], strict=True)
    return tuple(pairs)


def _errors(reference: list[str], hypothesis: list[str]) -> Errors:
    if not reference or not hypothesis:
        return Errors(len(reference), 0, len(reference), len(hypothesis))
    found = _aligned(reference, hypothesis)
    return Errors(len(reference), found.substitutions, found.deletions, found.insertions)


def _aligned(reference: list[str], hypothesis: list[str]) -> Any:
    """jiwer's alignment of two lists of units; each unit is passed as one word."""
    try:
        from jiwer import process_words
    except ImportError as error:
        raise BadArgument("scoring needs jiwer: pip install jiwer") from error
    units = {unit: chr(0xF0000 + row) for row, unit in enumerate(dict.fromkeys(reference + hypothesis))}
    return process_words(*(" ".join(units[unit] for unit in side) for side in (reference, hypothesis)))


def _counts(errors: Errors) -> tuple[int, int, int, int]:
    return errors.reference, errors.substitutions, errors.deletions, errors.insertions


def read_table(path: Path) -> dict[str, str]:
    """Utterance id → the rest of its line; raises BadArgument."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadArgument(f"cannot read {path}: {error}") from error
    table: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, _, rest = line.strip().partition(" ")
        if name in table:
            raise BadArgument(f"{path}:{number}: {name} is there twice")
        if name:
            table[name] = rest.strip()
    return table


def audio_paths(table: Path, names: Sequence[str]) -> dict[str, Path]:
    """Where the audio of each utterance is, relative to the working directory or to `wav.scp`."""
    entries = read_table(table)
    paths = {}
    for name in names:
        entry = entries.get(name, "")
        if not entry or entry.endswith("|"):
            what = "pipes are not run: write the file first" if entry else "no such utterance"
            raise BadArgument(f"{table}: {name}: {what}")
        beside = table.parent / entry
        paths[name] = beside if beside.exists() else Path(entry)
    return paths


def transcribe_all(
    client: WhisperClient, paths: Mapping[str, Path], concurrency: int, options: Mapping[str, Any]
) -> tuple[dict[str, str], int]:
    """Transcripts of the files that succeeded, and the worst exit code of those that did not."""

    def transcribe(name: str) -> str | ClientError:
        try:
            return client.transcribe(paths[name], response_format="json", **options).raise_for_status().text
        except NoServer:
            raise
        except ClientError as error:
            return error

    texts, code = {}, 0
    with ThreadPoolExecutor(concurrency) as pool:
        answers = tqdm(pool.map(transcribe, paths), total=len(paths), desc="transcribing", unit="file")
        for name, answer in zip(paths, answers, strict=True):
            if isinstance(answer, ClientError):
                code = max(code, report_error(answer, name))
            else:
                texts[name] = answer
    return texts, code


def report(rows: Sequence[Scored], per_utterance: bool) -> str:
    """The result as text: totals, utterances when asked for, and the most frequent substitutions."""
    lines = [f"{'':24}{'WER raw':>9}{'norm.':>9}{'CER raw':>9}{'norm.':>9}{'words':>8}"]
    for row in rows if per_utterance else ():
        lines.append(_line(row.name, row.raw, row.normalised))
    lines.append(_line(f"total ({len(rows)})", *_totals(rows)))
    counted = Counter(pair for row in rows for pair in row.substitutions).most_common(SHOWN_SUBSTITUTIONS)
    lines += [f"{count:5} × {wanted} → {given}" for (wanted, given), count in counted]
    return "\n".join(lines)


def _line(name: str, raw_score: Score, normal: Score) -> str:
    rates = (raw_score.words, normal.words, raw_score.characters, normal.characters)
    return f"{name:24}" + "".join(f"{100 * e.rate:8.2f}%" for e in rates) + f"{normal.words.reference:8}"


def _totals(rows: Sequence[Scored]) -> tuple[Score, Score]:
    return sum((row.raw for row in rows), Score()), sum((row.normalised for row in rows), Score())


def document(rows: Sequence[Scored]) -> dict[str, Any]:
    """The result as JSON values; rates are fractions."""

    def values(score: Score) -> dict[str, Any]:
        sides = {"words": score.words, "characters": score.characters}
        return {name: asdict(errors) | {"rate": errors.rate} for name, errors in sides.items()}

    total_raw, total = _totals(rows)
    utterances = [
        {"id": row.name, "reference": row.reference, "hypothesis": row.hypothesis,
         "raw": values(row.raw), "normalised": values(row.normalised), "substitutions": row.substitutions}
        for row in rows
    ]  # fmt: skip
    return {"raw": values(total_raw), "normalised": values(total), "utterances": utterances}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    references = read_table(arguments.data / "text")
    if not references:
        raise BadArgument(f"{arguments.data / 'text'} holds no utterance")
    code = 0
    if arguments.hypotheses:
        texts = read_table(arguments.hypotheses)
        if missing := [name for name in references if name not in texts]:
            raise BadArgument(f"{arguments.hypotheses} lacks {len(missing)} utterances, e.g. {missing[0]}")
    else:
        paths = audio_paths(arguments.data / "wav.scp", list(references))
        with make_client(arguments) as client:
            options = {"language": arguments.language}
            texts, code = transcribe_all(client, paths, arguments.concurrency, options)
    rows = [scored(name, wanted, texts[name]) for name, wanted in references.items() if name in texts]
    print(report(rows, arguments.utterances))
    if arguments.json:
        arguments.json.write_text(json.dumps(document(rows), ensure_ascii=False, indent=1) + "\n", "utf-8")
    return code


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Word and character error rates over a Kaldi data directory.", EXAMPLES)
    parser.add_argument("data", type=Path, metavar="DIR", help="directory with wav.scp and text")
    parser.add_argument(
        "--hypotheses", type=Path, metavar="FILE", help="score these transcripts, lines as in text"
    )
    parser.add_argument("--utterances", action="store_true", help="show every utterance, not just the total")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all counts and texts there too")
    parser.add_argument("--language", metavar="CODE", help="spoken language (default: detected)")
    parser.add_argument(
        "--concurrency", type=positive_count, default=2, metavar="N", help="requests under way"
    )
    add_server_arguments(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run(main))
