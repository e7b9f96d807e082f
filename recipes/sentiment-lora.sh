#!/usr/bin/env bash
# sentiment-lora: a Q-head on 20 layers, distilled from sentiment-rad's rewards of the base's top 20 at every position of 3,000 texts.
# Run sentiment-rad.sh and sentiment-labels.sh first. 30 minutes on one CPU core. The teacher takes two thirds of the time.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train distil --teacher rewards/sentiment-rad --start rewards/sentiment-labels --targets targets/sentiment \
    --data "$data/sst2_train.jsonl.gz" --held-out "$data/sst2_dev.jsonl.gz" --column label --limit 3000 \
    --target candidates --candidates 20 --regulariser 0.1 --layers 20 --lora-rank 8 --batch-size 32 --epochs 3 \
    --warmup-steps 20 --learning-rate 5e-4 --checkpoints 3 --out rewards/sentiment-lora
trimtab rewards measure rewards/sentiment-lora --data "$data/sst2_dev.jsonl.gz" --column label --write
