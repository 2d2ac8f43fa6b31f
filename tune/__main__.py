"""Finds the fastest settings of this machine for a checkpoint, and writes them where `backend: auto` looks.

Every configuration runs in a process of its own and must write float32 torch's words: one that gets more of
them wrong (0.2 points) is out. The best are measured in rounds, then their threads, batch and spinning. What
is not 10 % faster, and faster in every round, is not faster: today's settings then stay.

Exit code: 0 when the file is written, 1 when the search could not decide or the cores were busy, 2 when the
arguments are wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psutil
import torch

from asr.checkpoint_files import checkpoint_name
from asr.config import ConfigError, EngineConfig
from asr.engines.device import placement
from asr.engines.hardware import hardware
from asr.engines.tuning import checkpoint_digest
from tune.configurations import Space, space_of
from tune.measurements import Failure
from tune.outcome import Outcome
from tune.recordings import intelligible, recordings, word_errors
from tune.rounds import Search
from tune.runner import Runner, children_for
from tune.terminal import Bar, table
from whisper_client.command_line import make_parser, positive_number, run
from whisper_client.errors import BadArgument

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "config" / "tuned"
BUSY_PERCENT = 10
GPU_COPIES = 8  # of every recording: some 60 windows
EXAMPLES = """\
  ./serve.sh --tune                                       base, fetched if need be
  python -m tune whisper-models/small.pt --minutes 30
  python -m tune mine.pt --recordings my/manifest.jsonl   more words than samples/ has: a finer gate"""


class Undecided(Exception):
    """The search has no winner; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = command_line().parse_args(argv)
    if not arguments.checkpoint.exists():
        raise BadArgument(f"there is no {arguments.checkpoint}: ./serve.sh --tune NAME fetches OpenAI's")
    check_folder(arguments.folder)
    if (busy := psutil.cpu_percent(1)) > BUSY_PERCENT:
        print(
            f"tune: {busy:.0f} % of the cores are at other work: stop it, or trust nothing", file=sys.stderr
        )
    try:
        outcome = search_outcome(
            arguments.checkpoint, arguments.device, arguments.minutes, arguments.recordings
        )
    except (Undecided, ConfigError) as reason:
        print(f"tune: {reason}", file=sys.stderr)
        return 1
    print(table(outcome))
    if outcome.is_doubtful and not arguments.accept_busy:
        print("tune: nothing is written, the cores did other work too (--accept-busy)", file=sys.stderr)
        return 1
    file = outcome.write(arguments.folder)
    print(f"written: {file}, which engine.backend auto reads, and {file.stem}.svg", file=sys.stderr)
    return 0


def command_line() -> argparse.ArgumentParser:
    parser = make_parser((__doc__ or "").strip(), EXAMPLES)
    parser.prog = "python -m tune"
    parser.add_argument(
        "checkpoint", type=Path, help="a file in OpenAI's format or a folder in CTranslate2's"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda:0 … (default: a GPU if there is one)")
    parser.add_argument(
        "--minutes", type=positive_number, default=10.0, metavar="M", help="the search takes no longer (10)"
    )
    parser.add_argument(
        "--recordings", type=Path, metavar="MANIFEST",
        help="JSON lines with path, text, language (default: the people of samples/)",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, metavar="DIR", help="of the files (default: config/tuned)"
    )
    parser.add_argument(
        "--accept-busy", action="store_true", help="write the files although the cores did other work too"
    )
    return parser


def search_outcome(checkpoint: Path, device: str, minutes: float, manifest: Path | None = None) -> Outcome:
    """The whole search; raises Undecided, ConfigError, BadArgument."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    device = _device(device)
    space = space_of(str(checkpoint), device)
    copies = GPU_COPIES if device.startswith("cuda") else 1
    references = recordings(checkpoint, manifest)
    with closing(children_for(device)) as children, Bar() as bar:
        runner = Runner(checkpoint.absolute(), device, references, copies, children=children)
        bar.expect(1 + 2 * len(space.first_round()))
        search = _search_of(space, runner, bar, minutes * 60 - (time.monotonic() - begun))
        winner = search.run()
    if winner is None:
        raise Undecided(f"too few rounds in {minutes:g} minutes to decide: give it more by --minutes")
    return Outcome(
        winner=winner,
        cells=list(search.cells.values()),
        exact=search.exact,
        hardware=hardware(placement(EngineConfig(str(checkpoint), device), None).device),
        checkpoint=checkpoint_name(checkpoint),
        sha256=checkpoint_digest(EngineConfig(str(checkpoint))),
        minutes=(time.monotonic() - begun) / 60,
        load=load,
        largest_batch=space.batches[-1],
    )


def check_folder(folder: Path) -> None:
    """Raises BadArgument where the files cannot be written: before the search, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadArgument(f"{folder} cannot be made ({error.strerror}): name another by --folder") from error
    if not os.access(folder, os.W_OK):
        raise BadArgument(f"{folder} cannot be written: name another by --folder")


def _device(wanted: str) -> str:
    """As the engine names it: a worker's `auto` is the GPU that TorchServe gives it."""
    if wanted in ("auto", "cuda"):
        return "cuda:0" if torch.cuda.is_available() or wanted == "cuda" else "cpu"
    return wanted


def _search_of(space: Space, runner: Runner, bar: Bar, budget_s: float) -> Search:
    """The search once float32 torch has said which words are right, and which recordings are of use."""
    begun = time.monotonic()
    bar.starts("words", space.reference)
    found = runner.measure(space.reference)
    bar.done()
    if isinstance(found, Failure):
        raise Undecided(f"{space.reference} cannot be the reference: {found.reason}")
    texts = found.texts
    references = intelligible(runner.references, texts)
    if not references:
        raise Undecided("the model understands none of the recordings: name others by --recordings")
    return Search(
        space=space,
        measure=runner.only(references).measure,
        count_words=lambda heard: word_errors(references, heard, texts),
        exact=word_errors(references, texts, texts),
        progress=bar,
        budget_s=budget_s - (time.monotonic() - begun),
    )


if __name__ == "__main__":
    sys.exit(run(main))
