#!/usr/bin/env bash
# toxicity-labels: a Q-head on 20 layers, from Jigsaw's labels. It is not bundled. toxicity-lora.sh starts from it.
# 15 minutes on two CPU cores.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train labels --data "$data/jigsaw_train.jsonl.gz" --held-out "$data/jigsaw_dev.jsonl.gz" \
    --attribute toxic --column label --limit 10000 --balance --max-tokens 64 --head q --layers 20 --lora-rank 8 \
    --batch-size 64 --warmup-steps 50 --learning-rate 1e-3 --out rewards/toxicity-labels
