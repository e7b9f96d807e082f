"""Search the shape of a ladder: accuracy on held-out texts against the cost of a token.

    python bench/ladder.py --teacher sentiment-rad --data texts.jsonl --held-out sst2_dev.jsonl.gz --column label \
        --out results/ladder.json

Every shape learns the same rewards of one teacher, from the same hidden states. Both are computed once: the states at
the depths of the widest ladder, of which each shape takes its own. The cost is the CPU time of a steered token over a
plain one, the median of runs in turn; CPU time, because other work on the machine does not change it much. The
teacher's rewards, the states and the finished runs are kept in folders, so an interrupted search resumes.
"""

import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import trimtab
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.data.tables import read_labelled, select_rows
from trimtab.engines.provenance import provenance
from trimtab.rewards.network import build_network
from trimtab.rewards.registry import load_reward
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.distillation import Distillation, TeacherExamples
from trimtab.training.examples import Examples, TokenizedTexts
from trimtab.training.fit import RunOptions, TrainingTask, fit
from trimtab.training.kept_folder import HELD_OUT
from trimtab.training.kept_states import STATES, KeptStates
from trimtab.training.labels import text_measure
from trimtab.training.new_card import new_card
from trimtab.training.recipe import Recipe
from trimtab.training.run_folder import RunFolder
from trimtab.training.teacher import teacher_rewards
from trimtab.training.trainer import QUICK_HELD_OUT

PROMPT = "The new neighbours are"
WIDEST: dict[str, Any] = {"ladder_layers": 10}
SHAPES: dict[str, dict[str, Any]] = {
    "5 × 192": {},
    "2 × 192": {"ladder_layers": 2},
    "10 × 192": {"ladder_layers": 10},
    "5 × 96": {"ladder_width": 96},
    "5 × 384": {"ladder_width": 384, "ladder_heads": 6},
    "4 × 192, up to layer 24": {"ladder_layers": 4, "layers": 24},
    "3 × 192, up to layer 18": {"ladder_layers": 3, "layers": 18},
}


class SomeTaps(Examples):
    """Examples whose states are those of some of the kept depths."""

    def __init__(self, kept: KeptStates, columns: list[int]):
        self.kept, self.columns = kept, columns

    @property
    def digest(self) -> str:
        """A hash of the examples."""
        return self.kept.digest

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.kept[index]
        return {**example, STATES: example[STATES][:, self.columns]}


def cost(lm: trimtab.LanguageModel, reward: RewardModel, rows: int, tokens: int, rounds: int) -> float:
    """Return the CPU time of a token of steered texts over that of plain ones."""

    def seconds(steer: trimtab.Steer | None) -> float:
        start = time.process_time()
        written = lm.generate([PROMPT] * rows, steer, max_new_tokens=tokens, seed=0)
        return (time.process_time() - start) / sum(len(each.token_ids) for each in written)

    steer = reward.toward(20)
    seconds(steer)
    return statistics.median(seconds(steer) / seconds(None) for _ in range(rounds))


def measure(lm: trimtab.LanguageModel, reward: RewardModel, tokens: int) -> dict[str, Any]:
    """Return the size, the quality and the cost of a reward."""
    own = [part for part in (reward.network.ladder, reward.network.head) if part is not None]
    name = reward.attributes[0]
    return {
        "parameters": sum(weight.numel() for part in own for weight in part.parameters()),
        "accuracy": reward.card.quality[f"accuracy:{name}"],
        "auc": reward.card.quality[f"auc:{name}"],
        "error": reward.card.quality["loss"],
        **{f"cost at batch {rows}": round(cost(lm, reward, rows, tokens, 5), 3) for rows in (1, 8)},
    }


def main(
    teacher: Annotated[str, typer.Option(help="The reward to learn from.")],
    data: Annotated[str, typer.Option(help="A table of texts.")],
    held_out: Annotated[str, typer.Option(help="A table of labelled texts to measure on.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    column: Annotated[str, typer.Option(help="Column with the labels of --held-out.")] = "label",
    targets: Annotated[Path, typer.Option(help="The folder of the teacher's rewards.")] = Path("ladder.targets"),
    states: Annotated[Path, typer.Option(help="The folder of the hidden states.")] = Path("ladder.states"),
    runs: Annotated[Path, typer.Option(help="The folder of the runs.")] = Path("ladder.runs"),
    model: str = "smollm2",
    epochs: float = 1,
    tokens: int = 16,
    max_tokens: int = 64,
) -> None:
    """Print a table of shapes."""
    target = check_output(out, "--out", inputs=(Path(data), Path(held_out)), replace=True)
    lm = trimtab.load(model, dtype=torch.float32)
    teaching = load_reward(teacher, lm.base)
    rows = select_rows(read_labelled(data, []).rows, None, 0)
    texts, measured = (
        TokenizedTexts(part, lm.base, max_tokens) for part in (rows, read_labelled(held_out, [column]).rows)
    )
    examples, held = (
        TeacherExamples(part, teacher_rewards(teaching, lm.base, [e["input_ids"] for e in some], 0, folder, bf16=False))
        for part, some, folder in (
            (texts, texts.examples, targets),
            (measured, measured.examples[:QUICK_HELD_OUT], targets / HELD_OUT),
        )
    )
    shared = {"trunk": "ladder", "epochs": epochs, "max_tokens": max_tokens, "batch_size": 64, "warmup_steps": 50}
    settings: dict[str, Any] = {**shared, "regulariser": 0.1, "bf16": False}
    widest = new_card(lm.base, teaching.attributes, Recipe(**settings, **WIDEST), clamp=teaching.card.clamp)
    kept = KeptStates(examples, build_network(lm.base, widest), lm.base.pad_token_id, states, bf16=False)
    known = torch.cat([each.observed[each.known] for each in examples.targets])

    table = Table("ladder", "parameters", "accuracy", "AUC", "error", "batch 1", "batch 8")
    found = []
    for name, shape in SHAPES.items():
        recipe = Recipe(**{**settings, **shape})
        card = new_card(lm.base, teaching.attributes, recipe, clamp=teaching.card.clamp)
        task = TrainingTask(
            objective=Distillation("orig", lm.base.pad_token_id),
            examples=SomeTaps(kept, [widest.taps.index(tap) for tap in card.taps]),
            held_out=held,
            measure=text_measure(lm.base, teaching.attributes, measured, recipe.probe_beta, card.clamp),
            start_at=known.mean(0).numpy(),
            facts={"objective": "distil, orig", "teacher": teaching.name},
        )
        run = RunFolder(runs / name.replace(" ", "").replace(",", "-"))
        row = measure(lm, fit(lm.base, card, task, recipe, RunOptions(run)), tokens)
        found.append({"ladder": name, **shape, **row})
        costs = (f"{row[f'cost at batch {batch}']:.2f}×" for batch in (1, 8))
        quality = (f"{row[figure]:.{digits}f}" for figure, digits in (("accuracy", 3), ("auc", 3), ("error", 4)))
        table.add_row(name, f"{row['parameters'] / 1e6:.2f} M", *quality, *costs)
        Console().print(name, row)
    about: dict[str, Any] = {
        "data": Path(data).name,
        "held_out": Path(held_out).name,
        "texts": len(texts),
        "teacher": teaching.name,
    }
    record = provenance(lm.engine, threads=torch.get_num_threads(), **about, **settings, rows=found)
    write_whole(target, dump_json(record, indent=2) + "\n")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
