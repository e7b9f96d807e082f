#!/usr/bin/env bash
# Aggregates of step rewards (2311.05821) on toxicity over sentences: results/step-rewards.json. DRAFTS drafts of LIMIT prompts, of TOKENS tokens,
# are ranked by the reward `toxicity-lora` after each sentence. An interrupted run resumes. A quarter of an hour on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of rtp_toxic and of toxicity-bert-tiny (ONNX)"}
limit=${LIMIT:-100} drafts=${DRAFTS:-8} tokens=${TOKENS:-60} out=${OUT:-results/step-rewards.json}

mkdir -p runs/step-rewards
source="runs/step-rewards/prompts-$limit.jsonl" written="runs/step-rewards/drafts-$limit-$drafts-$tokens.jsonl"
gzip -cd "$data/rtp_toxic.jsonl.gz" | sed -n "1,${limit}p" > "$source"
trimtab generate --input "$source" --output "$written" --n "$drafts" --max-new-tokens "$tokens" --seed 0 --batch-size 4
python recipes/step_rewards.py "$written" --judge profanity --judge "onnx:$data/toxicity-bert-tiny" --out "$out"
