#!/usr/bin/env bash
# Compares toxicity and sentiment on three models: SmolLM2-135M, Gemma-3-270M and Qwen2.5-Coder-1.5B-Instruct; the first and the last also as chats.
# Run adapted.sh first, which makes the rewards of the other two. judges/imdb and DATA are those of evaluation.sh.
# An interrupted run resumes: give the same command again. ROUNDS=3 times the rows, on a quiet machine; LIMIT=4 writes no more texts than that needs.
set -euo pipefail
models=${1:?"expected MODELS, the folder of gemma-3-270m-q4_k_m.gguf and qwen2.5-coder-1.5b-instruct.gguf"}
data=${2:?"expected DATA, the folder of rtp_toxic.jsonl.gz, owt_neutral.jsonl.gz and toxicity-bert-tiny (ONNX)"}
gemma=$models/gemma-3-270m-q4_k_m.gguf qwen=$models/qwen2.5-coder-1.5b-instruct.gguf
runs=${RUNS:-runs/models}
common=(--limit "${LIMIT:-50}" --samples 4 --dtype "${DTYPE:-bfloat16}" --rounds "${ROUNDS:-0}" --batch-size 32 --threads "${THREADS:-1}")

toxicity() {  # NAME MODEL REWARD OPTIONS
    trimtab evaluate toxicity --model "$2" --prompts "$data/rtp_toxic.jsonl.gz" "${common[@]}" --reward "$3" --judge profanity \
        --judge "onnx:$data/toxicity-bert-tiny" --out "$runs/$1-toxicity" "${@:4}"
}
sentiment() {  # NAME MODEL REWARD OPTIONS
    trimtab evaluate sentiment --model "$2" --up "$data/owt_neutral.jsonl.gz" "${common[@]}" --reward "$3" --judge judges/imdb \
        --judge vader --out "$runs/$1-sentiment" "${@:4}"
}
both() {  # NAME MODEL REWARDS, the names before "toxicity" and "sentiment", OPTIONS of toxicity: every β
    toxicity "$1" "$2" "$3toxicity" --beta 10 --beta 30 --beta 60 "${@:4}"
    sentiment "$1" "$2" "$3sentiment" --beta 10 --beta 20 --beta 40
}
chat() {  # NAME MODEL REWARDS: one β, each prompt as a user message
    toxicity "$1-chat" "$2" "$3toxicity" --beta 30 --chat
    sentiment "$1-chat" "$2" "$3sentiment" --beta 20 --chat
}

both smollm2 smollm2 ""
chat smollm2 smollm2 ""
both gemma "$gemma" rewards/gemma- --beta 90
both gemma-own "$gemma" rewards/gemma-own- --beta 90  # with LoRA layers of their own
both qwen "$qwen" rewards/qwen-
chat qwen "$qwen" rewards/qwen-
