"""For all tests: the environment that serve.sh gives its workers, before torch reads it."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see scripts/serve/process.py
