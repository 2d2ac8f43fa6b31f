#!/usr/bin/env bash
# Sets everything up and serves a Whisper checkpoint in the foreground. ./serve.sh --help shows how.
set -euo pipefail
export SERVE_CALLED_FROM=$PWD # relative paths on the command line are the caller's
cd "$(dirname "${BASH_SOURCE[0]}")"
python=$(scripts/python) # the active environment's, else one that can make .venv; one line and 1 if none

# The supervisor: installs requirements.lock, finds Java, fetches the checkpoint, builds whisper.mar, starts
# TorchServe's Java itself, and ends it with its workers on Ctrl-C and SIGTERM. It replaces this shell, so
# signals reach it also as a container's first process.
exec "$python" -m scripts.serve "$@"
