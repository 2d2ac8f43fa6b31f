"""Measures what models of any family cost on the same recordings: a window of a file, a second of a stream.

MANIFEST as for accuracy.py. A file's windows are decoded as they come, in batches; a stream is shown in steps
of 0.1 s with `delay: low`, and every look that is due is taken. One thread, processor seconds, no server.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "clients")]

from asr.audio import media  # noqa: E402
from asr.audio.prepare import prepared_from  # noqa: E402
from asr.config import EngineConfig, Limits  # noqa: E402
from asr.constants import SAMPLE_RATE  # noqa: E402
from asr.engine import Engine  # noqa: E402
from asr.engines.loading import load_engine  # noqa: E402
from asr.live.listener import OpenTurn  # noqa: E402
from asr.live.partials import DEFAULT_DELAY, PACES  # noqa: E402
from asr.live.plain_partials import PlainPartials  # noqa: E402
from asr.live.turn_looks import Timing  # noqa: E402
from asr.live.window_partials import WindowPartials  # noqa: E402
from asr.request.options import RequestOptions  # noqa: E402
from asr.schema import Audio, DecodingOptions, Samples  # noqa: E402
from asr.sessions import open_session  # noqa: E402
from asr.sessions.driver import drive  # noqa: E402
from benchmarks import report  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from whisper_client.command_line import make_parser, positive_count, run  # noqa: E402
from whisper_client.references import read_references  # noqa: E402

DOCUMENT = ROOT / "docs" / "adr" / "0017-families-beside-whisper-run-on-sherpa-onnx.md"
SHORTEST_S, LONGEST_S = 6.0, 20.0
STEP = SAMPLE_RATE // 10
HEADERS = (
    "Model",
    "numbers",
    "per window",
    "per second of a file",
    "per second of a stream",
    "looks per second",
)
EXAMPLES = """\
  python benchmarks/family_costs.py clips/manifest.jsonl tiny.en=whisper-models/tiny.en.pt live=models/live"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of one model."""

    model: str
    numbers: str  # "cpu sherpa-onnx float32"
    per_window: float
    per_file_s: float
    per_stream_s: float
    looks_per_s: float


def cost(name: str, path: str, heard: Sequence[Audio], num_streams: int) -> Cost:
    """The cost of one model over these recordings, the first of them streams too."""
    engine = load_engine(EngineConfig(model=path, threads=1))
    options = RequestOptions(DecodingOptions(language="en" if engine.spec.is_whisper else None))
    sessions = [open_session(prepared_from(audio, options), options, engine.spec) for audio in heard]
    begun = time.process_time()
    drive(engine, sessions)
    spent_s = time.process_time() - begun
    windows = sum(session.transcript().stats.windows for session in sessions)
    looks = [_looks(engine, options, audio.samples) for audio in heard[:num_streams]]
    stream_s = sum(audio.duration_s for audio in heard[:num_streams])
    return Cost(
        name,
        engine.description,
        spent_s / windows,
        spent_s / sum(audio.duration_s for audio in heard),
        sum(spent for _, spent in looks) / stream_s,
        sum(count for count, _ in looks) / stream_s,
    )


def _looks(engine: Engine, options: RequestOptions, samples: Samples) -> tuple[int, float]:
    """How many looks a turn of these samples takes, and their processor seconds."""
    pace, now = PACES[DEFAULT_DELAY], 0.0
    assert pace is not None
    kind = WindowPartials if engine.spec.is_whisper else PlainPartials
    source = kind(options, engine.spec, pace, Timing(has_room=lambda: True, clock=lambda: now))
    spent_s = 0.0
    for end in range(STEP, len(samples), STEP):
        now = end / SAMPLE_RATE
        source.feed(OpenTurn(samples[:end], end))
        for offer in source.offers():
            begun = time.process_time()
            [outcome] = engine.decode([offer.window])
            spent_s += time.process_time() - begun
            source.accept(offer, outcome)
    return source.num_decoded, spent_s


def table(costs: Sequence[Cost]) -> str:
    rows = [
        (each.model, each.numbers, f"{each.per_window:.3f}", f"{each.per_file_s:.4f}",
         f"{each.per_stream_s:.4f}", f"{each.looks_per_s:.1f}")
        for each in costs
    ]  # fmt: skip
    return report.table(HEADERS, rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__ or "", EXAMPLES)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=PATH", help="a model of any family")
    parser.add_argument("--count", type=positive_count, default=12, help="recordings (default: %(default)d)")
    parser.add_argument("--streams", type=positive_count, default=6, help="of them (default: %(default)d)")
    parser.add_argument("--publish", action="store_true", help="write the table into ADR 17")
    given = parser.parse_args(argv)
    if nameless := [word for word in given.models if "=" not in word]:
        parser.error(f"{nameless[0]} is no NAME=PATH")
    found = conditions()
    references = [
        one
        for one in read_references(given.manifest)
        if one.language == "en" and SHORTEST_S <= (one.seconds or 0) <= LONGEST_S
    ][: given.count]
    heard = [media.decode(one.audio.read_bytes(), Limits()) for one in references]
    costs = [cost(*word.partition("=")[::2], heard, given.streams) for word in given.models]
    total_s = sum(audio.duration_s for audio in heard)
    text = f"{table(costs)}\n\n{len(heard)} recordings, {total_s:.0f} s. {conditions_text(found)}"
    data = {"conditions": found, "costs": [asdict(each) for each in costs]}
    report.hand_over("family-costs", data, text, keep=given.publish, document=DOCUMENT)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
