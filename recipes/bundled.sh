#!/usr/bin/env bash
# Rebuilds the rewards that ship in the package, into rewards/.
#
#   recipes/bundled.sh DATA [NAME...]
#
# DATA holds SST-2 (sst2_train.jsonl.gz, sst2_dev.jsonl.gz: text, label) and Jigsaw's Toxic Comments
# (jigsaw_train.jsonl.gz, jigsaw_dev.jsonl.gz: text, label). About a quarter of an hour each on two CPU cores.
set -euo pipefail
data=$1
shift
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(sentiment toxicity sentiment-rad toxicity-rad)
common=(--layers 20 --lora-rank 8 --batch-size 64 --warmup-steps 50 --learning-rate 1e-3)

sentiment() {
    trimtab train labels --data "$data/sst2_train.jsonl.gz" --held-out "$data/sst2_dev.jsonl.gz" \
        --attribute positive --column label --limit 40000 "${common[@]}" "$@"
}

toxicity() {
    trimtab train labels --data "$data/jigsaw_train.jsonl.gz" --held-out "$data/jigsaw_dev.jsonl.gz" \
        --attribute toxic --column label --limit 10000 --balance --max-tokens 64 "${common[@]}" "$@"
}

for name in "${names[@]}"; do
    case $name in
        sentiment) sentiment --head q --out rewards/sentiment ;;
        sentiment-rad) sentiment --head v --out rewards/sentiment-rad ;;
        toxicity) toxicity --head q --out rewards/toxicity ;;
        toxicity-rad) toxicity --head v --out rewards/toxicity-rad ;;
        *) echo "no recipe for $name" >&2; exit 2 ;;
    esac
done
