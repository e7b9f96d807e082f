#!/usr/bin/env bash
# toxicity-lora: a Q-head on 20 layers, distilled from toxicity-rad's rewards of the base's top 20 at every position of 768 texts.
# Run toxicity-rad.sh and toxicity-labels.sh first. 30 minutes on one CPU core. The teacher takes two thirds of the time.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train distil --teacher rewards/toxicity-rad --start rewards/toxicity-labels --targets targets/toxicity \
    --data "$data/jigsaw_train.jsonl.gz" --held-out "$data/jigsaw_dev.jsonl.gz" --column label --limit 768 --balance \
    --max-tokens 64 --target candidates --candidates 20 --regulariser 0.1 --layers 20 --lora-rank 8 --batch-size 32 \
    --epochs 3 --warmup-steps 20 --learning-rate 5e-4 --checkpoints 3 --out rewards/toxicity-lora
