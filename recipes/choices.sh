#!/usr/bin/env bash
# RTD on multiple choice: results/choices.json. A datastore holds the model's state before the right letter of half of TruthfulQA's questions;
# the other half is answered by its mixture with the model, at several λ. KNOWN questions are stored, and LIMIT are asked, of MODEL.
set -euo pipefail
data=${1:?"expected DATA, the folder of truthfulqa"}
limit=${LIMIT:-1000} known=${KNOWN:-1000} model=${MODEL:-smollm2} temperature=${TEMPERATURE:-10}
out=${OUT:-results/choices.json}

python recipes/question_sets.py "$data" questions
steers=()
for mix in 0.3 0.7; do
    store="rewards/truthfulqa-$(basename "$model" .gguf)-$known-$temperature-$mix"
    [ -e "$store/config.json" ] || trimtab train datastore --data questions/known.jsonl --prompt-column prompt --text-column text \
        --limit "$known" --base "$model" --max-tokens 256 --neighbours 16 --distance-temperature "$temperature" --mix "$mix" --out "$store"
    steers+=(--steer "$store=1")
done
trimtab evaluate choices --data questions/asked.jsonl --model "$model" --limit "$limit" "${steers[@]}" --out "$out" --force
