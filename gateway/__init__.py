"""The front door: OpenAI's audio API over TorchServe servers, with no model and no torch of its own."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("asr") is None:  # the core, where PYTHONPATH does not name it
    sys.path.append(str(Path(__file__).resolve().parents[1] / "handler"))
