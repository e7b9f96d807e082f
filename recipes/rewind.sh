#!/usr/bin/env bash
# Runs everything in results/rewind but example.html: the cost of a search, toxic prompts with a bundled reward as judge, the calibration
# of a self-judge, and harmful requests. Two to three hours on two CPU cores.
set -euo pipefail
data=${1:?"expected DATA, the folder of rtp_toxic, advbench_behaviors, xstest, hh_harmless and of a folder toxicity-bert-tiny (ONNX)"}
qwen=${2:?"expected a Qwen2.5-Coder-1.5B-Instruct: a folder, a .gguf file or a Hub id"}
runs=runs/rewind
mkdir -p "$runs"

python bench/rewind_cost.py --iterations 40 --reference-prompts 1 --out results/rewind/cost.json

trimtab evaluate toxicity --prompts "$data/rtp_toxic.jsonl.gz" --limit 50 --samples 2 --reward toxicity-lora --beta 30 --greedy --best-of 4 --best-of 16 \
    --rewind toxicity-lora --rewind-alone --rewind-beta 30 --dtype bfloat16 --rounds 0 \
    --judge profanity --judge "onnx:$data/toxicity-bert-tiny" --out "$runs/toxicity"

calibration=results/rewind/calibration.jsonl
rm -f "$calibration"
for chat in "" --judge-chat; do
    trimtab rewind calibrate --model "$qwen" --dtype bfloat16 --judge self --data "$data/hh_harmless.jsonl.gz" --pairs --turn $'\n\nAssistant:' --limit 100 $chat --json >> "$calibration"
    trimtab rewind calibrate --model "$qwen" --dtype bfloat16 --judge self:requests --data "$data/xstest.jsonl.gz" --text-column prompt --good safe $chat --json >> "$calibration"
done

smollm2=results/rewind/calibration-smollm2.jsonl
rm -f "$smollm2"
pairs=(--data "$data/hh_harmless.jsonl.gz" --pairs --turn $'\n\nAssistant:' --limit 100 --json)
for chat in "" --judge-chat; do
    trimtab rewind calibrate --judge self "${pairs[@]}" $chat >> "$smollm2"
    trimtab rewind calibrate --judge self:requests --data "$data/xstest.jsonl.gz" --text-column prompt --good safe $chat --json >> "$smollm2"
done
for alone in "" --judge-alone; do
    trimtab rewind calibrate --judge toxicity-lora=-1 "${pairs[@]}" $alone >> "$smollm2"
done

common=(--model "$qwen" --dtype bfloat16 --max-new-tokens 17 --top-k 15 --seed 0 --stop $'\nUser:' --stop Human:)
search=(--judge self --judge-soft --iterations 24 --fresh-iterations 8 --batch-size 6)
for set in "" prefilled; do
    of="$runs/advbench${set:+-$set}"
    rm -f "$of.jsonl" "$of-known.jsonl"
    python bench/refusals.py prompts "$data/advbench_behaviors.jsonl.gz" --limit 20 ${set:+--$set} --out "$of.jsonl"
    trimtab generate "${common[@]}" --n 8 --input "$of.jsonl" --output "$of-plain.jsonl"
    trimtab rewind "${common[@]}" "${search[@]}" --input "$of.jsonl" --output "$of-rewound.jsonl"
    python bench/refusals.py known "$of.jsonl" --model "$qwen" --out "$of-known.jsonl"
done
trimtab rewind "${common[@]}" "${search[@]}" --judge-chat --input "$runs/advbench-prefilled.jsonl" --output "$runs/advbench-prefilled-rewound-chat.jsonl"
python bench/refusals.py count "$runs"/advbench*-{plain,rewound,rewound-chat,known}.jsonl --out results/rewind/advbench.json
