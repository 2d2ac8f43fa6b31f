"""Bulk transcription on Ray Data: `python -m bulk MANIFEST --to OUT/`.

Rows and calls are `clients/bulk_rows`; here they are spread over a cluster:
command → passes (the datasets) → gateway_rows, engine_rows (the actors); output holds what is written.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "clients"))
