"""`python -m scripts.healthcheck`: exit 0 if a worker answers the canary prediction, for containers.

TorchServe's own /ping says 200 over dead workers. The canary waits behind the batch that is running, so its
time limit must be that of the longest batch, model-config.yaml's responseTimeout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def healthy(port: int, key_file: Path, timeout_s: float) -> str | None:
    """None if the server on `port` answers, else the reason in one line."""
    headers = {}
    try:
        if key_file.is_file():
            headers["Authorization"] = f"Bearer {json.loads(key_file.read_text())['inference']['key']}"
        url = f"http://127.0.0.1:{port}/predictions/whisper/1.0/healthz"
        # The server is on this machine: no proxy.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(urllib.request.Request(url, headers=headers), timeout=timeout_s) as response:
            response.read()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {' '.join(error.read().decode('utf-8', 'replace').split())[:200]}"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def main() -> int:
    """Exit status: 0 healthy, 1 not, with the reason on stdout, where Docker keeps it."""
    port = int(os.environ.get("WHISPER_PORT") or 8080)
    run_dir = Path(os.environ.get("WHISPER_RUN_DIR") or ROOT / "tmp" / f"server-{port}")
    parser = argparse.ArgumentParser(description="Exit 0 if a worker answers.")
    parser.add_argument("--port", type=int, default=port)
    parser.add_argument("--key-file", type=Path, default=run_dir / "key_file.json")
    parser.add_argument("--timeout", type=float, default=300, help="seconds; a batch may take that long")
    args = parser.parse_args()
    reason = healthy(args.port, args.key_file, args.timeout)
    print("healthy" if reason is None else f"unhealthy: {reason}")
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
