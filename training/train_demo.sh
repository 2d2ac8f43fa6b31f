#!/usr/bin/env bash
# Makes whisper-models/demo.pt from nothing, or goes on with the run in $DEMO_RUNS. Arguments go to training.train:
#   training/train_demo.sh --minutes 100
#   training/train_demo.sh --until 02:40
set -euo pipefail
cd "$(dirname "$0")/.."

: "${PYTHON:=python3}" "${DEMO_RUNS:=training/runs}"
export OMP_NUM_THREADS=1 # one thread in each process; the processes share the cores

"$PYTHON" -m training.synthesis "$DEMO_RUNS/speech/train" --shards 100
"$PYTHON" -m training.synthesis "$DEMO_RUNS/speech/test" --shards 1 --test
"$PYTHON" -m training.train --run "$DEMO_RUNS/demo" --data "$DEMO_RUNS/speech/train" "$@"
"$PYTHON" -m training.export "$DEMO_RUNS/demo/checkpoint.pt" whisper-models/demo.pt
"$PYTHON" -m training.curve --run "$DEMO_RUNS/demo"
unset OMP_NUM_THREADS
"$PYTHON" -m training.measure --data "$DEMO_RUNS/speech/test"
