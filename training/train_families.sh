#!/usr/bin/env bash
# Makes the two models for sherpa-onnx, or goes on with the runs in $DEMO_RUNS. Arguments go to both trainings:
#   training/train_families.sh --core-minutes 60
set -euo pipefail
cd "$(dirname "$0")/.."

: "${PYTHON:=python3}" "${DEMO_RUNS:=training/runs}" "${FAMILIES:=$DEMO_RUNS/families}"
export OMP_NUM_THREADS=1 # one thread in each process; the processes share the cores

"$PYTHON" -m training.synthesis "$DEMO_RUNS/speech/train" --shards 40
"$PYTHON" -m training.synthesis "$DEMO_RUNS/speech/test" --shards 1 --test
"$PYTHON" -m training.families.run ctc --run "$DEMO_RUNS/ctc" --data "$DEMO_RUNS/speech/train" "$@"
"$PYTHON" -m training.families.run transducer --run "$DEMO_RUNS/transducer" --data "$DEMO_RUNS/speech/train" \
    --warm-start "$DEMO_RUNS/ctc/checkpoint.pt" "$@"
for family in ctc transducer; do
    "$PYTHON" -m training.families.to_onnx "$family" "$FAMILIES/$family" --checkpoint "$DEMO_RUNS/$family/checkpoint.pt"
done
"$PYTHON" -m training.families.evaluation --data "$DEMO_RUNS/speech/test" \
    --ctc "$FAMILIES/ctc" --transducer "$FAMILIES/transducer"
