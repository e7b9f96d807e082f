#!/usr/bin/env bash
# The draft head of SmolLM2: it learns what the model writes behind 432 prompts, and 900 texts of people.
# DATA holds the prompts (owt_*, rtp_*, hh_harmless, gsm8k_test) and the texts (movie_reviews_train, jigsaw_train).
# 25 minutes on one CPU core with matrix tiles (AMX), in bfloat16.
set -euo pipefail
data=${1:?"expected DATA, the folder of the prompts and the texts"}

python recipes/draft_prompts.py "$data" prompts/draft.jsonl
trimtab train draft --data prompts/draft.jsonl --tokens 4096 --steps 2 --epochs 2 --out drafts/smollm2
