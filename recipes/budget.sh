#!/usr/bin/env bash
# Puts budgets for steering on the frontier of both tasks: every strength alone and within each budget, on the prompts
# that steering finds hard. Half an hour on one core of a CPU with bfloat16 arithmetic. judges/imdb and DATA are those of
# evaluation.sh.
set -euo pipefail
data=${1:?"expected DATA, the folder of the prompts (owt_*.jsonl.gz, rtp_*.jsonl.gz) and toxicity-bert-tiny (ONNX)"}
limit=${LIMIT:-50}
common=(--limit "$limit" --samples 4 --max-new-tokens 30 --dtype bfloat16 --rounds 0 --max-kl 0.5 --max-kl 1 --max-kl 2)

trimtab evaluate sentiment --up "$data/owt_negative.jsonl.gz" "${common[@]}" --reward sentiment \
    --beta 20 --beta 40 --beta 80 --judge judges/imdb --judge vader --out runs/budget-sentiment
trimtab evaluate toxicity --prompts "$data/rtp_toxic.jsonl.gz" "${common[@]}" --reward toxicity \
    --beta 30 --beta 60 --beta 120 --judge "onnx:$data/toxicity-bert-tiny" --judge profanity --out runs/budget-toxicity
