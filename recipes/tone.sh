#!/usr/bin/env bash
# tone: a Q-head on one ladder with two attributes, toxic and positive, distilled from toxicity-rad and sentiment-rad together.
# It learns both teachers' rewards of 8,000 texts, in two runs. Run toxicity.sh and sentiment.sh first: they write the texts. DATA is theirs.
# An hour and a half on one CPU core, in float32.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}

python recipes/ladder_texts.py mix texts/tone/all.jsonl texts/toxicity/all.jsonl texts/sentiment/all.jsonl
distil() {
    trimtab train distil --teacher rewards/toxicity-rad --teacher rewards/sentiment-rad --targets targets/tone \
        --data texts/tone/all.jsonl --target orig --trunk ladder --ladder-layers 10 --keep-states --max-tokens 64 \
        --batch-size 64 --regulariser 0.1 --no-bf16 "$@"
}
distil --epochs 4 --warmup-steps 50 --checkpoints 4 --out rewards/tone-first
distil --start rewards/tone-first --epochs 6 --learning-rate 5e-4 --warmup-steps 20 --checkpoints 3 --out rewards/tone
trimtab rewards measure rewards/tone --attribute toxic --data "$data/jigsaw_dev.jsonl.gz" --column label --limit 1000 --write
trimtab rewards measure rewards/tone --attribute positive --data "$data/sst2_dev.jsonl.gz" --column label --write
