"""Write a report as JSON and as Markdown tables."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.evaluation.report.collect import FLUENCY, Report, RowFigures
from trimtab.evaluation.score.metrics import (
    BOOTSTRAPS,
    FRONTIER_LEVELS,
    LEVEL,
    Level,
    Point,
    Ratio,
    at_equal_perplexity,
)

WAYS = {"up": "steered up", "down": "steered down"}


def write_json(report: Report, path: Path) -> None:
    """Write every figure of every row with its interval as JSON."""
    rows = [
        {
            **{name: value for name, value in row.row.settings.items() if name not in report.settings},
            "prompts_done": len(row.row.texts),
            "judges": {judge: {name: figure_entry(r) for name, r in of.items()} for judge, of in row.control.items()},
            "figures": {name: figure_entry(ratio) for name, ratio in row.figures.items()},
            "time": dict(row.time),
            "profile": list(row.profile),
        }
        for row in report.rows
    ]
    frontiers = {f"{name}, {way}": equal_perplexity(report, of) for (name, way), of in report.by_set()}
    about = {
        "task": report.task.name,
        "settings": dict(report.settings),
        "judges": list(report.judges),
        "agreement": report.agreement,
        "at_equal_perplexity": {"over_top_k": FRONTIER_LEVELS, **frontiers},
        "agreement_with_data": report.data_agreement,
        "faults": {judge: list(faults) for judge, faults in report.faults.items()},
    }
    path.write_text(json.dumps(_finite({**about, "rows": rows}), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_markdown(report: Report, path: Path, pictures: Sequence[Path] = ()) -> None:
    """Write a table for each prompt set, the agreement of the judges, the pictures, and how to read them."""
    path.write_text("\n".join(_lines(report, pictures)) + "\n", encoding="utf-8")


def _lines(report: Report, pictures: Sequence[Path]) -> Iterator[str]:
    s = report.settings
    yield f"# {report.task.name}: {Path(s['model']).name} in {s['dtype']}"
    yield ""
    yield (
        f"{s['samples']} continuations of at most {s['max_new_tokens']} tokens per prompt, top-k = {s['top_k']}, "
        f"temperature {s['temperature']:g}, seed {s['seed']}. In brackets: {LEVEL:.0%} bootstrap intervals over "
        f"prompts ({BOOTSTRAPS} draws)."
    )
    for (prompts, direction), rows in report.by_set():
        yield from ("", f"## {prompts}, {WAYS[direction]}", "")
        yield from _table(report, rows)
        yield from _frontier(report, rows)
    yield from _agreement(report)
    for picture in pictures:
        yield from ("", f"![{picture.stem}]({picture.name})")
    yield from ("", "## How to read it", "", *_notes(report))


def _table(report: Report, rows: Sequence[RowFigures]) -> Iterator[str]:
    timed = any(row.time for row in rows)
    others = [name for name in rows[0].figures if name.startswith(FLUENCY)]
    names = [f"{figure}, {judge}" for judge in report.judges for figure in _figures_of(report, judge)]
    names += ["perplexity", *others, "KL", "flips", "distinct-1", "-2", "-3", "encoded"]
    names += ["time", "reward share", "tokens/s"] if timed else []
    yield "| method | β | " + " | ".join(names) + " |"
    yield "|---|---" + "|---" * len(names) + "|"
    for row in rows:
        cells = [_cell(row.control[j][f], 3) + _mark(row, j) for j in report.judges for f in _figures_of(report, j)]
        cells += [_cell(row.figures[name], 2) for name in ("perplexity", *others)]
        cells += [_plain(row.figures[name]) for name in ("kl", "top1_flip", "distinct_1", "distinct_2", "distinct_3")]
        cells.append(f"{row.figures['encoded'].value:.1f}")
        cells += _times(row.time) if timed else []
        done, count = len(row.row.texts), row.row.settings["prompts_count"]
        name = row.row.settings["method"] + (f" ({done} of {count} prompts)" if done < count else "")
        beta = row.row.settings["beta"]
        yield f"| {name} | {'' if beta is None else f'{beta:g}'} | " + " | ".join(cells) + " |"


def _frontier(report: Report, rows: Sequence[RowFigures]) -> Iterator[str]:
    """Control at equal perplexity, by the first judge."""
    found = equal_perplexity(report, rows)
    if not found:
        return
    levels = " | ".join(f"{level:g}×" for level in FRONTIER_LEVELS)
    yield from (
        "",
        f"{report.task.figures[0]} by {report.judges[0]}, at multiples of the perplexity of `top-k`:",
        "",
    )
    yield f"| method | {levels} |"
    yield "|---" * (len(FRONTIER_LEVELS) + 1) + "|"
    for name, of in found.items():
        cells = ("–" if level is None else f"{level[0]:.3f} ({level[1]:.3f}–{level[2]:.3f})" for level in of)
        yield f"| {name} | " + " | ".join(cells) + " |"


def equal_perplexity(report: Report, rows: Sequence[RowFigures]) -> dict[str, list[Level]]:
    """The control of the steered methods of one prompt set at the same multiples of top-k sampling's perplexity."""
    if not report.judges:
        return {}
    points = {
        id(row): (row.figures["perplexity"], row.control[report.judges[0]][report.task.figures[0]]) for row in rows
    }
    start = next((row for row in rows if row.row.settings["method"] == "top-k"), None)
    if start is None or len(start.row.texts) < start.row.settings["prompts_count"]:
        return {}
    curves: dict[str, list[Point]] = {}
    for row in rows:
        if row.row.settings["beta"] and len(row.row.texts) == len(start.row.texts):
            curves.setdefault(row.row.settings["method"], []).append(points[id(row)])
    return at_equal_perplexity(points[id(start)], curves)


def _figures_of(report: Report, judge: str) -> Sequence[str]:
    return report.task.figures if judge == report.judges[0] else report.task.figures[:1]


def _agreement(report: Report) -> Iterator[str]:
    if report.agreement:
        yield from (
            "",
            "## How the judges agree",
            "",
            "| judges | Spearman | same verdict | texts |",
            "|---|---|---|---|",
        )
    for pair, found in report.agreement.items():
        yield f"| {pair} | {found['spearman']:.3f} | {found['same verdict']:.3f} | {found['texts']:.0f} |"
    if report.data_agreement:
        yield from ("", "| judge | scores of | Spearman | AUC at ½ | accuracy | texts | failed |", "|---" * 7 + "|")
    for source, judges in report.data_agreement.items():
        for judge, found in judges.items():
            figures = " | ".join(f"{found[name]:.3f}" for name in ("spearman", "auc", "accuracy"))
            yield f"| {judge} | {source} | {figures} | {found['texts']} | {found['failed']} |"


NOTES = """\
* unsteered: sampled from the whole vocabulary. top-k: sampled from the k most likely tokens, β = 0; the steered rows
  and the drafts of best of n have the same candidates. greedy: the most likely token at each step.
* perplexity: under the unsteered model itself, of all tokens of the continuations. KL: from the unsteered next-token
  distribution, in nats, mean over tokens. flips: share of steps in which steering changes the most likely token.
* distinct-n: distinct n-grams of words over words, over the samples of a prompt.
* average maximum: the mean over prompts of the highest score among a prompt's samples. rate: the share of prompts whose
  highest score reaches the judge's threshold (½; 0.525 for vader). share: the share of texts that reach it. mean: the
  mean of all scores.
* At multiples of the perplexity of top-k: linear interpolation between the β of a method, from top-k (β = 0) on; –
  where a bootstrap draw does not reach the multiple. Same verdict: both judges at or above, or both below, their
  thresholds.
* encoded: tokens that went through all models, padding included, for each token of the texts.
* time: per token, over that of top-k, measured in turns on the same machine. reward share: the rewards' share of it."""


def _notes(report: Report) -> Iterator[str]:
    yield NOTES
    if any(_mark(row, judge) for row in report.rows for judge in report.judges):
        yield "* † the judge is one of the rewards that steered or ranked: it is not independent."
    if any(row.row.settings.get("drafts") for row in report.rows):
        yield "* best of n: KL and flips are those of the drafts; they leave out the choice among the drafts."
    if any(row.row.settings.get("search") for row in report.rows):
        yield "* rewound: KL and flips are those of the steering alone; they leave out the search."
    for judge in report.judges:
        if faults := report.faults[judge]:
            yield f"* {judge} failed on {len(faults)} texts, which are left out of its figures; first: {faults[0]}"
    yield from (f"* {note}" for note in unread_notes(report))


def unread_notes(report: Report) -> Iterator[str]:
    """Notes on judges that have not read all texts, because they were named for earlier rows only."""
    for judge in report.judges:
        missing = sum(row.control[judge]["failed"].over.sum() for row in report.rows) - len(report.faults[judge])
        if missing:
            yield f"{judge} has not read {missing:.0f} texts; name it with --judge to read them."


def _mark(row: RowFigures, judge: str) -> str:
    steered_by = {name for name, *_ in row.row.settings.get("rewards", ())}
    return " †" if judge.startswith("reward:") and judge.split(":")[1].rpartition("/")[2] in steered_by else ""


def _cell(ratio: Ratio, digits: int) -> str:
    if math.isnan(ratio.value):
        return "–"
    low, high = ratio.interval()
    return f"{ratio.value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _plain(ratio: Ratio) -> str:
    return f"{ratio.value:.2f}"


def _times(time: Mapping[str, Any]) -> list[str]:
    if not time:
        return ["", "", ""]
    return [f"{time['ratio']:.2f}×", f"{time['reward_share']:.0%}", f"{time['tokens_per_second']:.0f}"]


def figure_entry(ratio: Ratio) -> dict[str, float]:
    """A figure with its interval, ready for JSON."""
    low, high = ratio.interval()
    return {"value": ratio.value, "low": low, "high": high}


def _finite(value: Any) -> Any:
    """The value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
