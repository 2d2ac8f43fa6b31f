"""What a run writes below OUT, a folder or an address: shards, checkpoint, parts; rows and summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bulk.shards import SHARD_ROWS, shard_of
from bulk_rows import row_tables, subtitles
from bulk_rows.entries import Entry
from bulk_rows.places import filesystem_of
from bulk_rows.rows import Row, to_json
from bulk_rows.totals import Outcome

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

FILE_ROWS = 10_000  # of a file of finished rows
PARTS_AT_ONCE = 16  # small files are read side by side
PARTS_IN_MEMORY = 64  # neighbours in the manifest are mostly neighbours in a part


@dataclass(frozen=True, slots=True)
class Written:
    """Where an entry's row lies, and what became of it."""

    part: str
    outcome: Outcome


class Output:
    """The files of a run. `files` is pyarrow's filesystem."""

    def __init__(self, address: str) -> None:
        row_tables.check_pyarrow()
        self.files: FileSystem
        self.files, self._root = filesystem_of(address)
        for name in ("parts", "checkpoint"):
            self.files.create_dir(self.inside(name), recursive=True)

    def inside(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def write_shards(self, name: str, entries: Sequence[Entry]) -> str:
        """`name`, below which the entries lie in files of SHARD_ROWS."""
        import pyarrow.parquet as pq

        self._make_empty(name)
        for number, part in enumerate(_slices(entries, SHARD_ROWS)):
            pq.write_table(shard_of(part), self.inside(f"{name}/{number:05}.parquet"), filesystem=self.files)
        return name

    def write_part(self, rows: Iterable[Row]) -> None:
        with self.files.open_output_stream(self.inside(f"parts/own-{uuid4()}.parquet")) as file:
            row_tables.write_parquet(rows, file)

    def part_paths(self) -> list[str]:
        from pyarrow.fs import FileSelector

        found = self.files.get_file_info(FileSelector(self.inside("parts")))
        return sorted(each.path for each in found if each.path.endswith(".parquet"))

    def written(self) -> dict[str, Written]:
        """Each id's row; where a retry wrote a second one, the good one."""
        found: dict[str, Written] = {}
        paths = self.part_paths()
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
            for path, table in zip(paths, pool.map(self._read_outcomes, paths), strict=True):
                for row in table:
                    earlier = found.get(row["id"])
                    if earlier is None or earlier.outcome.error_code is not None:
                        outcome = Outcome(row["error_code"], row["duration"] or 0.0)
                        found[row["id"]] = Written(path, outcome)
        return found

    def num_rows(self, path: str) -> int:
        """Rows of a part, 0 while it is being written."""
        table = self._read_part(path, ["id"])
        return 0 if table is None else table.num_rows

    def finish(self, entries: Sequence[Entry], kind: str, kinds: Sequence[str]) -> None:
        """Writes the rows in the manifest's order, FILE_ROWS in a file, and the subtitle files."""
        written = self.written()
        self._make_empty("rows")
        for each in kinds:
            self.files.create_dir(self.inside(each), recursive=True)
        rows = self._in_order(entries, written)
        for number, part in enumerate(_slices(entries, FILE_ROWS)):
            these = self._with_subtitles(islice(rows, sum(entry.id in written for entry in part)), kinds)
            with self.files.open_output_stream(self.inside(f"rows/{number:05}.{kind}")) as file:
                if kind == "parquet":
                    row_tables.write_parquet(these, file)
                else:
                    for row in these:
                        file.write(f"{to_json(row)}\n".encode())

    def write_text(self, name: str, text: str) -> None:
        with self.files.open_output_stream(self.inside(name)) as file:
            file.write(text.encode())

    def _in_order(self, entries: Sequence[Entry], written: dict[str, Written]) -> Iterator[Row]:
        rows_of: Callable[[str], dict[str, Row]] = lru_cache(PARTS_IN_MEMORY)(self._rows_by_id)
        for entry in entries:
            if entry.id in written:
                yield rows_of(written[entry.id].part)[entry.id]

    def _rows_by_id(self, path: str) -> dict[str, Row]:
        table = self._read_part(path)
        assert table is not None, f"{path} has gone"
        return {row.id: row for row in row_tables.rows_of_table(table)}

    def _with_subtitles(self, rows: Iterable[Row], kinds: Sequence[str]) -> Iterator[Row]:
        for row in rows:
            for kind in kinds if row.ok else ():
                self.write_text(f"{kind}/{subtitles.file_name(row, kind)}", subtitles.file_text(row, kind))
            yield row

    def _read_outcomes(self, path: str) -> list[dict[str, Any]]:
        table = self._read_part(path, ["id", "error_code", "duration"])
        return [] if table is None else table.to_pylist()

    def _read_part(self, path: str, columns: Sequence[str] | None = None) -> Any:
        """The table; None where a killed process left half of it, or it has gone meanwhile."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self.files.open_input_file(path) as file:
                return pq.read_table(file, columns=columns)
        except (pa.ArrowInvalid, FileNotFoundError):
            return None

    def _make_empty(self, name: str) -> None:
        self.files.create_dir(self.inside(name), recursive=True)
        self.files.delete_dir_contents(self.inside(name))


def _slices(entries: Sequence[Entry], size: int) -> Iterator[Sequence[Entry]]:
    yield from (entries[start : start + size] for start in range(0, len(entries), size))
