#!/usr/bin/env bash
# Calibrates the bundled rewards on several sources: of texts that they call ½, half shall have the label. An hour on one CPU core,
# two thirds of it for the two of Qwen2.5-Coder-1.5B. The cards in src/trimtab/rewards/bundled have what it writes.
# DATA holds jigsaw_dev, paradetox_dev, rtp_toxic, rtp_nontoxic, sst2_dev and movie_reviews_dev, each as .jsonl.gz.
# MODELS holds gemma-3-270m-q4_k_m.gguf and qwen2.5-coder-1.5b-instruct.gguf: each is loaded once, so that the rewards find their base.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts and prompts"}
models=${2:?"expected MODELS, the folder of gemma-3-270m-q4_k_m.gguf and qwen2.5-coder-1.5b-instruct.gguf"}

for model in gemma-3-270m-q4_k_m qwen2.5-coder-1.5b-instruct; do
    trimtab generate "Hello" --model "$models/$model.gguf" --max-new-tokens 1 --seed 0
done
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
