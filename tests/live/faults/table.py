"""The fault table: a row per fault, written where FAULT_TABLE says when the tests are over.

`FAULT_TABLE=docs/faults.md scripts/test tests/live/faults` puts it between that page's
markers; any other file gets the table alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import report
from benchmarks.machine import conditions

SECTION = "faults"
VARIABLE = "FAULT_TABLE"
COMMAND = f"{VARIABLE}=docs/faults.md scripts/test tests/live/faults"
rows: list[tuple[str, str, str, str, str]] = []  # fault, ready again, seconds, of what, what clients saw


def record(fault: str, seconds: float | None, until: str, seen: str, ready_s: float | None = None) -> None:
    """A row: `seconds` from the fault until `until`, `ready_s` until `/health/ready` was 200 for good.

    None: nothing had to recover, or nothing is there to be ready; `ready_s` 0: it stayed ready all the time.
    """
    ready = "–" if ready_s is None else f"{ready_s:.1f} s" if ready_s else "stayed"
    rows.append((fault, ready, "–" if seconds is None else f"{seconds:.1f} s", until, seen))


def written(passed: bool) -> str:
    """The table with where, when and how it was made; says so where a test failed."""
    found = conditions()
    text = (
        f"{found['date']}, `{COMMAND}`. {found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, "
        f"the demo checkpoint. Load average at the end, the tests' own in it: {found['load_average_before']}."
    )
    failed = [] if passed else ["**Some of the tests failed in this run: rows may be missing.**"]
    lines = [
        ("Fault", "Ready again", "Time", "until", "What was seen"),
        ("---", "---:", "---:", "---", "---"),
    ]
    lines += rows
    return "\n\n".join(["\n".join(f"| {' | '.join(line)} |" for line in lines), text, *failed])


def write_if_asked(passed: bool) -> None:
    """Writes the table to the file that FAULT_TABLE names, if it does and there are rows."""
    name = os.environ.get(VARIABLE)
    if not name or not rows:
        return
    path = Path(name)
    if path.exists() and f"<!-- {SECTION}: begin" in path.read_text(encoding="utf-8"):
        report.publish(SECTION, written(passed), path)
    else:
        path.write_text(written(passed) + "\n", encoding="utf-8")
