"""`python -m scripts.healthcheck`: exit 0 if what serve.sh serves is ready, for containers.

Where the gateway runs, its /health/ready is asked: a worker answered its canary a moment ago, and it takes
requests. Else the canary goes to TorchServe, whose own /ping says 200 over dead workers. It waits behind the
batch that is running, so its time limit must be that of the longest batch: responseTimeout in
model-config.yaml.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from scripts.serve.gateway import READY
from scripts.serve.local import open_local

ROOT = Path(__file__).resolve().parents[1]
CANARY = "/predictions/whisper/1.0/healthz"


def unhealthy(run_dir: Path, port: int, timeout_s: float) -> str | None:
    """None if the server with this run directory is ready, else the reason in one line.

    `port` is TorchServe's, for a server without a gateway.
    """
    try:
        with open_local(_question(run_dir, port), timeout_s) as response:
            response.read()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {' '.join(error.read().decode('utf-8', 'replace').split())[:200]}"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _question(run_dir: Path, port: int) -> urllib.request.Request:
    gateway, keys = run_dir / "gateway.url", run_dir / "key_file.json"
    if gateway.is_file():
        return urllib.request.Request(gateway.read_text(encoding="utf-8") + READY)
    canary = urllib.request.Request(f"http://127.0.0.1:{port}{CANARY}")
    if keys.is_file():
        canary.add_header("Authorization", f"Bearer {json.loads(keys.read_text())['inference']['key']}")
    return canary


def main() -> int:
    """Exit status: 0 healthy, 1 not, with the reason on stdout, where Docker keeps it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    port = int(os.environ.get("WHISPER_PORT") or 8080)
    parser.add_argument("--port", type=int, default=port, help="TorchServe's, as for serve.sh (8080)")
    parser.add_argument("--run-dir", type=Path, default=os.environ.get("WHISPER_RUN_DIR") or None,
                        metavar="DIR", help="as for serve.sh (tmp/server-PORT)")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=300, help="seconds; a batch may take that long")
    args = parser.parse_args()
    reason = unhealthy(args.run_dir or ROOT / "tmp" / f"server-{args.port}", args.port, args.timeout)
    print("healthy" if reason is None else f"unhealthy: {reason}")
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
