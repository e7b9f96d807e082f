#!/usr/bin/env bash
# Distils `sentiment` further, from sentiment-rad's rewards of candidates at three positions of 1,600 texts, as `toxicity` was; and compares the two
# on negative prompts: results/ladder/sentiment-dense. It steers no better, so it is not in the package. 40 minutes on one CPU core.
# Run sentiment.sh first: its texts/ are learned. judges/imdb and DATA are those of evaluation.sh.
set -euo pipefail
data=${1:?"expected DATA, the folder of sst2_dev.jsonl.gz and owt_negative.jsonl.gz"}

trimtab train distil --teacher sentiment-rad --held-out "$data/sst2_dev.jsonl.gz" --column label --trunk ladder --ladder-layers 10 \
    --keep-states --max-tokens 64 --batch-size 64 --regulariser 0.1 --no-bf16 --epochs 4 --targets targets/sentiment-dense \
    --data texts/sentiment/dense.jsonl --limit 1600 --target candidates --candidates 20 --positions 3 --start sentiment \
    --learning-rate 5e-4 --warmup-steps 20 --checkpoints 2 --out rewards/sentiment-dense
trimtab evaluate sentiment --up "$data/owt_negative.jsonl.gz" --limit 100 --samples 4 --dtype bfloat16 --rounds 0 --batch-size 8 \
    --judge judges/imdb --judge vader --out runs/sentiment-dense --reward rewards/sentiment-dense --reward sentiment \
    --reward sentiment-lora --beta 10 --beta 20 --beta 40
