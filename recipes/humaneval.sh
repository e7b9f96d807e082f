#!/usr/bin/env bash
# CodeRL's tests as a judge, on HumanEval: results/humaneval.json. LIMIT problems, with the examples in their docstrings as tests; the benchmark's own
# tests count. An interrupted run resumes. With Qwen2.5-Coder-1.5B-Instruct in float32, all took two and a half hours on one
# busy core.
set -euo pipefail
data=${1:?"expected DATA, the folder of humaneval.jsonl.gz"}
model=${2:?"expected MODEL, a Qwen2.5-Coder-1.5B-Instruct: a folder, a .gguf file or a Hub id"}
limit=${LIMIT:-40} dtype=${DTYPE:-float32} out=${OUT:-results/humaneval.json}
runs="runs/humaneval-$limit"

[ -e "$runs/hidden.jsonl" ] || python recipes/humaneval_problems.py "$data/humaneval.jsonl.gz" "$runs" --limit "$limit"
python recipes/humaneval.py "$runs" --model "$model" --dtype "$dtype" \
    --drafts "${DRAFTS:-4}" --tokens "${TOKENS:-160}" --texts "$runs/$(basename "$model" .gguf)-$dtype" --out "$out"
