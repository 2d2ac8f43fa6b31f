"""Writes the options table of the code into README.md, between its two markers.

python -m scripts.write_docs
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- options -->\n", "<!-- /options -->\n"


def with_options(text: str) -> str:
    """`text` with the current options table between the markers; raises ValueError if they are missing."""
    from asr.request.fields import options_table

    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{options_table().strip()}\n{end}{after}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_options(readme.read_text(encoding="utf-8")), encoding="utf-8")
