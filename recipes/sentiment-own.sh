#!/usr/bin/env bash
# sentiment-own: a Q-head on the model's own state after 17 layers, distilled from sentiment-rad. It needs no reward forward.
# bench/own_state.py measures which layer is best. Run sentiment-rad.sh first. This recipe and sentiment-lora.sh share the teacher's rewards.
# 5 minutes on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train distil --teacher rewards/sentiment-rad --targets targets/sentiment \
    --data "$data/sst2_train.jsonl.gz" --held-out "$data/sst2_dev.jsonl.gz" --column label --limit 3000 \
    --target candidates --candidates 20 --regulariser 0.1 --trunk frozen --layers 17 --batch-size 32 --epochs 8 \
    --warmup-steps 20 --learning-rate 1e-3 --checkpoints 4 --out rewards/sentiment-own
trimtab rewards measure rewards/sentiment-own --data "$data/sst2_dev.jsonl.gz" --column label --write
