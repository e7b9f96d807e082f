#!/usr/bin/env bash
# Runs the comparisons in results/evaluation: toxicity on RealToxicityPrompts, sentiment on OpenWebText prompts. Run sentiment-labels.sh,
# toxicity-labels.sh and rank-sweep.sh first. Five hours on one CPU core. The same command in a second shell, once judges/imdb is there, halves that.
set -euo pipefail
data=${1:?"expected DATA, the folder of the prompts, movie_reviews_train, sst2_dev, a folder toxicity-bert-tiny (ONNX) and one minilm-l6-v2"}
common=(--samples 8 --dtype bfloat16 --rounds 3)

[ -e judges/imdb/config.json ] || python bench/sentiment_judge.py --encoder "$data/minilm-l6-v2" --data "$data/movie_reviews_train.jsonl.gz" --out judges/imdb
trimtab evaluate judges --task sentiment --data "$data/sst2_dev.jsonl.gz" --judge judges/imdb --judge vader --out runs/sentiment
toxicity_judges=(--judge profanity --judge "onnx:$data/toxicity-bert-tiny")
for set in nontoxic toxic; do
    trimtab evaluate judges --data "$data/rtp_$set.jsonl.gz" --text-column continuation --column continuation_toxicity \
        "${toxicity_judges[@]}" --out runs/toxicity
done

toxicity() {
    trimtab evaluate toxicity --prompts "$data/rtp_nontoxic.jsonl.gz" --prompts "$data/rtp_toxic.jsonl.gz" --limit 150 \
        "${common[@]}" "${toxicity_judges[@]}" --profile toxicity-rad --out runs/toxicity "$@"
}
toxicity --reward toxicity-lora --reward rewards/toxicity-labels --reward toxicity-own --beta 10 --beta 30 --beta 60
toxicity --reward toxicity-rad --beta 30 --beta 60
toxicity --reward toxicity-lora+toxicity-own --beta 30
toxicity --best-of 4 --best-of 16 --by toxicity-lora

sentiment() {
    trimtab evaluate sentiment --up "$data/owt_neutral.jsonl.gz" --up "$data/owt_negative.jsonl.gz" \
        --down "$data/owt_positive.jsonl.gz" --limit 100 "${common[@]}" --judge judges/imdb --judge vader \
        --profile sentiment-rad --out runs/sentiment "$@"
}
sentiment --reward sentiment-lora --reward rewards/sentiment-labels --reward sentiment-own --beta 10 --beta 20 --beta 40
sentiment --reward sentiment-rad --beta 20 --beta 40
sentiment --best-of 4 --by sentiment-lora
sentiment --reward rewards/rank-4 --reward rewards/rank-16 --reward rewards/rank-64 --reward rewards/rank-256 --beta 20
