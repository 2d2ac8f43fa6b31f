"""The run: list → passes → what is still missing becomes an error row → finished rows and summary."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from bulk.arguments import parse
from bulk.cluster import import_ray, joined
from bulk.output import Output
from bulk.passes import Workers, run_pass
from bulk.progress_bar import RowsBar
from bulk_rows.entries import Entry, Listing, list_entries
from bulk_rows.folder_run import rows_options
from bulk_rows.gateway_calls import GatewayCalls
from bulk_rows.rows import WORKER_DIED, error_row
from bulk_rows.totals import Outcome, add_up, summary_json
from whisper_client.client import openai_url
from whisper_client.command_line import token_of

WORDS = "every process that worked on this file died; the logs of Ray's workers say how"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 where a row is an error."""
    arguments = parse(argv)
    import_ray()
    listing = list_entries(arguments.sources, rows_options(arguments))
    output = Output(arguments.to)
    started = time.monotonic()
    before = {id_: one.outcome for id_, one in output.written().items()}
    todo = [entry for entry in listing.entries if _is_open(entry, before, arguments.retry_errors)]
    if todo:
        workers = _workers(arguments)
        if arguments.engine == "gateway":
            GatewayCalls(**_calls(arguments)).check()
        with (
            joined(arguments.address),
            RowsBar(output, len(listing.entries), len(listing.entries) - len(todo)),
        ):
            _transcribe(output, listing, todo, before, workers)
    output.finish(listing.entries, arguments.output, arguments.subtitles)
    outcomes = {id_: one.outcome for id_, one in output.written().items()}
    settled = before.keys() - {entry.id for entry in todo}
    totals = add_up(listing, outcomes, settled, time.monotonic() - started)
    output.write_text("summary.json", summary_json(totals))
    print(totals.text())
    return totals.exit_code


def _is_open(entry: Entry, before: dict[str, Outcome], retry_errors: bool) -> bool:
    found = before.get(entry.id)
    return found is None or (retry_errors and found.error_code is not None)


def _transcribe(
    output: Output, listing: Listing, todo: Sequence[Entry], before: dict[str, Outcome], workers: Workers
) -> None:
    """The passes. The first leaves out by its checkpoint what an earlier run wrote.

    What has failed once comes alone: a file that kills its actor must not take others with it again.
    """
    alone = dataclasses.replace(workers, block=1)
    again = [entry for entry in todo if entry.id in before]
    if len(again) < len(todo):
        run_pass(output, output.write_shards("manifest", listing.entries), workers, has_checkpoint=True)
    if again:
        run_pass(output, output.write_shards("again", again), alone, has_checkpoint=False)
    if missing := _missing(output, listing):
        run_pass(output, output.write_shards("again", missing), alone, has_checkpoint=False, retries=1)
    if missing := _missing(output, listing):
        output.write_part(error_row(entry, WORKER_DIED, WORDS, attempts=0) for entry in missing)


def _missing(output: Output, listing: Listing) -> list[Entry]:
    written = output.written()
    return [entry for entry in listing.entries if entry.id not in written]


def _calls(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "urls": [openai_url(url) for url in arguments.urls],
        "token": token_of(arguments),
        "timeout_s": arguments.timeout,
        "retries": arguments.retries,
        "patience_s": arguments.patience,
    }


def _workers(arguments: argparse.Namespace) -> Workers:
    if arguments.engine == "actors":
        from bulk.engine_rows import EngineRows

        engine = {"model": arguments.checkpoint, "threads": arguments.cpus_per_actor}
        needs = {"num_cpus": float(arguments.cpus_per_actor)}
        if arguments.gpus_per_actor:
            needs["num_gpus"] = arguments.gpus_per_actor
        return Workers(EngineRows, {"engine": engine}, arguments.actors, arguments.block, 1, needs)
    from bulk.gateway_rows import GatewayRows

    calls = max(1, arguments.in_flight // arguments.block)
    given = {"in_flight": arguments.in_flight, **_calls(arguments)}
    return Workers(GatewayRows, given, arguments.actors, arguments.block, calls, {"num_cpus": 0.1})
