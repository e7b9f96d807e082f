#!/usr/bin/env bash
# Calibrates the bundled rewards on several sources: of texts that they call ½, half shall have the label. An hour on one CPU core.
# The cards in src/trimtab/rewards/bundled are those that it writes. Where no line helps, as with sentiment, the card says so.
# DATA holds jigsaw_dev, paradetox_dev, rtp_toxic, rtp_nontoxic, sst2_dev and movie_reviews_dev, each as .jsonl.gz.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts and prompts"}

python recipes/calibration_texts.py "$data" texts/calibration
toxic=(jigsaw davidson paradetox realtoxicityprompts) positive=(sst2 imdb)
calibrate() {  # REWARD NAME SOURCES [OPTIONS]: rewards/calibrated/NAME
    local -n names=$3
    local sources=()
    for name in "${names[@]}"; do sources+=(--data "texts/calibration/$name.jsonl"); done
    trimtab rewards calibrate "$1" "${sources[@]}" --max-tokens 64 --out "rewards/calibrated/$2" "${@:4}"
}
for kind in "" -lora -rad -own @gemma-3-270m @gemma-3 @qwen2.5-coder-1.5b; do
    calibrate "toxicity$kind" "toxicity$kind" toxic
    calibrate "sentiment$kind" "sentiment$kind" positive
done
calibrate tone tone-toxic toxic --attribute toxic
calibrate rewards/calibrated/tone-toxic tone positive --attribute positive
