#!/usr/bin/env bash
# Every method on toxicity and sentiment, control against perplexity and against time, by two judges: results/field. LIMIT prompts × SAMPLES.
# An interrupted run resumes: give the same command again. No row is written twice, and no reward is trained twice.
# METHODS chooses some of: rewards experts genarm datastore drafts args rewind; TASKS some of: toxicity sentiment. BETAS, ALPHAS (of language models), TRAIN (rows of training),
# HELD_OUT, JUDGE_TEXTS, ROUNDS, ITERATIONS and BEST_OF make a run smaller. The defaults take days on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of rtp_toxic, owt_negative, jigsaw_*, sst2_*, paradetox_*, movie_reviews_train, and of toxicity-bert-tiny (ONNX) and minilm-l6-v2"}
limit=${LIMIT:-100} samples=${SAMPLES:-4} rounds=${ROUNDS:-3} best_of=${BEST_OF:-16} iterations=${ITERATIONS:-50}
methods=" ${METHODS:-rewards experts genarm datastore drafts args rewind} " tasks=" ${TASKS:-toxicity sentiment} " train=${TRAIN:-10000} out=${OUT:-results/field}
runs=${RUNS:-runs/field-$limit-$samples}
betas=(); for beta in ${BETAS:-5 15 45}; do betas+=(--beta "$beta"); done
alphas=(); for alpha in ${ALPHAS:-0.5 1 2}; do alphas+=(--beta "$alpha"); done

asked() { case "$methods" in *" $1 "*) ;; *) return 1 ;; esac; }
steered() { case "$tasks" in *" $1 "*) ;; *) return 1 ;; esac; }
trained() { [ -e "rewards/$1/config.json" ]; }
common=(--limit "$limit" --samples "$samples" --dtype "${DTYPE:-bfloat16}" --rounds "$rounds" --batch-size 8)
toxicity() {
    ! steered toxicity || trimtab evaluate toxicity --prompts "$data/rtp_toxic.jsonl.gz" "${common[@]}" --judge profanity \
        --judge "onnx:$data/toxicity-bert-tiny" --out "$runs/toxicity" "$@"
}
sentiment() {
    ! steered sentiment || trimtab evaluate sentiment --up "$data/owt_negative.jsonl.gz" "${common[@]}" --judge vader \
        --judge judges/imdb --out "$runs/sentiment" "$@"
}
expert() {  # NAME DATA OPTIONS: a language model on the texts of one label
    trained "$1" || trimtab train expert --data "$data/$2_train.jsonl.gz" --held-out "$data/$2_dev.jsonl.gz" --column label \
        --limit "$train" --held-out-limit "${HELD_OUT:-200}" --max-tokens 64 --lora-rank 8 --batch-size 32 --warmup-steps 50 \
        --learning-rate 5e-4 --out "rewards/$1" "${@:3}"
}
store() {  # NAME DATA LABEL: a datastore of the texts of one label
    python recipes/labelled_part.py "$data/$2_train.jsonl.gz" "$3" "texts/$1.jsonl" --limit "$train"
    trained "$1" || trimtab train datastore --data "texts/$1.jsonl" --max-tokens 64 --mix 0.3 --distance-temperature 10 --out "rewards/$1"
}

! steered sentiment || [ -e judges/imdb/config.json ] || python bench/sentiment_judge.py --encoder "$data/minilm-l6-v2" \
    --data "$data/movie_reviews_train.jsonl.gz" --limit "${JUDGE_TEXTS:-8000}" --out judges/imdb
if asked rewards; then  # ladders, LoRA layers, own states (SASA's place) and RAD
    for kind in "" -lora -own -rad; do
        toxicity --reward "toxicity$kind" "${betas[@]}"
        sentiment --reward "sentiment$kind" "${betas[@]}"
    done
fi
if asked args; then
    toxicity --reward toxicity-rad --args 1.5 --args 15
    sentiment --reward sentiment-rad --args 1.5 --args 15
fi
if asked drafts; then  # best of n, in blocks, halved, in segments
    drafts=(--best-of "$best_of" --block 5 --halve-every 5)
    toxicity "${drafts[@]}" --by toxicity --accept-at 0.05
    sentiment "${drafts[@]}" --by sentiment --accept-at 0.9
fi
if asked experts; then  # DExperts: the expert is what the prompts are steered to
    if steered toxicity; then
        expert toxic-lm jigsaw --at-least 0.5 --attribute toxic
        expert nontoxic-lm jigsaw --at-most 0 --attribute nontoxic
    fi
    if steered sentiment; then
        expert positive-lm sst2 --at-least 0.5 --attribute positive
        expert negative-lm sst2 --at-most 0 --attribute negative
    fi
    toxicity --reward experts:rewards/toxic-lm,rewards/nontoxic-lm "${alphas[@]}"
    sentiment --reward experts:rewards/positive-lm,rewards/negative-lm "${alphas[@]}"
fi
if asked genarm && steered toxicity; then  # ParaDetox. Prompts are steered down, and away from -log p of an anti-expert is towards its log p
    trained genarm-mild || trimtab train genarm --data "$data/paradetox_train.jsonl.gz" --held-out "$data/paradetox_dev.jsonl.gz" \
        --limit "$train" --held-out-limit "${HELD_OUT:-200}" --max-tokens 64 --lora-rank 8 --batch-size 16 --learning-rate 5e-4 \
        --warmup-steps 50 --attribute mild --out rewards/genarm-mild
    toxicity --reward experts:,rewards/genarm-mild "${alphas[@]}"
fi
if asked datastore && steered sentiment; then
    store positive-store sst2 1
    sentiment --reward rewards/positive-store --beta 1
fi
if asked rewind; then
    toxicity --rewind toxicity --iterations "$iterations"
    sentiment --rewind sentiment --iterations "$iterations"
fi
for task in $tasks; do
    mkdir -p "$out/$task"
    for file in "$runs"/$task/{report.md,report.json,report.tex,times.json,judges.json} "$runs"/$task/*.png; do
        if [ -e "$file" ]; then cp "$file" "$out/$task/"; fi
    done
done
