"""The fastest settings of this machine for a checkpoint, measured: `./serve.sh --tune`, `python -m tune`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "clients"))
