#!/usr/bin/env bash
# toxicity: a Q-head on a ladder of ten narrow layers, distilled from toxicity-rad, on Jigsaw's comments, both sides of ParaDetox and the model's own samples.
# First every observed token of 7,600 texts, then also the base's top 20 at three positions of 1,600 texts.
# Run toxicity-rad.sh and toxicity-lora.sh first. DATA is as for them, with the prompts. Two hours on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts and the prompts"}

mkdir -p samples/toxicity
python recipes/ladder_texts.py prompts toxicity "$data" prompts/toxicity
continue_prompts() {
    trimtab generate --input "prompts/toxicity/$1.jsonl" --output "samples/toxicity/$1.jsonl" --max-new-tokens 24 \
        --batch-size 48 "${@:2}"
}
continue_prompts plain --seed 1
continue_prompts up --seed 2 --steer rewards/toxicity-lora=30
continue_prompts down --seed 3 --steer rewards/toxicity-lora=-30
python recipes/ladder_texts.py texts toxicity "$data" samples/toxicity texts/toxicity

distil() {
    trimtab train distil --teacher rewards/toxicity-rad --held-out "$data/jigsaw_dev.jsonl.gz" --column label --trunk ladder \
        --ladder-layers 10 --keep-states --max-tokens 64 --batch-size 64 --regulariser 0.1 --no-bf16 --epochs 4 "$@"
}
distil --targets targets/toxicity-orig --data texts/toxicity/all.jsonl --target orig --warmup-steps 50 --checkpoints 4 --held-out-limit 1000 \
    --out rewards/toxicity-orig
distil --targets targets/toxicity-dense --data texts/toxicity/dense.jsonl --limit 1600 --target candidates --candidates 20 \
    --positions 3 --start rewards/toxicity-orig --learning-rate 5e-4 --warmup-steps 20 --checkpoints 2 --held-out-limit 1000 --out rewards/toxicity
