#!/usr/bin/env bash
# sentiment-rad: a V-head on all 30 layers, from SST-2's labels. It is the teacher. DATA holds sst2_train.jsonl.gz and sst2_dev.jsonl.gz.
# 50 minutes on two CPU cores.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train labels --data "$data/sst2_train.jsonl.gz" --held-out "$data/sst2_dev.jsonl.gz" \
    --attribute positive --column label --head v --layers 30 --lora-rank 8 --batch-size 64 --warmup-steps 50 \
    --learning-rate 1e-3 --out rewards/sentiment-rad
trimtab rewards measure rewards/sentiment-rad --data "$data/sst2_dev.jsonl.gz" --column label --write
