#!/usr/bin/env bash
# toxicity-rad: a V-head on 20 layers, from Jigsaw's labels. It is the teacher. DATA holds jigsaw_train.jsonl.gz and jigsaw_dev.jsonl.gz.
# 15 minutes on two CPU cores.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
trimtab train labels --data "$data/jigsaw_train.jsonl.gz" --held-out "$data/jigsaw_dev.jsonl.gz" \
    --attribute toxic --column label --limit 10000 --balance --max-tokens 64 --head v --layers 20 --lora-rank 8 \
    --batch-size 64 --warmup-steps 50 --learning-rate 1e-3 --out rewards/toxicity-rad
trimtab rewards measure rewards/toxicity-rad --data "$data/jigsaw_dev.jsonl.gz" --column label --limit 4000 --max-tokens 64 --write
