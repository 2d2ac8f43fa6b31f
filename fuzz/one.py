"""`python -m fuzz.one TARGET [libFuzzer's arguments]`: one target in this process, till time or a finding."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
INSTRUMENTED = ["asr", "gateway", "starlette", "python_multipart"]


def main() -> None:
    import atheris

    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = importlib.import_module(f"fuzz.{name}")
    atheris.Setup([*sys.argv, f"-max_len={target.MAX_BYTES}"], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
