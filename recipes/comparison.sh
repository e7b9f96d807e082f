#!/usr/bin/env bash
# Trains the rewards that results/training.md compares by objective: students of one teacher on the same 3,000 texts. The teacher's
# rewards are computed once. The last loop compares depths; results/ has no figures of it. Run sentiment-rad.sh and sentiment-labels.sh
# first. 90 minutes on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}

student() {
    trimtab train distil --teacher rewards/sentiment-rad --targets targets/sentiment --limit 3000 \
        --data "$data/sst2_train.jsonl.gz" --held-out "$data/sst2_dev.jsonl.gz" --column label \
        --lora-rank 8 --batch-size 32 --epochs 3 --warmup-steps 20 --learning-rate 5e-4 --checkpoints 3 "$@"
}

from_labels=(--layers 20 --start rewards/sentiment-labels)
student "${from_labels[@]}" --target candidates --regulariser 0.1 --out rewards/sentiment-candidates
student "${from_labels[@]}" --target orig --out rewards/sentiment-orig
student "${from_labels[@]}" --target delta --out rewards/sentiment-delta
student "${from_labels[@]}" --target candidates --regulariser 1 --out rewards/sentiment-candidates-reg1
for layers in 12 20 30; do
    student --layers $layers --start rewards/sentiment-rad --target candidates --regulariser 0.1 \
        --out rewards/sentiment-candidates-$layers
done
