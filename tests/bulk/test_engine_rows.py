"""The engine in an actor: rows without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="an extra: requirements-bulk.txt")

from bulk.engine_rows import EngineRows
from bulk.shards import shard_of
from bulk_rows.entries import entry_for
from bulk_rows.row_tables import rows_of_table
from bulk_rows.rows import Row

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"


def test_files_share_batches_and_fail_alone(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    paths = [SAMPLES / "harvard.wav", tmp_path / "text.wav", tmp_path / "gone.wav", SAMPLES / "silence.wav"]
    entries = [entry_for(str(path), {}) for path in paths] + [entry_for(str(paths[0]), {"language": "xx"})]
    engine = EngineRows({"model": str(ROOT / "whisper-models" / "demo.pt"), "threads": 1, "warm_up": False})
    speech, text, gone, silence, wrong = rows_of_table(engine(shard_of(entries)))
    assert speech.ok and speech.text and speech.duration and speech.segments and speech.model == "demo"
    assert silence.ok and silence.text == ""
    codes = [(row.error_code, row.text) for row in (text, gone, wrong)]
    assert codes == [("unsupported_media", None), ("unreadable_file", None), ("invalid_value", None)]
    assert isinstance(speech, Row) and speech.id == entries[0].id
