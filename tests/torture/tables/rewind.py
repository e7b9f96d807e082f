"""`trimtab rewind search` and `trimtab rewind calibrate`."""

from torture.case import Case, accepted, refused, refused_tails, refused_values
from torture.tables.values import (
    BELOW_ONE,
    CALIBRATE,
    ESCAPE,
    NO_NUMBER,
    NO_OUTPUT_FILES,
    NOT_FINITE,
    REWIND,
    REWIND_FILE,
    row,
    without,
)

COUNTS = ("--iterations", "--fresh-iterations", "--min-visits", "--top-k", "--draft-tokens", "--lookahead")
NUMBERS: list[Case] = [
    *(refused(*REWIND, option, value) for option in COUNTS for value in ("0", "-1", "abc", "1.5")),
    *(refused(*REWIND, option, "nan") for option in ("--exploration", "--similarity-weight", "--variance")),
    *(refused(*REWIND, option, "inf") for option in ("--exploration", "--similarity-weight", "--variance")),
    *refused_values(REWIND, "--max-kl", (*NO_NUMBER, *NOT_FINITE, "-1")),
    *refused_values(REWIND, "--uniform", (*NOT_FINITE, "1.1", "-0.1")),
    *refused_values(REWIND, "--temperature", (*NO_NUMBER, *NOT_FINITE, "0", "-1")),
    *refused_values(REWIND, "--min-value", NOT_FINITE),
    *refused_values(REWIND, "--similarity-threshold", ("nan", "abc")),
    *(refused(*REWIND, option, "100000") for option in ("--top-k", "--max-children")),  # more than tokens
    refused(*REWIND, "--max-children", "1"),
    refused(*REWIND, "--lengths", "1", "2", "3"),
    refused(*REWIND, "--lengths", "1", "2", "3", "0"),
    *refused_values(REWIND, "--max-iterations", BELOW_ONE),
    *refused_values(REWIND, "--max-encoded", ("0", "abc")),
    *refused_values(REWIND, "--max-seconds", ("0", "-1", "nan", "abc")),
    refused(*REWIND, "--max-seconds", "inf"),
    accepted("the search ends after one turn", *REWIND, "--max-encoded", "1"),
    accepted("the search ends after one turn", *REWIND, "--max-seconds", "1e-9"),
]
NAMES: list[Case] = [
    *refused_values(
        REWIND,
        "--judge",
        (
            *("", "nobody", "self:", "self:nonsense", "self:nowhere.toml", "self:question.toml", "self:deep.toml"),
            *("self:folder", "self:full", "rewards/q", "rewards/q=", "rewards/q=2", "rewards/q=nan", "nowhere=+1"),
            *("rewards/q:nobody=+1", "=+1", ESCAPE, f"{ESCAPE}=+1", "vader=0", "onnx:folder=+1", "lm=+1", "self=+1"),
        ),
    ),
    *refused_values(REWIND, "--similarity", ("", "nowhere", "folder", "notes.txt", ESCAPE)),
    *refused_values(REWIND, "--steer", ("rewards/q", "rewards/q=nan", "nowhere=1")),
    *refused_values(REWIND, "--model", ("nowhere", "broken/bert", "broken/no_weights")),
    refused(*REWIND, "--judge", "self", "--judge-chat"),  # no chat template
    refused(*REWIND, "--judge", "vader=+1"),  # REWIND has one
    accepted("a judge of texts that is no model", *without(REWIND, "--judge"), "--judge", "vader=+1"),
    *refused_values(
        (*REWIND, "--whole-drafts"), "--judge", ("tests:", "tests:nowhere.py", "tests:notes.txt", "tests:full")
    ),
    refused(*REWIND, "--judge", "tests:prompts.jsonl", "--whole-drafts"),  # prompts without tests
    refused(*REWIND, "--judge", "self"),  # the tiny tokenizer has no letters A and B
]
OUTPUTS: list[Case] = [
    *refused_values(REWIND, "--html", (*NO_OUTPUT_FILES, "notes.txt", "link", "prompts.jsonl")),
    *(refused(*without(REWIND_FILE, "--output"), "--output", name) for name in ("notes.txt", "full", "prompts.jsonl")),
    *(
        refused(*without(REWIND_FILE, "--input"), "--input", name)
        for name in ("deep.jsonl", "null", "wrong_types.jsonl")
    ),
    *refused_values(REWIND_FILE, "--batch-size", ("0", "-1", "abc")),
    *refused_tails(
        REWIND,
        ("--json", "--show-tree"),
        ("--input", "prompts.jsonl"),
        ("--output", "out.jsonl"),
        ("--chat",),
        ("--system", "w1"),
        ("--nonsense",),
        ("",),
    ),
    refused(*REWIND_FILE, "--html", "page.html"),
    refused(*REWIND_FILE, "--show-tree"),
    accepted("the page escapes all text", "rewind", f"w1 {ESCAPE} <script>", *REWIND[2:], "--html", "page.html"),
    accepted("the tree escapes all text", "rewind", f"w1 {ESCAPE}", *REWIND[2:], "--show-tree", "--stats"),
    accepted("escaped in JSON", "rewind", f"w1 {ESCAPE}", *REWIND[2:], "--json"),
    accepted(
        "one line of stdin",
        *without(REWIND_FILE, "--input", "--output"),
        "--input",
        "-",
        "--output",
        "-",
        stdin=row(prompt="w1 w2"),
    ),
    accepted("a dangling link makes its target; its folder is made", *REWIND, "--html", "dangling"),
]
MEASURED: list[Case] = [
    *refused_values(CALIBRATE, "--limit", ("0", "-1", "abc", "1.5", "nan")),
    *(
        refused(*without(CALIBRATE, "--data"), "--data", name)
        for name in (
            "nowhere.jsonl",
            "folder",
            "empty.jsonl",
            "binary.jsonl",
            "deep.jsonl",
            "",
            "no_label.jsonl",
            "full",
            "one_row.jsonl",
            "number_texts.jsonl",
            "truncated.jsonl.gz",
            "only_header.csv",
        )
    ),
    *refused_values(CALIBRATE, "--good", ("never", "")),
    *refused_values(CALIBRATE, "--column", ("nobody", "", ESCAPE)),
    *refused_values(CALIBRATE, "--judge", ("", "nobody", "nowhere=+1", "self:nonsense")),
    *refused_values(CALIBRATE, "--prompt-column", ("nobody",)),
    refused(*CALIBRATE, "--pairs"),
    refused(*CALIBRATE, "--turn", "Assistant:"),
    refused(*without(CALIBRATE, "--data"), "--data", "null_pairs.jsonl", "--pairs"),
    refused("rewind", "calibrate"),
    accepted("all answers of one value", *CALIBRATE, "--good", "1.0", "--json"),
]
CASES = [*NUMBERS, *NAMES, *OUTPUTS, *MEASURED]
