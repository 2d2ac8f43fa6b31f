#!/usr/bin/env python3
"""Scores transcripts against references: word and character error rates, raw and normalised side by side.

The references are a Kaldi data directory, `wav.scp` (utterance id, audio path) and `text` (utterance id,
words), or these two files by name, or a manifest, one JSON object a line with `path`, `text` and, if you
like, `language`. The audio goes to the server, or `--hypotheses` names a file like `text` with finished
transcripts. Languages written without blanks are scored by characters. `--streaming` sends each recording as
it would be spoken and measures how long its words take. benchmarks/accuracy.py compares systems.

Exit code: 0 when every utterance was scored, 1 when the server failed for some, 2 when a file is wrong,
130 after Ctrl-C, which scores the transcripts so far.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tqdm import tqdm

from load_kit.load_report import percentile
from whisper_client.client import DEFAULT_URL
from whisper_client.command_line import (
    INTERRUPTED,
    add_server_arguments,
    check_writable,
    make_client,
    make_parser,
    positive_count,
    report_error,
    run,
    token_of,
)
from whisper_client.errors import BadArgument, ClientError, NoServer
from whisper_client.live_stream import LiveStream, session_of
from whisper_client.realtime import DEFAULT_LIVE_URL, realtime_url
from whisper_client.references import Reference, read_pair, read_references, read_table
from whisper_client.retry import RetryPolicy
from whisper_client.scoring import Score, Scored, normaliser_for, scored
from whisper_client.streamed import Streamed, streamed
from whisper_client.uploaded import Uploaded, real_time_factor, uploaded

EXAMPLES = """\
  python clients/score.py data/test
  python clients/score.py data/hindi --language hi --json scores.json
  python clients/score.py clips/manifest.jsonl --openai http://127.0.0.1:8000/v1
  python clients/score.py data/test --streaming --concurrency 4
  python clients/score.py --wav-scp wav.scp --text text --openai http://127.0.0.1:8000/v1 --model hindi
  python clients/score.py data/test --hypotheses decoded.txt --utterances"""
SHOWN_SUBSTITUTIONS = 20
T = TypeVar("T")


def answer_all(
    answer: Callable[[Path], T], paths: Mapping[str, Path], concurrency: int
) -> tuple[dict[str, T], int]:
    """Answers of the files that succeeded, and the worst exit code; Ctrl-C ends the wait."""
    ended: SimpleQueue[tuple[str, T | Exception]] = SimpleQueue()
    names = SimpleQueue[str]()
    for name in paths:
        names.put(name)
    for _ in range(min(concurrency, len(paths))):  # daemons: Ctrl-C does not wait for them
        threading.Thread(target=_answer, args=(answer, paths, names, ended), daemon=True).start()
    answers: dict[str, T] = {}
    code = 0
    try:
        for _ in tqdm(range(len(paths)), desc="transcribing", unit="file"):
            name, result = ended.get()
            if not isinstance(result, Exception):
                answers[name] = result
            elif isinstance(result, ClientError) and not isinstance(result, NoServer):
                code = max(code, report_error(result, name))
            else:
                raise result
    except KeyboardInterrupt:
        code = INTERRUPTED
        while not ended.empty():  # ended, but not reported yet
            name, result = ended.get()
            if not isinstance(result, Exception):
                answers[name] = result
    return answers, code


def _answer(
    answer: Callable[[Path], T],
    paths: Mapping[str, Path],
    names: SimpleQueue[str],
    ended: SimpleQueue[tuple[str, T | Exception]],
) -> None:
    """One utterance after the other until `names` is empty."""
    while True:
        try:
            name = names.get_nowait()
        except Empty:
            return
        try:
            ended.put((name, answer(paths[name])))
        except Exception as error:  # a bug must end the program, not one thread
            ended.put((name, error))


def transcribe_all(
    arguments: argparse.Namespace, references: Sequence[Reference]
) -> tuple[dict[str, Uploaded], int]:
    """What the server answers to uploads."""
    asked = (("language", arguments.language), ("model", arguments.model))
    options = {name: value for name, value in asked if value}
    with make_client(arguments) as client:
        paths = {one.name: one.audio for one in references}
        return answer_all(lambda path: uploaded(client, path, **options), paths, arguments.concurrency)


def stream_all(
    arguments: argparse.Namespace, references: Sequence[Reference]
) -> tuple[dict[str, Streamed], int]:
    """What the server answers to streams."""
    base = arguments.openai or (DEFAULT_LIVE_URL if arguments.url == DEFAULT_URL else arguments.url)
    url, session = realtime_url(base), session_of(arguments.language, arguments.model)

    def answer(path: Path) -> Streamed:
        policy = RetryPolicy(retries=arguments.retries)
        stream = LiveStream(url, token_of(arguments), session, timeout_s=arguments.timeout, policy=policy)
        return streamed(stream, path)

    return answer_all(answer, {one.name: one.audio for one in references}, arguments.concurrency)


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


def scored_all(references: Sequence[Reference], texts: Mapping[str, str]) -> list[Scored]:
    """The utterances that have a transcript."""
    return [
        scored(one.name, one.text, texts[one.name], normaliser_for(one.language))
        for one in references
        if one.name in texts
    ]


def speed(uploads: Mapping[str, Uploaded]) -> dict[str, Any]:
    """How long answers took, and per second of sound; requests under way at once wait for each other."""
    latencies = _quantiles([one.latency_s for one in uploads.values()])
    return {"latency_s": latencies, "real_time_factor": real_time_factor(uploads)}


def speed_report(found: Mapping[str, Any]) -> str:
    p50, p95 = (f"{found['latency_s'][name]:.2f} s" for name in ("p50", "p95"))
    factor = found["real_time_factor"]
    return f"{'request → answer':24}  p50 {p50}  p95 {p95}" + (
        f"  real-time factor {factor:.3f}" if factor else ""
    )


def streaming_report(settled: Sequence[Scored], streams: Mapping[str, Streamed]) -> str:
    """The error rates of the deltas alone, and the waits."""
    lines = [_line(f"deltas ({len(settled)})", *_totals(settled))]
    for what, found in _waits(streams).items():
        p50, p95 = (f"{found[name]:.2f} s" if found["count"] else "-" for name in ("p50", "p95"))
        lines.append(f"{what:24}  p50 {p50}  p95 {p95}  of {found['count']} turns")
    return "\n".join(lines)


def _waits(streams: Mapping[str, Streamed]) -> dict[str, dict[str, Any]]:
    return {
        "speech → first word": _quantiles([wait for one in streams.values() for wait in one.first_word_s]),
        "end of speech → final": _quantiles([wait for one in streams.values() for wait in one.final_s]),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float | int | None]:
    """Nearest ranks, each a measured value; None of nothing."""
    ordered = sorted(values)
    ranks = {f"p{rank}": percentile(ordered, rank) if ordered else None for rank in (50, 95)}
    return {**ranks, "count": len(ordered)}


def streaming_document(settled: Sequence[Scored], streams: Mapping[str, Streamed]) -> dict[str, Any]:
    """The same as JSON values, with each utterance's waits."""
    deltas = {name: value for name, value in document(settled).items() if name != "utterances"}
    first_word, final = _waits(streams).values()
    utterances = [{"id": name, **asdict(one)} for name, one in streams.items()]
    return {"deltas": deltas, "first_word_s": first_word, "final_s": final, "utterances": utterances}


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
    language, needs_audio = arguments.language or "", not arguments.hypotheses
    if arguments.data is None:
        references = read_pair(arguments.wav_scp, arguments.text, language, needs_audio=needs_audio)
    else:
        references = read_references(arguments.data, language, needs_audio=needs_audio)
    code, streams, uploads = 0, dict[str, Streamed](), dict[str, Uploaded]()
    if arguments.hypotheses:
        texts = read_table(arguments.hypotheses)
        if missing := [one.name for one in references if one.name not in texts]:
            raise BadArgument(f"{arguments.hypotheses} lacks {len(missing)} utterances, e.g. {missing[0]}")
    elif arguments.streaming:
        streams, code = stream_all(arguments, references)
        texts = {name: one.text for name, one in streams.items()}
    else:
        uploads, code = transcribe_all(arguments, references)
        texts = {name: one.text for name, one in uploads.items()}
    rows = scored_all(references, texts)
    if not rows:
        print("error: no utterance was scored", file=sys.stderr)
        return max(code, 1)
    print(report(rows, len(references), arguments.utterances))
    result = document(rows)
    if uploads:
        result["speed"] = speed(uploads)
        print(speed_report(result["speed"]))
    if streams:
        settled = scored_all(references, {name: one.settled for name, one in streams.items()})
        print(streaming_report(settled, streams))
        result["streaming"] = streaming_document(settled, streams)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return code


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("Word and character error rates over recordings with reference texts.", EXAMPLES)
    kinds = "directory with wav.scp and text, or a manifest of JSON lines"
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA", help=kinds)
    for name, what in (("--wav-scp", "audio paths"), ("--text", "words")):
        parser.add_argument(name, type=Path, metavar="FILE", help=f"utterance ids and {what}, without DATA")
    texts = parser.add_mutually_exclusive_group()
    texts.add_argument(
        "--hypotheses", type=Path, metavar="FILE", help="score these transcripts, lines as in text"
    )
    texts.add_argument(
        "--streaming", action="store_true",
        help=f"send each recording at real time to …/v1/realtime (default address: {DEFAULT_LIVE_URL})",
    )  # fmt: skip
    parser.add_argument("--utterances", action="store_true", help="show every utterance, not just the total")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all counts and texts there too")
    parser.add_argument("--language", metavar="CODE", help="spoken language (default: detected)")
    parser.add_argument(
        "--concurrency", type=positive_count, default=2, metavar="N", help="requests or streams under way"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="which of the server's models (default: its own choice)"
    )
    add_server_arguments(parser)
    arguments = parser.parse_args(argv)
    pair = [arguments.wav_scp, arguments.text]
    if (arguments.data is None) != all(pair) or (arguments.data and any(pair)):
        parser.error("name DATA, or both --wav-scp and --text")
    return arguments


if __name__ == "__main__":
    sys.exit(run(main))
