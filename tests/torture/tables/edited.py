"""Rows and records that somebody edited: `trimtab replay`, files that resume, `trimtab evaluate draw`."""

from torture.case import Case, accepted, refused
from torture.edited_rows import RECORD_EDITS, RESUME_EDITS, ROW_EDITS
from torture.tables.values import GENERATE_FILE, without

RESUME = (*without(GENERATE_FILE, "--output"), "--steer", "rewards/q=5", "--output")
COMPARED = {"tells": "stdout", "loads": "the texts are written again and compared"}
UNCHECKED = ("escape_in_a_name",)  # a version, which is noted
REPLAYED: list[Case] = [
    *(refused("replay", f"edited/{name}.jsonl", **COMPARED) for name in ROW_EDITS if name not in UNCHECKED),
    *(accepted("another version is noted, legibly", "replay", f"edited/{name}.jsonl") for name in UNCHECKED),
    refused("replay", "made.jsonl.settings.json", tells="stdout"),
    refused("replay", "resumed/line_deep.jsonl", **COMPARED),
]
RESUMED: list[Case] = [
    *(refused(*RESUME, f"resumed/{name}.jsonl") for name in RESUME_EDITS),
    accepted("it is finished", *RESUME, "made.jsonl"),
]
DRAWN: list[Case] = [refused("evaluate", "draw", f"drawn/{name}") for name in RECORD_EDITS]
CASES = [*REPLAYED, *RESUMED, *DRAWN]
