#!/usr/bin/env bash
# RewardBench's protocol for the bundled rewards, a toxicity classifier and a self-judge: results/rewardbench.
# LIMIT comparisons of each subset of LLMBar, HHH and HH, RM_LIMIT of each domain of RM-Bench, with three styles of each answer.
# MODEL judges itself. A group that is measured is not measured again. The defaults take many hours on one CPU core.
set -euo pipefail
data=${1:?"expected DATA, the folder of llmbar_*, rm_bench_*, hhh_alignment, hh_harmless and of toxicity-bert-tiny (ONNX)"}
limit=${LIMIT:-1000} rm_limit=${RM_LIMIT:-1000} model=${MODEL:-smollm2}
sets="runs/rewardbench/$limit-$rm_limit" out=${OUT:-results/rewardbench}

python recipes/preference_sets.py "$data" "$sets" --limit "$limit" --rm-limit "$rm_limit"
mkdir -p "$out"
measure() {  # NAME OPTIONS...
    [ -e "$out/$1.json" ] || trimtab evaluate preference --data "$sets/llmbar.jsonl" --data "$sets/rm_bench.jsonl" \
        --data "$sets/hhh.jsonl" --data "$sets/hh_harmless.jsonl" --out "$out/$1.json" "${@:2}"
}
measure classifier --judge "onnx:$data/toxicity-bert-tiny=-1" --template '{answer}'
measure toxicity --down --reward toxicity ${MORE_TOXICITY:-}
measure sentiment --reward sentiment ${MORE_SENTIMENT:-}
measure self --judge self --judge-soft --model "$model"
python recipes/preference_table.py "$out" "$out/table.md"
