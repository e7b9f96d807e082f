#!/usr/bin/env bash
# toxic-lm and nontoxic-lm: an anti-expert and an expert on Jigsaw's comments (DExperts). They are not bundled.
# Steer with --steer experts:rewards/nontoxic-lm,rewards/toxic-lm=2
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts"}
expert() {
    trimtab train expert --data "$data/jigsaw_train.jsonl.gz" --held-out "$data/jigsaw_dev.jsonl.gz" --column label --limit 10000 \
        --held-out-limit 500 --max-tokens 64 --lora-rank 8 --batch-size 32 --warmup-steps 50 --learning-rate 5e-4 "$@"
}
expert --at-least 0.5 --attribute toxic --out rewards/toxic-lm
expert --at-most 0 --attribute nontoxic --out rewards/nontoxic-lm
