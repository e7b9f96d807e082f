#!/usr/bin/env bash
# sentiment: a Q-head on a ladder of ten narrow layers, distilled from sentiment-rad, on phrases of SST-2, openings of IMDB's reviews and the model's own samples.
# It learns the teacher's rewards of 11,600 texts. Run sentiment-rad.sh and sentiment-lora.sh first. DATA holds their files, the prompts
# (owt_*.jsonl.gz) and movie_reviews_train.jsonl.gz. 90 minutes on one CPU core, in float32.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts and the prompts"}

mkdir -p samples/sentiment
python recipes/ladder_texts.py prompts sentiment "$data" prompts/sentiment
continue_prompts() {
    trimtab generate --input "prompts/sentiment/$1.jsonl" --output "samples/sentiment/$1.jsonl" --max-new-tokens 24 \
        --batch-size 48 "${@:2}"
}
continue_prompts plain --seed 1
continue_prompts up --seed 2 --steer rewards/sentiment-lora=20
continue_prompts down --seed 3 --steer rewards/sentiment-lora=-20
python recipes/ladder_texts.py texts sentiment "$data" samples/sentiment texts/sentiment

trimtab train distil --teacher rewards/sentiment-rad --targets targets/sentiment-orig \
    --data texts/sentiment/all.jsonl --held-out "$data/sst2_dev.jsonl.gz" --column label --target orig \
    --trunk ladder --ladder-layers 10 --keep-states --max-tokens 64 --batch-size 64 --epochs 4 --warmup-steps 50 \
    --regulariser 0.1 --no-bf16 --checkpoints 4 --out rewards/sentiment
trimtab rewards measure rewards/sentiment --data "$data/sst2_dev.jsonl.gz" --column label --write
