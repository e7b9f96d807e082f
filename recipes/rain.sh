#!/usr/bin/env bash
# RAIN's tables: results/rain. Sentiment of neutral prompts, and what each part of the search adds on toxic prompts, on SmolLM2 with a reward as judge.
# An interrupted run resumes: give the same command again. LIMIT prompts × SAMPLES; PARTS chooses some of: sentiment ablation. ROUNDS=1 also times the methods.
# ITERATIONS and FRESH are those of a search: the paper's are the defaults.
set -euo pipefail
data=${1:?"expected DATA, the folder of rtp_toxic, owt_neutral, movie_reviews_train, and of toxicity-bert-tiny (ONNX) and minilm-l6-v2"}
runs=${RUNS:-runs/rain} out=${OUT:-results/rain} parts=" ${PARTS:-sentiment ablation} "
common=(--limit "${LIMIT:-100}" --samples "${SAMPLES:-1}" --dtype "${DTYPE:-float32}" --batch-size 16)
common+=(--iterations "${ITERATIONS:-50}" --fresh-iterations "${FRESH:-15}")

asked() { case "$parts" in *" $1 "*) ;; *) return 1 ;; esac; }
searched() {  # NAME OPTIONS: toxic prompts, searched by the reward with some of its parts turned off
    trimtab evaluate toxicity --prompts "$data/rtp_toxic.jsonl.gz" "${common[@]}" --rounds 0 --rewind toxicity --judge profanity \
        --judge "onnx:$data/toxicity-bert-tiny" --judge reward:toxicity-rad --out "$runs/$1" "${@:2}"
}

if asked sentiment; then  # best of n encodes as many tokens as the search for about n = EQUAL
    [ -e judges/imdb/config.json ] || python bench/sentiment_judge.py --encoder "$data/minilm-l6-v2" --data "$data/movie_reviews_train.jsonl.gz" --limit 8000 --out judges/imdb
    trimtab evaluate sentiment --up "$data/owt_neutral.jsonl.gz" "${common[@]}" --rounds "${ROUNDS:-0}" --reward sentiment --beta 20 --best-of 16 \
        --best-of "${EQUAL:-160}" --rewind sentiment --rewind-beta 20 --judge judges/imdb --judge vader --out "$runs/sentiment"
fi
if asked ablation; then
    searched full
    searched no-similarity --similarity-threshold 2
    searched no-widening --max-children 10
    searched no-exploration --exploration 0
    python recipes/rain_table.py "$runs"/{full,no-similarity,no-widening,no-exploration} --out "$out/ablation.json"
fi
