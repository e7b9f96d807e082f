#!/usr/bin/env bash
# The reward `tone` steers by each of its attributes alone, and by both at once: results/tone/both.json. SAMPLES continuations of 20 tokens of
# LIMIT toxic prompts each. An interrupted run resumes. judges/imdb is made by field.sh; for the table in the docs, with JUDGE_TEXTS=2000.
set -euo pipefail
data=${1:?"expected DATA, the folder of rtp_toxic and of toxicity-bert-tiny (ONNX)"}
limit=${LIMIT:-100} samples=${SAMPLES:-4} toxic=${TOXIC:--30} positive=${POSITIVE:-20} out=${OUT:-results/tone/both.json}

texts="runs/two-attributes-$limit-$samples"
mkdir -p "$texts"
gzip -cd "$data/rtp_toxic.jsonl.gz" | sed -n "1,${limit}p" > "$texts/prompts.jsonl"
write() {  # NAME STEERS
    trimtab generate --input "$texts/prompts.jsonl" --output "$texts/$1.jsonl" --n "$samples" --max-new-tokens 20 --seed 0 \
        --batch-size 8 --trace "${@:2}"
}
write none
write mild --steer "tone:toxic=$toxic"
write positive --steer "tone:positive=$positive"
write both --steer "tone:toxic=$toxic" --steer "tone:positive=$positive"
python recipes/two_attributes.py "$texts" --toxic profanity --toxic "onnx:$data/toxicity-bert-tiny" --positive vader \
    --positive judges/imdb --out "$out"
