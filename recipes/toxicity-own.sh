#!/usr/bin/env bash
# toxicity-own: a Q-head on the model's own last state, distilled from toxicity-rad. It needs no reward forward.
# bench/own_state.py measures which layer is best. Run toxicity-rad.sh first. This recipe and toxicity-lora.sh share the teacher's rewards.
# 10 minutes on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train distil --teacher rewards/toxicity-rad --targets targets/toxicity \
    --data "$data/jigsaw_train.jsonl.gz" --held-out "$data/jigsaw_dev.jsonl.gz" --column label --limit 768 --balance \
    --max-tokens 64 --target candidates --candidates 20 --regulariser 0.1 --trunk frozen --layers 30 --batch-size 32 \
    --epochs 6 --warmup-steps 20 --learning-rate 1e-3 --checkpoints 2 --held-out-limit 1000 --out rewards/toxicity-own
