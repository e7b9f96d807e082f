"""`trimtab rewards calibrate`: make ½ mean ½."""

from pathlib import Path
from typing import Annotated

import typer

from trimtab.cli.console import error_console, legible, loading, report_faults
from trimtab.cli.options import RewardName, Split, TextColumn
from trimtab.cli.rewards import LabelColumns, MaxTokens, check_attributes, check_columns, check_numbers, print_quality
from trimtab.cli.train_options import LabelRange
from trimtab.data.files import shown_path
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.training.recipe import Recipe

NO_LINE = "no scale and shift lower the Brier score of the texts that the fit left out, so it has no calibration"


def calibrate(
    name: RewardName,
    data: Annotated[
        list[str],
        typer.Option(
            help="Labelled texts of one source, not used in training: a .jsonl, .csv or .tsv file, or a Hub id. Repeat "
            "for several; each has the same weight."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the calibrated reward; an older reward in it is replaced.")],
    column: LabelColumns = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="Attribute that the labels are of; the others stay as they are. Repeat for several."),
    ] = None,
    label_range: LabelRange = None,
    text_column: TextColumn = "text",
    split: Split = "train",
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of rows of each source, from the first. Default: all.")
    ] = None,
    max_tokens: MaxTokens = Recipe.max_tokens,
    seed: Annotated[int, typer.Option(help="Seed of the halves: one is fitted, the other measured.")] = 0,
) -> None:
    """Calibrate a reward: of texts that it calls 0.5, half shall have the label.

    A scale and a shift are fitted to half of every source and written into the card of a copy. `trimtab score` and
    judges written reward:NAME use them; searches and rankings do not. An earlier calibration is replaced. If scale and
    shift do not lower the Brier score of the other halves, the attribute gets none, and the card says so. The weights
    stay, and so does every steered text.

    Example: trimtab rewards calibrate toxicity --data jigsaw.jsonl --data tweets.jsonl --column label --out calm
    """
    check_numbers(limit, max_tokens, Recipe.probe_beta)
    if seed < 0:
        raise InvalidSetting(f"got --seed {seed}, expected at least 0")
    from trimtab.data.label_values import check_label_range
    from trimtab.data.tables import read_labelled
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward
    from trimtab.rewards.target import check_target

    check_label_range(label_range)
    check_target(out)
    attributes = check_attributes(read_card(find_reward(name)), attribute)
    columns = check_columns(attributes, column)
    tables = {each: read_labelled(each, columns, text_column, split, label_range) for each in data}
    for each, table in tables.items():
        report_faults(each, table.faults)
        if (usable := len(table.rows[:limit])) < 2:
            given = f"{usable} text{'s'[: usable != 1]} in {shown_path(each)}"
            raise InvalidData(f"got {given}, expected two or more: one half is measured")
    with loading(f"the reward {name}"):
        import torch

        from trimtab.cli.progress import counting
        from trimtab.models.loading import load_frozen_lm
        from trimtab.rewards.registry import base_of, load_reward
        from trimtab.training.calibration import AS_IT_IS, LabelledSource
        from trimtab.training.calibration import calibrate as fit

        reward = load_reward(name, load_frozen_lm(base_of(name), dtype=torch.float32))
    sources = [LabelledSource(Path(each).name, table.rows[:limit], table.sha256) for each, table in tables.items()]
    with counting("texts scored", error_console()) as progress:
        calibrated = fit(reward, sources, max_tokens, seed, progress, attributes)
    calibrated.save_pretrained(out, getattr(torch, reward.card.weights_dtype or "", None))
    print_quality(calibrated.card.quality, as_json=False)
    lines = dict(zip(reward.attributes, calibrated.card.calibration, strict=False))
    for each in attributes:
        if lines.get(each, AS_IT_IS) == AS_IT_IS:
            error_console().print(f"{legible(each, keep='')}: {NO_LINE}", highlight=False, markup=False)
    error_console().print(f"saved in {shown_path(out)}", highlight=False, markup=False)
