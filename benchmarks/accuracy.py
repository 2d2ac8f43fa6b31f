#!/usr/bin/env python3
"""Compares what systems write about recordings with what is said in them, all on the same weights.

MANIFEST is a file of JSON lines (path, text, language, kind, seconds, derived, ref_confidence; paths beside
the file, an empty text where nobody speaks), or a directory with Kaldi's wav.scp and text. Every answer is
kept in the work folder: a run that was stopped goes on, a changed system starts over alone, and the page is
written from all answers that are there. docs/accuracy.md says how texts are compared.

Ours are asked over HTTP: a server is started on free ports, or --url names one. A system that cannot run here
is left out, and the page says why.

Exit code: 0 when every answer is there, 1 when some failed, 2 when the arguments are wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

from tqdm import tqdm  # noqa: E402

from benchmarks import report  # noqa: E402
from benchmarks.machine import conditions  # noqa: E402
from benchmarks.wer.answers import Answer, AnswerFile, read_answers  # noqa: E402
from benchmarks.wer.local_systems import FasterWhisper, OpenAiWhisper, WhisperCpp  # noqa: E402
from benchmarks.wer.ours import Ours  # noqa: E402
from benchmarks.wer.page import section, verdict  # noqa: E402
from benchmarks.wer.summary import summarise  # noqa: E402
from benchmarks.wer.systems import Setup, System, Unavailable  # noqa: E402
from whisper_client.command_line import make_parser, positive_count, run  # noqa: E402
from whisper_client.errors import BadArgument  # noqa: E402
from whisper_client.references import Reference, read_references  # noqa: E402

DOCUMENT = ROOT / "docs" / "accuracy.md"
UNKNOWN_S = 10.0  # what a recording of unknown length counts in the progress bar
MAKERS: dict[str, Callable[[Setup, Path], System]] = {
    "ours-parallel": lambda setup, work: Ours(setup, "parallel"),
    "ours-sequential": lambda setup, work: Ours(setup, "sequential"),
    "openai-whisper": lambda setup, work: OpenAiWhisper(setup),
    "faster-whisper": lambda setup, work: FasterWhisper(setup, is_batched=False),
    "faster-whisper-batched": lambda setup, work: FasterWhisper(setup, is_batched=True),
    "whisper.cpp": WhisperCpp,
}
EXAMPLES = """\
  python benchmarks/accuracy.py speech/manifest.jsonl --model whisper-models/base.pt --ct2 models/ct2-base
  python benchmarks/accuracy.py speech/manifest.jsonl --systems ours-parallel openai-whisper --limit 3
  python benchmarks/accuracy.py data/test --language-of hi --systems ours-parallel --url http://127.0.0.1:8000
  python benchmarks/accuracy.py speech/manifest.jsonl --languages en de --kinds read noisy --confidence high
  python benchmarks/accuracy.py speech/manifest.jsonl --write-only         # the page from the answers kept"""


def chosen(references: Sequence[Reference], given: argparse.Namespace) -> list[Reference]:
    """The recordings that the command line asks for; raises BadArgument."""
    counts: dict[tuple[str, str], int] = {}
    found = []
    for one in references:
        if given.languages and one.language not in given.languages:
            continue
        if given.kinds and one.kind not in given.kinds:
            continue
        if given.confidence and one.confidence not in given.confidence:
            continue
        counts[one.language, one.kind] = counts.get((one.language, one.kind), 0) + 1
        if given.limit is None or counts[one.language, one.kind] <= given.limit:
            found.append(one)
    if not found:
        raise BadArgument(f"{given.manifest} holds no recording of these languages, kinds and confidence")
    if missing := [one for one in found if not one.audio.is_file()]:
        raise BadArgument(f"{len(missing)} recordings are not there, e.g. {missing[0].audio}")
    return [one if one.seconds is not None else replace(one, seconds=measured_s(one.audio)) for one in found]


def measured_s(audio: Path) -> float:
    """What the container says of its length, UNKNOWN_S where it says nothing."""
    import av

    try:
        with av.open(str(audio)) as container:
            return container.duration / av.time_base if container.duration else UNKNOWN_S
    except av.FFmpegError:
        return UNKNOWN_S


def ask(name: str, system: System, kept: AnswerFile, references: Sequence[Reference]) -> None:
    """Asks what is not kept yet; the bar counts seconds of audio, so that its time left is right."""
    missing = set(kept.missing(one.name for one in references))
    wanted = [one for one in references if one.name in missing]
    if not wanted:
        return
    total = sum(round(one.seconds or UNKNOWN_S) for one in wanted)
    with tqdm(total=total, desc=name, unit="s") as bar, closing(system.answers(wanted)) as answers:
        for reference, answer in answers:
            kept.add(reference.name, answer)
            if answer.error:
                tqdm.write(f"{name}: {reference.name}: {answer.error}", sys.stderr)
            bar.update(round(reference.seconds or UNKNOWN_S))


def opened(name: str, given: argparse.Namespace) -> tuple[System, AnswerFile]:
    """The system and its kept answers; raises Unavailable."""
    setup = Setup(
        given.model, given.ct2, given.threads, given.language == "told", given.url, given.concurrency
    )
    system = MAKERS[name](setup, given.work)
    path = given.work / given.language / f"{name}.jsonl"
    kept = AnswerFile(path, system.settings(), keep=given.keep)
    if kept.dropped:
        print(f"{name} is not what it was: its {kept.dropped} answers are asked again", file=sys.stderr)
    return system, kept


def measure(given: argparse.Namespace, references: Sequence[Reference]) -> dict[str, str]:
    """Asks all systems in turn; returns those left out, with the reason."""
    left_out = {}
    for name in given.systems:
        try:
            system, kept = opened(name, given)
            ask(name, system, kept, references)
        except Unavailable as reason:
            left_out[name] = str(reason)
            print(f"{name} is left out: {reason}", file=sys.stderr)
    return left_out


def publish(given: argparse.Namespace, references: Sequence[Reference], left_out: dict[str, str]) -> int:
    """Scores all answers that are kept, prints the page, and writes it with its picture; the exit code."""
    found = {name: read_answers(given.work / given.language / f"{name}.jsonl") for name in MAKERS}
    names = {one.name for one in references}
    answers = {name: {k: v for k, v in kept.items() if k in names} for name, (_, kept) in found.items()}
    systems = [name for name in MAKERS if answers[name]]
    if not systems:
        raise BadArgument(f"{given.work / given.language} holds no answer about these recordings")
    summary = summarise(references, {name: answers[name] for name in systems})
    about: dict[str, Any] = {
        "conditions": conditions() | {"command": command(sys.argv[1:])},
        "model": given.model.stem,
        "language": given.language,
        "systems": {name: about_system(found[name][0] or {}, answers[name]) for name in systems},
        "left_out": {n: left_out.get(n, "it was not asked") for n in given.systems if n not in systems},
    }
    section_name = "accuracy" if given.language == "detected" else "accuracy-told"
    text = section(summary, about, f"{section_name}.png")
    report.hand_over(
        section_name, about | asdict(summary), text, keep=not given.no_publish, document=DOCUMENT
    )
    if not given.no_publish:
        from benchmarks.wer.picture import draw

        draw(summary, systems, DOCUMENT.parent / f"{section_name}.png")
    print(verdict(summary, systems), file=sys.stderr)
    complete = all(answers[name].keys() == names for name in given.systems if name not in left_out)
    return 0 if complete and not any(one["failures"] for one in about["systems"].values()) else 1


def command(arguments: Sequence[str]) -> str:
    """The command line as it is published: of absolute paths, which say nothing elsewhere, the last name."""
    shown = [Path(one).name if one.startswith("/") else re.sub("=/.*/", "=", one) for one in arguments]
    return " ".join(["python", "benchmarks/accuracy.py", *shown])


def about_system(settings: dict[str, Any], answers: dict[str, Answer]) -> dict[str, Any]:
    """How a system was run, and what became of it."""
    return {
        "settings": settings,
        "clips": len(answers),
        "seconds": round(sum(one.seconds for one in answers.values()), 1),
        "failures": sum(bool(one.error) for one in answers.values()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    given = parse(argv)
    if given.limit is not None:
        given.no_publish = True  # a part of the recordings is no result
    references = chosen(read_references(given.manifest, given.language_of), given)
    left_out = {} if given.write_only else measure(given, references)
    return publish(given, references, left_out)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser((__doc__ or "").strip(), EXAMPLES)
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="JSON lines, or a Kaldi directory")
    parser.add_argument(
        "--systems", nargs="+", choices=MAKERS, default=list(MAKERS), metavar="NAME",
        help=f"which to ask (default: all): {', '.join(MAKERS)}",
    )  # fmt: skip
    weights = parser.add_argument_group("weights, the same for all")
    weights.add_argument(
        "--model", type=Path, default=ROOT / "whisper-models" / "base.pt", metavar="FILE",
        help="checkpoint in OpenAI's format (default: whisper-models/base.pt)",
    )  # fmt: skip
    weights.add_argument(
        "--ct2", type=Path, metavar="DIR", help="the same weights for CTranslate2, for faster-whisper"
    )
    which = parser.add_argument_group("recordings")
    which.add_argument("--languages", nargs="+", metavar="CODE", help="only these")
    which.add_argument("--kinds", nargs="+", metavar="KIND", help="only these: read, noisy, telephone …")
    which.add_argument(
        "--confidence", nargs="+", choices=("high", "medium", "low"),
        help="only references of this confidence (default: all, those below high in tables apart)",
    )  # fmt: skip
    which.add_argument(
        "--limit", type=positive_count, metavar="N", help="N of each language and kind; prints only"
    )
    which.add_argument("--language-of", default="", metavar="CODE", help="of those that do not name theirs")
    _add_run_arguments(parser)
    return parser.parse_args(argv)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("run")
    how.add_argument(
        "--language", choices=("detected", "told"), default="detected",
        help="whether the systems are told the reference's language (default: detected); answers apart",
    )  # fmt: skip
    how.add_argument("--url", help="a running gateway of ours instead of one that is started")
    how.add_argument("--concurrency", type=positive_count, default=4, help="requests to ours under way (4)")
    how.add_argument("--threads", type=positive_count, default=2, help="of each system (2)")
    how.add_argument(
        "--work", type=Path, default=ROOT / "tmp" / "accuracy", metavar="DIR",
        help="where answers are kept (default: tmp/accuracy)",
    )  # fmt: skip
    how.add_argument("--keep", action="store_true", help="keep answers although a system has changed")
    how.add_argument("--write-only", action="store_true", help="ask nothing, write the page")
    how.add_argument("--no-publish", action="store_true", help="print only")


if __name__ == "__main__":
    sys.exit(run(main))
