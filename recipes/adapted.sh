#!/usr/bin/env bash
# toxicity and sentiment for Gemma-3-270M and Qwen2.5-Coder-1.5B-Instruct: ladders adapted from toxicity-rad and sentiment-rad;
# and on Gemma-3-270M with LoRA layers of their own, which steer every model of its tokenizer.
# Run toxicity.sh and sentiment.sh first: their texts/ are what is adapted on. An interrupted run resumes.
set -euo pipefail
models=${1:?"expected MODELS, the folder of gemma-3-270m-q4_k_m.gguf and qwen2.5-coder-1.5b-instruct.gguf"}
data=${2:?"expected DATA, the folder of jigsaw_*.jsonl.gz and sst2_*.jsonl.gz"}

adapt() {  # NAME MODEL REWARD TEXTS OPTIONS: rewards/NAME-REWARD, with the agreement with its teacher in its card
    [ -e "rewards/$1-$3/config.json" ] || trimtab adapt "$3" --model "$models/$2" --data "texts/$3/all.jsonl" --texts "$4" \
        --threads 1 --out "rewards/$1-$3" "${@:5}"
}
own_layers() {  # NAME MODEL REWARD LABELLED TEXTS OPTIONS: rewards/NAME-own-REWARD
    [ -e "rewards/$1-own-$3/config.json" ] || trimtab train distil --base "$models/$2" --teacher "$3-rad" --trunk lora --lora-rank 8 \
        --data "$data/$4_train.jsonl.gz" --held-out "$data/$4_dev.jsonl.gz" --column label --balance --limit "$5" --held-out-limit 1000 \
        --max-tokens 48 --target candidates --candidates 20 --positions 3 --regulariser 0.1 --epochs 4 --batch-size 32 \
        --learning-rate 1e-3 --warmup-steps 20 --checkpoints 2 --threads 1 --out "rewards/$1-own-$3" "${@:6}"
}
measure() {  # REWARD LABELLED: adds accuracy and AUC to the card
    trimtab rewards measure "rewards/$1" --data "$data/$2" --column label --limit 1000 --write
}
adapt gemma gemma-3-270m-q4_k_m.gguf toxicity 3000
adapt gemma gemma-3-270m-q4_k_m.gguf sentiment 4000
measure gemma-toxicity jigsaw_dev.jsonl.gz
measure gemma-sentiment sst2_dev.jsonl.gz
adapt qwen qwen2.5-coder-1.5b-instruct.gguf toxicity 2000 --positions 8 --ladder-heads 2
adapt qwen qwen2.5-coder-1.5b-instruct.gguf sentiment 2000 --positions 8 --ladder-heads 2
measure qwen-toxicity jigsaw_dev.jsonl.gz
measure qwen-sentiment sst2_dev.jsonl.gz
own_layers gemma gemma-3-270m-q4_k_m.gguf toxicity jigsaw 3000
own_layers gemma gemma-3-270m-q4_k_m.gguf sentiment sst2 4000
