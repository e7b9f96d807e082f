"""What made a report, in sentences: versions, model, data, rewards, judges."""

from collections.abc import Iterator, Mapping
from typing import Any

from trimtab.checking import shown
from trimtab.evaluation.prompt_form import PromptForm
from trimtab.evaluation.report.captions import machines, model, setting
from trimtab.evaluation.report.record_file import Record

UNTOLD = ("judge", "avoid")  # the name stands before them
UNKNOWN = "the version is not recorded: the texts are of an earlier version"


def origin(record: Record) -> Iterator[str]:
    """Yield what made the texts and the figures, one sentence each."""
    makers = [maker for row in record["rows"] for maker in row.get("made_by", ())]
    yield f"Texts: {_joined(makers, _versions) or UNKNOWN}."
    device = _joined(makers, lambda maker: str(maker.get("device", "")))
    yield f"Model: {model(record)}; device: {device or 'not recorded'}."
    yield f"Sampling: {setting(record)}."
    yield from _chat(record["settings"])
    if rewards := _rewards(record):
        yield f"Rewards: {'; '.join(rewards)}."
    if files := _joined(makers, _data, "; "):
        yield f"Prompts: {files}."
    measured = record.get("measured_by", {})
    readers = measured.get("readers", {})
    names = [f"{name} ({_identity(readers[name])})" if name in readers else name for name in record["judges"]]
    names += [f"{name} ({_identity(of)})" for name, of in readers.items() if name not in record["judges"]]
    yield f"Judges and readers: {'; '.join(names) or 'none'}."
    if measured:
        yield f"Figures: {_versions(measured)}."
    if machines(record):
        yield f"Times: {machines(record)}."


def _chat(settings: Mapping[str, Any]) -> Iterator[str]:
    """How prompts were sent, if they were messages."""
    form = PromptForm.of_row(settings)
    if form.is_chat:
        template = f" (hash {settings['chat_template_fingerprint']})" if "chat_template_fingerprint" in settings else ""
        system = "none" if form.system is None else shown(form.system)
        yield (
            f"Chat: each prompt is one user message in the model's chat template{template}; system message: {system}. "
            "Judges read the answer alone."
        )


def _rewards(record: Record) -> list[str]:
    """Each reward with its attribute and fingerprint, and the β with which it steered."""
    betas: dict[str, list[str]] = {}
    for row in record["rows"]:
        for name, attribute, _, fingerprint in (reward for reward in row.get("rewards", ()) if len(reward) == 4):
            seen = betas.setdefault(f"{name}:{attribute} (weights {fingerprint})", [])
            if row.get("beta") and f"{row['beta']:g}" not in seen:
                seen.append(f"{row['beta']:g}")
    return [f"{name}, β = {', '.join(sorted(of, key=float))}" if of else name for name, of in betas.items()]


def _versions(maker: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {maker[name]}" for name in ("trimtab", "torch", "transformers") if name in maker)


def _data(maker: Mapping[str, Any]) -> str:
    data = maker.get("data", {})
    return f"{data['name']} (SHA-256 {data['sha256'][:16]}…)" if data.get("sha256") else ""


def _identity(of: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in of.items() if name not in UNTOLD)


def _joined(makers: list[Mapping[str, Any]], read: Any, between: str = ", and ") -> str:
    return between.join(dict.fromkeys(text for maker in makers if (text := read(maker))))
