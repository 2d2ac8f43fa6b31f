#!/usr/bin/env python3
"""Runs the engine's benchmarks in order, each in a process of its own; one that fails does not stop the rest.

About half an hour on two quiet cores.

    python benchmarks/all.py
    python benchmarks/all.py --only served roofline
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PROGRAMS = {
    "roofline": ("roofline.py",),
    "engine-tiny": ("engine.py", "--sizes", "tiny"),
    "served": ("served.py",),
    "engine-base": ("engine.py", "--sizes", "base", "--repetitions", "2"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    failed = []
    for name in parser.parse_args().only:
        program, *arguments = PROGRAMS[name]
        command = [f"benchmarks/{program}", *arguments]
        print(f"== {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, *command], cwd=FOLDER.parent, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}; the others' results are written", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
