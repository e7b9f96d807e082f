#!/usr/bin/env bash
# Compares the ladders with their siblings on LoRA layers, and with RAD, on both tasks: results/ladder. Two hours on one core of a CPU with bfloat16 arithmetic.
# judges/imdb and DATA are those of evaluation.sh.
set -euo pipefail
data=${1:?"expected DATA, the folder of the prompts (owt_*.jsonl.gz, rtp_*.jsonl.gz) and toxicity-bert-tiny (ONNX)"}
common=(--limit 100 --samples 4 --dtype bfloat16 --rounds 0 --batch-size 8)

toxicity() {
    trimtab evaluate toxicity --prompts "$data/rtp_nontoxic.jsonl.gz" --prompts "$data/rtp_toxic.jsonl.gz" \
        "${common[@]}" --judge profanity --judge "onnx:$data/toxicity-bert-tiny" --out runs/ladder-toxicity "$@"
}
toxicity --reward toxicity --reward toxicity-lora --beta 10 --beta 30 --beta 60
toxicity --reward toxicity-rad --beta 30

sentiment() {
    trimtab evaluate sentiment --up "$data/owt_neutral.jsonl.gz" --up "$data/owt_negative.jsonl.gz" \
        "${common[@]}" --judge judges/imdb --judge vader --out runs/ladder-sentiment "$@"
}
sentiment --reward sentiment --reward sentiment-lora --beta 10 --beta 20 --beta 40
sentiment --reward sentiment-rad --beta 20
