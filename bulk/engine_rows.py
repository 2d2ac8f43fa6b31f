"""The actor that holds the engine: a block of files → their rows, without a server.

The windows of all files of a block share the engine's batches, as in TorchServe's worker.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asr.audio import media
from asr.audio.prepare import prepared_from
from asr.config import EngineConfig, Limits
from asr.engines import load_engine
from asr.errors import AsrError, EngineFailure
from asr.render import formats
from asr.request import fields
from asr.request.families import check_suits
from asr.request.options import RequestOptions
from asr.sessions import FileSession, open_session
from asr.sessions.driver import drive
from bulk.shards import entries_of
from bulk_rows import places, row_tables
from bulk_rows.entries import Entry
from bulk_rows.rows import Row, error_row, row_of_document
from whisper_client.errors import BadArgument

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """One entry before its windows are decoded: a session, or the row of its error."""

    entry: Entry
    options: RequestOptions | None = None
    session: FileSession | None = None
    failure: Row | None = None


class EngineRows:
    """Loads the checkpoint once; `engine` are fields of EngineConfig."""

    def __init__(self, engine: Mapping[str, Any]) -> None:
        import torch

        self._engine = load_engine(EngineConfig(**engine), 0 if torch.cuda.is_available() else None)
        self._limits = Limits()
        self._pool = ThreadPoolExecutor(self._limits.media_threads)

    def __call__(self, block: pyarrow.Table) -> pyarrow.Table:
        opened = list(self._pool.map(self._open, entries_of(block)))
        drive(self._engine, [each.session for each in opened if each.session is not None])
        return row_tables.table_of([self._row(each) for each in opened])

    def _open(self, entry: Entry) -> _Opened:
        """Reads the file and finds its speech; in a thread, several files side by side."""
        try:
            asked = {**entry.options, "response_format": "verbose_json"}
            asked.pop("model", None)  # there is one
            options = fields.parse_options(asked, languages=self._engine.spec.language_codes)
            check_suits(options, self._engine.spec)
            audio = media.decode(places.read_bytes(entry.path), self._limits)
            prepared = prepared_from(audio, options, self._engine.spec.n_mels)
            return _Opened(entry, options, open_session(prepared, options, self._engine.spec))
        except BadArgument as error:
            return _Opened(entry, failure=error_row(entry, "unreadable_file", str(error), 1))
        except AsrError as error:
            return _Opened(entry, failure=_refused(entry, error))
        except Exception:
            log.exception("opening %s", entry.path)
            return _Opened(entry, failure=_refused(entry, EngineFailure("the file broke the decoder")))

    def _row(self, opened: _Opened) -> Row:
        if opened.failure is not None:
            return opened.failure
        assert opened.session is not None and opened.options is not None
        if opened.session.error is not None:
            return _refused(opened.entry, opened.session.error)
        body, _ = formats.render(opened.session.transcript(), opened.options)
        return row_of_document(opened.entry, json.loads(body), self._engine.spec.name, attempts=1)


def _refused(entry: Entry, error: AsrError) -> Row:
    return error_row(entry, error.code or type(error).__name__, error.message, attempts=1)
