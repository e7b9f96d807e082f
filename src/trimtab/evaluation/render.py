"""A report as JSON and as Markdown tables."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.evaluation.frontier import LEVELS, Level, Point, at_equal_perplexity
from trimtab.evaluation.metrics import BOOTSTRAPS, LEVEL, Ratio
from trimtab.evaluation.report import FLUENCY, Report, RowFigures

WAYS = {"up": "steered up", "down": "steered down"}


def write_json(report: Report, path: Path) -> None:
    """Every figure of every row with its interval."""
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
        "at_equal_perplexity": {"over_top_k": LEVELS, **frontiers},
        "agreement_with_data": report.seen,
        "faults": {judge: list(faults) for judge, faults in report.faults.items()},
    }
    path.write_text(json.dumps(_finite({**about, "rows": rows}), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_markdown(report: Report, path: Path, pictures: Sequence[Path] = ()) -> None:
    """A table for each prompt set, the judges' agreement, the pictures, and how to read them."""
    path.write_text("\n".join(_lines(report, pictures)) + "\n", encoding="utf-8")


def _lines(report: Report, pictures: Sequence[Path]) -> Iterator[str]:
    s = report.settings
    yield f"# {report.task.name}: {Path(s['model']).name} in {s['dtype']}"
    yield ""
    yield (
        f"{s['samples']} continuations of at most {s['max_new_tokens']} tokens a prompt, top-k = {s['top_k']}, "
        f"temperature {s['temperature']:g}, seed {s['seed']}. In brackets: {LEVEL:.0%} intervals, bootstrapped over "
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
    names += ["time", "reward's part", "tokens/s"] if timed else []
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
    levels = " | ".join(f"{level:g}×" for level in LEVELS)
    yield from (
        "",
        f"{report.task.figures[0]} by {report.judges[0]}, where perplexity is so many times that of `top-k`:",
        "",
    )
    yield f"| method | {levels} |"
    yield "|---" * (len(LEVELS) + 1) + "|"
    for name, of in found.items():
        cells = ("–" if level is None else f"{level[0]:.3f} ({level[1]:.3f}–{level[2]:.3f})" for level in of)
        yield f"| {name} | " + " | ".join(cells) + " |"


def equal_perplexity(report: Report, rows: Sequence[RowFigures]) -> dict[str, list[Level]]:
    """The steered methods of one prompt set, each at the same multiples of top-k sampling's perplexity."""
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
    if report.seen:
        yield from ("", "| judge | scores of | Spearman | AUC at ½ | accuracy | texts | failed |", "|---" * 7 + "|")
    for source, judges in report.seen.items():
        for judge, found in judges.items():
            figures = " | ".join(f"{found[name]:.3f}" for name in ("spearman", "auc", "accuracy"))
            yield f"| {judge} | {source} | {figures} | {found['texts']} | {found['failed']} |"


NOTES = """\
* `unsteered` samples from the whole vocabulary; `top-k` from the k most likely tokens with β = 0, as all others do but
  `greedy`, whose samples are all the most likely text.
* perplexity: of the continuations' tokens under the unsteered model itself. KL: mean over tokens, in nats, from the
  unsteered next-token distribution. flips: steps in which steering changes the most likely token.
* distinct-n: distinct n-grams of words over words, over the samples of a prompt.
* average maximum: the mean over prompts of the highest score among a prompt's samples; rate: the share of prompts whose
  highest score reaches the judge's threshold (½; of vader 0.525); share: of the texts that do; mean: of all scores.
* at equal perplexity: linear interpolation between a method's β, from `top-k` (β = 0) on; – where it does not reach so
  far in every bootstrap draw. Same verdict: both judges above, or both below, their thresholds.
* encoded: tokens that went through all models, padding included, for each token of the texts.
* time: of a token, over that of `top-k`, measured in turns on the same machine; of it, the rewards' part."""


def _notes(report: Report) -> Iterator[str]:
    yield NOTES
    if any(_mark(row, judge) for row in report.rows for judge in report.judges):
        yield "* † the judge is (one of) the rewards that steered or ranked: no independent verdict."
    if any(row.row.settings.get("drafts") for row in report.rows):
        yield "* best of n: KL and flips are those of writing the drafts; what choosing among them adds is not in them."
    if any(row.row.settings.get("search") for row in report.rows):
        yield "* rewound: KL and flips are those of the steering alone; what the search adds is not in them."
    for judge in report.judges:
        if faults := report.faults[judge]:
            yield f"* {judge} failed on {len(faults)} texts, which are left out of its figures; first: {faults[0]}"
    yield from (f"* {note}" for note in unread_notes(report))


def unread_notes(report: Report) -> Iterator[str]:
    """Which judges have not read all texts: those named for earlier rows only."""
    for judge in report.judges:
        missing = sum(row.control[judge]["failed"].over.sum() for row in report.rows) - len(report.faults[judge])
        if missing:
            yield f"{judge} has not read {missing:.0f} texts; name it with --judge, and it will."


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
    """A figure with its interval, for JSON."""
    low, high = ratio.interval()
    return {"value": ratio.value, "low": low, "high": high}


def _finite(value: Any) -> Any:
    """NaN is no JSON: null."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
