"""`bulk_request.py --to OUT/`: entries → rows on one machine, without a cluster."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from bulk_rows import row_tables, subtitles
from bulk_rows.entries import list_entries
from bulk_rows.gateway_calls import DEFAULT_PATIENCE_S, GatewayCalls
from bulk_rows.in_flight import rows_of
from bulk_rows.places import is_address
from bulk_rows.row_files import RowFile, read_rows
from bulk_rows.rows import Row
from bulk_rows.totals import Totals, add_up, summary_json
from whisper_client.command_line import INTERRUPTED, positive_number, request_options, token_of
from whisper_client.errors import BadArgument

VERBOSE_JSON = "verbose_json"  # has all that a row needs


def add_rows_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The arguments that both doors share."""
    group = parser.add_argument_group("rows")
    group.add_argument(
        "--to", metavar="OUT", help="a folder for a row of each file, errors too, and a summary"
    )
    group.add_argument(
        "--retry-errors", action="store_true", help="with --resume: do the files again whose row is an error"
    )
    group.add_argument(
        "--subtitles",
        action="append",
        default=[],
        choices=subtitles.FORMATS,
        help="files of each good row",
    )
    group.add_argument(
        "--patience", type=positive_number, default=DEFAULT_PATIENCE_S, metavar="S",
        help="seconds for which a file waits while no server takes it (default: %(default)g)",
    )  # fmt: skip
    return group


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    group = add_rows_arguments(parser)
    group.add_argument("--resume", action="store_true", help="go on where a run into the same folder ended")
    group.add_argument("--parquet", action="store_true", help="write rows.parquet at the end (needs pyarrow)")


def rows_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Form fields of entries that do not name their own; raises BadArgument."""
    if arguments.format != VERBOSE_JSON:
        raise BadArgument(f"--format {arguments.format} is not for rows: they are made from {VERBOSE_JSON}")
    options = request_options(arguments)
    return {name: value for name, value in options.items() if name != "response_format"}


def run_into_folder(arguments: argparse.Namespace, url: str) -> int:
    """Writes the rows that are missing and the summary: exit code 1 where rows are errors or missing."""
    if arguments.parquet:
        row_tables.check_pyarrow()
    if is_address(arguments.to):
        raise BadArgument(f"--to {arguments.to}: this program writes folders, python -m bulk buckets")
    if arguments.retry_errors and not arguments.resume:
        raise BadArgument("--retry-errors goes with --resume")
    listing = list_entries(arguments.paths, rows_options(arguments))
    calls = GatewayCalls(
        [url], token_of(arguments),
        timeout_s=arguments.timeout, retries=arguments.retries, patience_s=arguments.patience,
    )  # fmt: skip
    out = Path(arguments.to)
    started = time.monotonic()
    interrupted = False
    with RowFile(out / "rows.jsonl", resume=arguments.resume, retry_errors=arguments.retry_errors) as file:
        before = set(file.outcomes)
        waiting = [entry for entry in listing.entries if entry.id not in before]
        if waiting:
            calls.check()
        bar = tqdm(total=len(listing.entries), initial=len(listing.entries) - len(waiting), unit="row")
        errors = 0
        try:
            for row in rows_of(calls, waiting, min(arguments.concurrency, max(len(waiting), 1))):
                write_subtitles(out, row, arguments.subtitles)
                file.add(row)
                errors += not row.ok
                bar.set_postfix(errors=errors, refresh=False)
                bar.update()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            bar.close()
        totals = add_up(listing, file.outcomes, before, time.monotonic() - started)
    _finish(out, totals, arguments.parquet)
    return INTERRUPTED if interrupted else totals.exit_code


def write_subtitles(out: Path, row: Row, kinds: Sequence[str]) -> None:
    for kind in kinds if row.ok else ():
        (out / kind).mkdir(exist_ok=True)
        (out / kind / subtitles.file_name(row, kind)).write_text(
            subtitles.file_text(row, kind), encoding="utf-8", newline=""
        )


def _finish(out: Path, totals: Totals, parquet: bool) -> None:
    (out / "summary.json").write_text(summary_json(totals), encoding="utf-8")
    if parquet:
        with (out / "rows.parquet").open("wb") as file:
            row_tables.write_parquet(read_rows(out / "rows.jsonl"), file)
    print(totals.text())
