"""Rows and records of ours that somebody edited: for replay, for runs that resume, and for plots."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEEP = "DEEP"  # stands for 900 nested lists, which json.dumps cannot write
Row = dict[str, Any]
Edit = Callable[[Row], Any]

ROW_EDITS: dict[str, Edit] = {
    "dtype_list": lambda row: row["provenance"].update(dtype=[]),
    "kind_list": lambda row: row["provenance"]["job"].update(kind=[]),
    "huge_reward": lambda row: row["rewards"].update({next(iter(row["rewards"])): [10**400]}),
    "deep_provenance": lambda row: row["provenance"].update(deep=DEEP),
    "stop_number": lambda row: row["provenance"]["sampling"].update(stop=5),
    "sampling_list": lambda row: row["provenance"].update(sampling=[1]),
    "steer_number": lambda row: row["provenance"].update(steer=[7]),
    "reward_number": lambda row: row["provenance"]["steer"][0].update(reward=7),
    "model_list": lambda row: row["provenance"].update(model=["lm"]),
    "no_tokens": lambda row: row.update(token_ids=[]),
    "token_texts": lambda row: row.update(token_ids=["w1"]),
    "sample_text": lambda row: row.update(sample="0"),
    "prompt_object": lambda row: row.update(prompt={"a": 1}),
    "messages_numbers": lambda row: row.update(messages=[1, 2]),
    "forged_text": lambda row: row.update(text="forged"),
    "forged_trace": lambda row: row.update(trace=[{"text": "forged", "rewards": {}}]),
    "larger_rewards": lambda row: row.update(
        rewards={name: [1.0 + one for one in of] for name, of in row["rewards"].items()}
    ),
    "renamed_rewards": lambda row: row.update(rewards={f"x:{n}": of for n, of in enumerate(row["rewards"].values())}),
    "no_rewards": lambda row: row.pop("rewards"),
    "no_top_p": lambda row: row["provenance"]["sampling"].pop("top_p"),
    "forged_model": lambda row: row["provenance"].update(model="gpt-9"),
    "escape_in_a_name": lambda row: row["provenance"].update(torch="\x9b31m\u202e\x7f"),
}
RESUME_EDITS: dict[str, Edit] = {
    "line_list": lambda row: row.update(line=[1]),
    "line_true": lambda row: row.update(line=True),
    "line_object": lambda row: row.update(line={}),
    "no_line": lambda row: row.pop("line"),
    "line_huge": lambda row: row.update(line=10**400),
    "line_deep": lambda row: row.update(line=DEEP),
    "other_prompt": lambda row: row.update(prompt=["w1"]),
    "other_seed": lambda row: row["provenance"]["sampling"].update(seed=99),
    "other_job": lambda row: row["provenance"]["job"].update(chat=True),
    "provenance_text": lambda row: row.update(provenance="model"),
    "provenance_true": lambda row: row.update(provenance=True),
    "no_provenance": lambda row: row.pop("provenance"),
    "token_halves": lambda row: row.update(token_ids=[0.5]),
}
RECORD_EDITS: dict[str, Edit] = {
    "huge_figure": lambda record: record["rows"][0]["figures"]["perplexity"].update(value=10**400),
    "large_figure": lambda record: record["rows"][0]["figures"]["perplexity"].update(value=10**299 * 99),
    "deep_figure": lambda record: record["rows"][0]["figures"].update(perplexity=DEEP),
    "task_list": lambda record: record.update(task=[]),
    "rows_numbers": lambda record: record.update(rows=[1, 2]),
}


def build_edited_rows(world: Path) -> None:
    """Edit the outputs that `prepare_world` made: the first row of `made.jsonl`, and the report of `compared`."""
    first, *rest = (world / "made.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    for folder, edits, others in (("edited", ROW_EDITS, []), ("resumed", RESUME_EDITS, rest[1:])):
        (world / folder).mkdir()
        for name, edit in edits.items():
            target = world / folder / f"{name}.jsonl"
            target.write_text("".join([edited(first, edit), "\n", *others]), encoding="utf-8")
            shutil.copy(world / "made.jsonl.settings.json", target.with_name(f"{target.name}.settings.json"))
    report = (world / "compared" / "report.json").read_text(encoding="utf-8")
    for name, edit in RECORD_EDITS.items():
        (world / "drawn" / name).mkdir(parents=True)
        (world / "drawn" / name / "report.json").write_text(edited(report, edit), encoding="utf-8")


def edited(text: str, edit: Edit) -> str:
    """JSON, changed."""
    value = json.loads(text)
    edit(value)
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 900 + "]" * 900)
