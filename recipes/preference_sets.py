"""The preference sets of recipes/rewardbench.sh in one layout: prompt, chosen, rejected, subset.

    python recipes/preference_sets.py DATA preferences --limit 100

A fixed random part of each subset is kept, so that small runs see all of them.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from ladder_texts import rows, write

LLMBAR = {  # the names of RewardBench by those of the files
    "llmbar_natural": "llmbar-natural",
    "llmbar_adversarial_neighbor": "llmbar-adver-neighbor",
    "llmbar_adversarial_gptinst": "llmbar-adver-GPTInst",
    "llmbar_adversarial_gptout": "llmbar-adver-GPTOut",
    "llmbar_adversarial_manual": "llmbar-adver-manual",
}
RM_BENCH = ("chat", "code", "safety-refuse", "safety-response")
TASK = re.compile(
    r"###The instruction to evaluate:\n(.*)\n\n###Response to evaluate:\n(.*)\n\n###Score Rubrics:", re.DOTALL
)
TURN = "\n\nAssistant:"

Row = dict[str, Any]


def llmbar(data: Path) -> Iterator[Row]:
    """LLMBar: the instruction, and two outputs of which `label` names the better one."""
    for file, subset in LLMBAR.items():
        for row in rows(data / f"{file}.jsonl.gz"):
            outputs = row["output_1"], row["output_2"]
            better = int(row["label"]) - 1
            answers = {"chosen": outputs[better], "rejected": outputs[1 - better]}
            yield {"prompt": row["input"], **answers, "subset": subset}


def rm_bench(data: Path) -> Iterator[Row]:
    """RM-Bench: three styles of each answer."""
    for domain in RM_BENCH:
        for row in rows(data / f"rm_bench_{domain}.jsonl.gz"):
            yield {name: row[name] for name in ("prompt", "chosen", "rejected")} | {"subset": domain}


def hhh(data: Path) -> Iterator[Row]:
    """HHH: the instruction and the response, out of a question to a judge. Pairs of equal responses are left out."""
    for row in rows(data / "hhh_alignment.jsonl.gz"):
        found = [TASK.search(row[f"{side}_instruction"]) for side in ("chosen", "rejected")]
        (prompt, chosen), (_, rejected) = (match.groups() for match in found if match)
        if chosen != rejected:
            yield {"prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": row["source"]}


def hh_harmless(data: Path) -> Iterator[Row]:
    """HH: the conversation up to the last turn of the assistant, if both sides share it."""
    for row in rows(data / "hh_harmless.jsonl.gz"):
        (prompt, _, chosen), (other, _, rejected) = (row[side].rpartition(TURN) for side in ("chosen", "rejected"))
        if prompt == other and chosen.strip() != rejected.strip() and chosen.strip() and rejected.strip():
            turn = {"prompt": (prompt + TURN).strip(), "chosen": chosen.strip(), "rejected": rejected.strip()}
            yield turn | {"subset": "hh-harmless"}


def main(
    data: Annotated[Path, typer.Argument(help="The folder of the preference sets.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    limit: Annotated[int, typer.Option(help="Comparisons of each subset.")] = 100,
    rm_limit: Annotated[int, typer.Option(help="Comparisons of each domain of RM-Bench.")] = 100,
) -> None:
    """Write a file for each set."""
    for name, read in (("llmbar", llmbar), ("rm_bench", rm_bench), ("hhh", hhh), ("hh_harmless", hh_harmless)):
        found, most = list(read(data)), rm_limit if name == "rm_bench" else limit
        random.Random(0).shuffle(found)
        subsets = sorted({row["subset"] for row in found})
        kept = [row for subset in subsets for row in [one for one in found if one["subset"] == subset][:most]]
        write(out / f"{name}.jsonl", kept)


if __name__ == "__main__":
    typer.run(main)
