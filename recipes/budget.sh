#!/usr/bin/env bash
# Puts budgets for steering on the frontier of both tasks: every strength alone and within each budget. Ten hours or more
# on one CPU core (estimated from 440 texts). The same command in a second shell halves that.
set -euo pipefail
data=${1:?"expected DATA, the folder of the prompts (owt_*.jsonl.gz, rtp_*.jsonl.gz)"}
common=(--samples 8 --max-new-tokens 30 --dtype bfloat16 --rounds 3 --max-kl 0.25 --max-kl 0.5 --max-kl 1 --max-kl 2)

trimtab evaluate sentiment --up "$data/owt_neutral.jsonl.gz" --up "$data/owt_negative.jsonl.gz" --limit 100 \
    "${common[@]}" --reward sentiment --beta 10 --beta 20 --beta 40 --beta 80 \
    --judge vader --judge reward:sentiment-rad --out runs/budget-sentiment
trimtab evaluate toxicity --prompts "$data/rtp_nontoxic.jsonl.gz" --prompts "$data/rtp_toxic.jsonl.gz" --limit 100 \
    "${common[@]}" --reward toxicity --beta 15 --beta 30 --beta 60 --beta 120 \
    --judge profanity --judge reward:toxicity-rad --out runs/budget-toxicity
