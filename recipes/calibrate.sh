#!/usr/bin/env bash
# Calibrates the bundled rewards on several sources: of texts that they call ½, half shall have the label. Half an hour on one CPU core.
# The four of toxicity ship with what it writes. It does not better those of sentiment, which ship as they were trained.
# DATA holds jigsaw_dev, paradetox_dev, rtp_toxic, rtp_nontoxic, sst2_dev and movie_reviews_dev, each as .jsonl.gz.
set -euo pipefail
data=${1:?"expected DATA, the folder of the labelled texts and prompts"}

python recipes/calibration_texts.py "$data" texts/calibration
calibrate() {  # SOURCES... -- REWARDS...
    local sources=()
    while [ "$1" != -- ]; do sources+=(--data "texts/calibration/$1.jsonl"); shift; done
    for reward in "${@:2}"; do
        trimtab rewards calibrate "$reward" "${sources[@]}" --max-tokens 64 --out "rewards/calibrated/$reward"
    done
}
calibrate jigsaw davidson paradetox realtoxicityprompts -- toxicity toxicity-lora toxicity-rad toxicity-own
calibrate sst2 imdb -- sentiment sentiment-lora sentiment-rad sentiment-own
