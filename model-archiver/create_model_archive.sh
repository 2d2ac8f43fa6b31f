#!/usr/bin/env bash
# Builds NAME.mar: the handler, the core beside it and one model-config.yaml, never weights.
# Usage: create_model_archive.sh [CONFIG [DIRECTORY [HANDLER [NAME]]]]
#   CONFIG     the model-config.yaml to pack (default: config/model-config.yaml)
#   DIRECTORY  where NAME.mar goes (default: model-store)
#   HANDLER    the folder of whisper_handler.py, with asr/ beside it (default: handler)
#   NAME       the model's name in TorchServe (default: whisper)
# PYTHON names an interpreter that has model-archiver/requirements.txt installed (default: python3).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
config=${1:-$root/config/model-config.yaml}
store=${2:-$root/model-store}
handler=${3:-$root/handler}
name=${4:-whisper}
core=$(dirname "$handler")/asr
python=${PYTHON:-python3}

fail() { echo "create_model_archive.sh: $*" >&2; exit 1; }
[[ -f $config ]] || fail "no model configuration at $config"
[[ -f $handler/whisper_handler.py ]] || fail "no whisper_handler.py in $handler"
[[ -f $core/__init__.py ]] || fail "no asr/ beside $handler"
"$python" -c 'import model_archiver' 2>/dev/null ||
    fail "$python has no torch-model-archiver: run '$python -m pip install -r $root/model-archiver/requirements.txt'"
mkdir -p "$store"

# The archiver deletes $TMPDIR/<model name> without asking and unpacks there, so it gets a TMPDIR of its own.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp" "$work/code" "$work/out"

# A clean copy: no caches, and the configuration under the name that TorchServe looks for.
pack() { # FOLDER TARGET
    (cd "$1" && find . -type f -not -path '*/__pycache__/*' -not -path '*/.*' -print0) |
        while IFS= read -r -d '' file; do
            mkdir -p "$2/$(dirname "$file")"
            cp "$1/$file" "$2/$file"
        done
}
pack "$handler" "$work/code"
pack "$core" "$work/code/asr"
cp "$config" "$work/model-config.yaml"

TMPDIR=$work/tmp "$python" -m model_archiver.model_packaging \
    --model-name "$name" --version 1.0 \
    --handler "$work/code/whisper_handler.py" \
    --extra-files "$work/code" \
    --config-file "$work/model-config.yaml" \
    --export-path "$work/out" >&2

"$python" - "$work/out/$name.mar" <<'PYTHON' || fail "the archive was not put in place"
import sys, zipfile
names = zipfile.ZipFile(sys.argv[1]).namelist()
needed = {"whisper_handler.py", "asr/__init__.py", "model-config.yaml", "MAR-INF/MANIFEST.json"}
weights = [name for name in names if name.endswith((".pt", ".pth", ".bin", ".safetensors", ".partial"))]
if missing := needed - set(names):
    sys.exit(f"create_model_archive.sh: the archive lacks {sorted(missing)}")
if weights:
    sys.exit(f"create_model_archive.sh: weights do not belong in the archive: {weights}")
PYTHON

# Moved in one step: a server that starts now sees the old archive or the new one.
mv "$work/out/$name.mar" "$store/.$name.mar.$$"
mv "$store/.$name.mar.$$" "$store/$name.mar"
echo "$store/$name.mar"
