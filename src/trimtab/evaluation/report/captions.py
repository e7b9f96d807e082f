"""The captions of plots and tables: what is shown, of which data, by which judge, how many texts, on which machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.evaluation.prompt_form import PromptForm
from trimtab.evaluation.report.record_file import Record, by_set
from trimtab.evaluation.report.tables import WAYS, human
from trimtab.evaluation.score.metrics import BOOTSTRAPS, LEVEL


class Picture(NamedTuple):
    """A plot: its file in each format, the one that the report shows first; its title, and its caption."""

    files: tuple[Path, ...]
    title: str
    caption: str

    @property
    def shown(self) -> Path:
        """The file that the report shows."""
        return self.files[0]


def setting(record: Record) -> str:
    """How the texts were written."""
    s = record["settings"]
    form = PromptForm.of_row(s)
    behind = "" if form.system is None else " behind a system message"
    texts = "answers" if form.is_chat else "continuations"
    each = f"to each prompt, sent as a user message{behind}" if form.is_chat else "per prompt"
    return (
        f"{s['samples']} {texts} of at most {s['max_new_tokens']} tokens {each}, top-k = {s['top_k']}, "
        f"temperature {s['temperature']:g}, seed {s['seed']}"
    )


def intervals() -> str:
    """What the intervals are."""
    return f"{LEVEL:.0%} bootstrap intervals over prompts ({BOOTSTRAPS} draws)"


def data(record: Record) -> str:
    """The prompt sets, with their direction and the number of prompts."""
    sets = [
        f"{human(prompts)} ({max(row['prompts_done'] for row in rows)} prompts, {WAYS.get(way, way)})"
        for (prompts, way), rows in by_set(record)
    ]
    return "; ".join(sets)


def model(record: Record) -> str:
    """The model, the hash of its weights and its number format."""
    s = record["settings"]
    hashed = s.get("weights_fingerprint") or s.get("base_fingerprint")  # a record of an older version has the second
    mark = f" (weights {hashed})" if hashed else ""
    return f"{Path(s['model']).name}{mark} in {s['dtype']}"


def machines(record: Record) -> str:
    """The machines on which the methods were timed; empty if they were not."""
    timed = [row["time"]["about"] for row in record["rows"] if row["time"].get("about")]
    return "; ".join(dict.fromkeys(map(_machine, timed)))


def _machine(about: Mapping[str, Any]) -> str:
    threads = f", {about['threads']} threads" if about.get("threads", 0) > 1 else ", 1 thread"
    name = about["device"] if about["device"] != "cpu" else f"CPU ({about.get('processor', '')})"
    return f"{name}{threads}, torch {about.get('torch', '')}"


def caption(record: Record, what: str, judge: str = "", timed: bool = False) -> str:
    """The caption of a plot.

    Args:
        record: the figures.
        what: what is shown, as a sentence.
        judge: the judge of the texts, if the plot shows its scores.
        timed: the plot shows times, so it names the machines.
    """
    judged = f" Judge: {judge}." if judge else ""
    bars = f" Bars: {intervals()}." if judge else ""
    on = f" Timed on: {machines(record)}." if timed and machines(record) else ""
    return f"{what} Model: {model(record)}. Prompts: {data(record)}. {setting(record)}.{judged}{bars}{on}"
