#!/usr/bin/env python3
"""Scores transcripts against references: word and character error rates, raw and normalised side by side.

The references are a Kaldi data directory, `wav.scp` (utterance id, audio path) and `text` (utterance id,
words), or a manifest, one JSON object a line with `path`, `text` and, if you like, `language`. The audio
goes to the server, or `--hypotheses` names a file like `text` with finished transcripts. Chinese, Japanese
and others written without blanks are scored by characters. benchmarks/accuracy.py compares systems.

Exit code: 0 when every utterance was scored, 1 when the server failed for some, 2 when a file is wrong,
130 after Ctrl-C, which scores the transcripts so far.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tqdm import tqdm

from whisper_client.client import WhisperClient
from whisper_client.command_line import (
    INTERRUPTED,
    add_server_arguments,
    check_writable,
    make_client,
    make_parser,
    positive_count,
    report_error,
    run,
)
from whisper_client.errors import BadArgument, ClientError, NoServer
from whisper_client.references import read_references, read_table
from whisper_client.scoring import Score, Scored, normaliser_for, scored

EXAMPLES = """\
  python clients/score.py data/test
  python clients/score.py data/hindi --language hi --json scores.json
  python clients/score.py clips/manifest.jsonl --openai http://127.0.0.1:8000/v1
  python clients/score.py data/test --hypotheses decoded.txt --utterances"""
SHOWN_SUBSTITUTIONS = 20


def transcribe_all(
    client: WhisperClient, paths: Mapping[str, Path], concurrency: int, options: Mapping[str, Any]
) -> tuple[dict[str, str], int]:
    """Transcripts of the files that succeeded, and the worst exit code; Ctrl-C ends the wait."""
    ended: SimpleQueue[tuple[str, str | Exception]] = SimpleQueue()
    names = SimpleQueue[str]()
    for name in paths:
        names.put(name)
    for _ in range(min(concurrency, len(paths))):  # daemons: Ctrl-C does not wait for them
        threading.Thread(target=_transcribe, args=(client, paths, options, names, ended), daemon=True).start()
    texts: dict[str, str] = {}
    code = 0
    try:
        for _ in tqdm(range(len(paths)), desc="transcribing", unit="file"):
            name, answer = ended.get()
            if isinstance(answer, str):
                texts[name] = answer
            elif isinstance(answer, ClientError) and not isinstance(answer, NoServer):
                code = max(code, report_error(answer, name))
            else:
                raise answer
    except KeyboardInterrupt:
        code = INTERRUPTED
        while not ended.empty():  # ended, but not reported yet
            name, answer = ended.get()
            if isinstance(answer, str):
                texts[name] = answer
    return texts, code


def _transcribe(
    client: WhisperClient,
    paths: Mapping[str, Path],
    options: Mapping[str, Any],
    names: SimpleQueue[str],
    ended: SimpleQueue[tuple[str, str | Exception]],
) -> None:
    """One utterance after the other until `names` is empty."""
    while True:
        try:
            name = names.get_nowait()
        except Empty:
            return
        try:
            reply = client.transcribe(paths[name], response_format="json", **options)
            ended.put((name, reply.raise_for_status().text))
        except Exception as error:  # a bug must end the program, not one thread
            ended.put((name, error))


def report(rows: Sequence[Scored], wanted: int, per_utterance: bool) -> str:
    """The result as text: totals, utterances when asked for, and the most frequent substitutions.

    The total says of how many utterances it is: one without a transcript is no part of it.
    """
    lines = [f"{'':24}{'WER raw':>9}{'norm.':>9}{'CER raw':>9}{'norm.':>9}{'words':>8}"]
    if per_utterance:
        lines += [_line(row.name, row.raw, row.normalised) for row in rows]
    count = f"{len(rows)}" if len(rows) == wanted else f"{len(rows)} of {wanted}"
    lines.append(_line(f"total ({count})", *_totals(rows)))
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
    check_writable(arguments.json)
    references = read_references(
        arguments.data, arguments.language or "", needs_audio=not arguments.hypotheses
    )
    code = 0
    if arguments.hypotheses:
        texts = read_table(arguments.hypotheses)
        if missing := [one.name for one in references if one.name not in texts]:
            raise BadArgument(f"{arguments.hypotheses} lacks {len(missing)} utterances, e.g. {missing[0]}")
    else:
        paths = {one.name: one.audio for one in references}
        with make_client(arguments) as client:
            options = {"language": arguments.language}
            texts, code = transcribe_all(client, paths, arguments.concurrency, options)
    rows = [
        scored(one.name, one.text, texts[one.name], normaliser_for(one.language))
        for one in references
        if one.name in texts
    ]
    if not rows:
        print("error: no utterance was scored", file=sys.stderr)
        return max(code, 1)
    print(report(rows, len(references), arguments.utterances))
    if arguments.json:
        arguments.json.write_text(json.dumps(document(rows), ensure_ascii=False, indent=1) + "\n", "utf-8")
    return code


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Word and character error rates over recordings with reference texts.", EXAMPLES)
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="directory with wav.scp and text, or a manifest of JSON lines"
    )
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
