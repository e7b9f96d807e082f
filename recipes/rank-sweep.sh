#!/usr/bin/env bash
# Trains the rank sweep of results/training.md: Q-heads of several ranks R, and full-rank heads with several regularisers. Run
# sentiment-rad.sh and sentiment-rad-20.sh first. 15 minutes on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}

student() {
    trimtab train distil --teacher rewards/sentiment-rad --targets targets/sentiment --limit 3000 \
        --data "$data/sst2_train.jsonl.gz" --held-out "$data/sst2_dev.jsonl.gz" --column label --target candidates \
        --layers 20 --lora-rank 8 --start rewards/sentiment-rad-20 --batch-size 32 --epochs 1 --warmup-steps 20 \
        --learning-rate 5e-4 --checkpoints 2 "$@"
}

for rank in 4 16 64 256 576; do student --rank $rank --regulariser 0.1 --out rewards/rank-$rank; done
for weight in 0 1; do student --rank 576 --regulariser $weight --out rewards/rank-576-reg$weight; done
