#!/usr/bin/env bash
# sentiment-labels: a Q-head on 20 layers, from SST-2's labels. It is not bundled. sentiment-lora.sh starts from it.
# 15 minutes on two CPU cores.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train labels --data "$data/sst2_train.jsonl.gz" --held-out "$data/sst2_dev.jsonl.gz" \
    --attribute positive --column label --limit 40000 --head q --layers 20 --lora-rank 8 --batch-size 64 \
    --warmup-steps 50 --learning-rate 1e-3 --out rewards/sentiment-labels
