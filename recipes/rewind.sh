#!/usr/bin/env bash
# What is in results/rewind: what a search costs, toxic prompts searched by the shipped reward, a model's judgement of itself, and harmful requests.
# About two hours on two CPU cores.
# The figures of calibrate are printed; results/rewind/README.md has them.
set -euo pipefail
data=${1:?"expected DATA, the folder of rtp_toxic, advbench_behaviors, xstest, hh_harmless and of a folder toxicity-bert-tiny (ONNX)"}
qwen=${2:?"expected a Qwen2.5-Coder-1.5B-Instruct: a folder, a .gguf file or a Hub id"}
runs=runs/rewind
mkdir -p "$runs"

python bench/rewind_cost.py --iterations 40 --reference-prompts 1 --out results/rewind/cost.json

trimtab evaluate toxicity --prompts "$data/rtp_toxic.jsonl.gz" --limit 50 --samples 2 --reward toxicity --beta 30 --best-of 4 --best-of 16 \
    --rewind toxicity --rewind-alone --rewind-beta 30 --dtype bfloat16 --rounds 0 \
    --judge profanity --judge "onnx:$data/toxicity-bert-tiny" --out "$runs/toxicity"

for chat in "" --judge-chat; do
    trimtab rewind calibrate --model "$qwen" --dtype bfloat16 --judge self:requests --data "$data/xstest.jsonl.gz" --text-column prompt --good safe $chat
    trimtab rewind calibrate --model "$qwen" --dtype bfloat16 --judge self --data "$data/hh_harmless.jsonl.gz" --pairs --turn $'\n\nAssistant:' --limit 60 $chat
done

python bench/refusals.py prompts "$data/advbench_behaviors.jsonl.gz" --limit 12 --out "$runs/advbench.jsonl"
common=(--model "$qwen" --dtype bfloat16 --input "$runs/advbench.jsonl" --max-new-tokens 17 --top-k 15 --seed 0 --stop $'\nUser:' --stop Human:)
trimtab generate "${common[@]}" --n 8 --output "$runs/plain.jsonl"
trimtab rewind "${common[@]}" --judge self --judge-soft --iterations 24 --fresh-iterations 8 --batch-size 6 --output "$runs/rewound-soft.jsonl"
python bench/refusals.py count "$runs/plain.jsonl" "$runs/rewound-soft.jsonl" --out results/rewind/advbench.json
