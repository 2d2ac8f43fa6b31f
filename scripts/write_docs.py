"""Writes the options table of the code into README.md, between its two markers.

python -m scripts.write_docs
"""

from __future__ import annotations

from pathlib import Path

from asr.request.fields import FIELDS, Field

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- options -->\n", "<!-- /options -->\n"
# what a caller who sends none of them gets, of fields whose default is not one value
DEFAULTS = {"temperature": "0", "temperature_increment_on_fallback": "0.2", "language": "auto"}


def with_options(text: str) -> str:
    """`text` with the current options table between the markers; raises ValueError if they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{options_table()}{end}{after}"


def options_table() -> str:
    """All fields of a request as a Markdown table; an array's other spellings, `name[]` and `name[0]`, are
    left out."""
    lines = ["| Field | Takes | Default | Meaning |", "|---|---|---|---|"]
    for field in FIELDS:
        names = ", ".join(f"`{name}`" for name in (field.name, *field.aliases))
        lines.append(f"| {names} | {field.kind.allowed} | {default_of(field)} | {field.meaning} |")
    return "\n".join(lines) + "\n"


def default_of(field: Field) -> str:
    """The default, as the caller would write it."""
    if field.name in DEFAULTS:
        return DEFAULTS[field.name]
    value = field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = ",".join(str(item) for item in value)
    return "" if value is None or value == "" else f"`{value}`"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_options(readme.read_text(encoding="utf-8")), encoding="utf-8")
