#!/usr/bin/env bash
# The draft head of SmolLM2: it learns what the model writes behind 1,000 prompts, and 2,800 texts of people.
# DATA holds the prompts (owt_*, rtp_*, hh_harmless, gsm8k_test) and the texts (movie_reviews_train, jigsaw_train).
# Copied to src/trimtab/drafts/bundled/smollm2, the head drafts for SmolLM2 wherever speculate="draft" is asked for.
set -euo pipefail
data=${1:?"expected DATA, the folder of the prompts and the texts"}

python recipes/draft_prompts.py "$data" prompts/draft.jsonl
trimtab train draft --data prompts/draft.jsonl --tokens 4096 --steps 2 --epochs 6 --batch-size 16 --checkpoints 3 --out drafts/smollm2
