#!/usr/bin/env bash
# RAIN's table of TruthfulQA, with the model as its own judge: results/rain/truthfulqa.json. LIMIT questions; sampling, best of DRAFTS, and rewind with as many tokens.
# An interrupted run resumes, and a larger LIMIT goes on from a smaller one.
set -euo pipefail
data=${1:?"expected DATA, the folder of truthfulqa.jsonl.gz"}
model=${2:?"expected MODEL, a Qwen2.5-Coder-1.5B-Instruct: a folder, a .gguf file or a Hub id"}
dtype=${DTYPE:-float32} out=${OUT:-results/rain/truthfulqa.json}

python recipes/truthfulqa.py "$data/truthfulqa.jsonl.gz" --model "$model" --dtype "$dtype" --limit "${LIMIT:-50}" \
    --drafts "${DRAFTS:-16}" --tokens "${TOKENS:-24}" --texts "${RUNS:-runs/truthfulqa}/$(basename "$model" .gguf)-$dtype" --out "$out"
