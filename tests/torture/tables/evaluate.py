"""`trimtab evaluate …`."""

from torture.case import Case, accepted, refused, refused_tails, refused_values
from torture.tables.values import (
    BELOW_ONE,
    CHOICES,
    ESCAPE,
    EVALUATE,
    JUDGES,
    NO_NUMBER,
    NO_TABLES,
    NOT_FINITE,
    PREFERENCE,
    REPORT,
    SENTIMENT,
    TOXICITY,
    without,
)

STEERED = (*EVALUATE, "--reward", "rewards/q")
NO_JUDGES = (
    "",
    "nobody",
    "vadr",
    "onnx:",
    "onnx:folder",
    "reward:",
    "reward:nowhere",
    "reward:rewards/q:nobody",
    "lm",
    "folder",
    "reward:broken_rewards/nan",
    "broken/bert:toxic",
    "vader:label",
    ESCAPE,
)
GRID: list[Case] = [
    refused(*STEERED),
    refused(*EVALUATE, "--beta", "5"),
    *refused_values(STEERED, "--beta", ("0", "-1", *NO_NUMBER, *NOT_FINITE)),
    *refused_values((*STEERED, "--beta", "5"), "--best-of", ("0", "1", "-1", "abc", "1.5")),
    *refused_values((*STEERED, "--beta", "5", "--best-of", "2"), "--by", ("nowhere", "rewards/q:nobody", "")),
    refused(*STEERED, "--beta", "5", "--by", "rewards/q"),
    refused(*EVALUATE, "--rewind-alone"),
    refused(*EVALUATE, "--iterations", "3"),
    *refused_values(
        (*EVALUATE, "--beta", "5"),
        "--reward",
        ("nowhere", "", "+", "rewards/q+", "rewards/q:nobody", "broken_rewards/nan", ESCAPE, "sentiment"),
    ),
    *refused_values(EVALUATE, "--rewind", ("nowhere", "", "rewards/q:nobody", "broken_rewards/nan")),
    *refused_values((*EVALUATE, "--rewind", "rewards/q"), "--rewind-beta", ("5", "nan")),
    refused(*EVALUATE, "--best-of", "2"),
    *refused_values((*STEERED, "--beta", "5", "--best-of", "2"), "--block", ("0", "-1", "abc", "1.5")),
    *refused_values((*STEERED, "--beta", "5", "--best-of", "2"), "--halve-every", ("0", "-1", "abc", "1.5")),
    *refused_values((*STEERED, "--beta", "5", "--best-of", "2"), "--accept-at", (*NO_NUMBER, *NOT_FINITE)),
    *refused_values(STEERED, "--args", (*NO_NUMBER, *NOT_FINITE, "0", "-1")),
    refused(*STEERED, "--beta", "5", "--block", "2"),
    refused(*STEERED, "--beta", "5", "--best-of", "2", "--block", "2", "--block", "2"),
    refused(*EVALUATE, "--args", "1.5"),
    accepted("ARGS needs no β", *STEERED, "--args", "1.5"),
    accepted("a goal out of reach", *STEERED, "--beta", "5", "--best-of", "2", "--accept-at", "9", "--block", "2"),
    refused(*STEERED, "--reward", "rewards/q", "--beta", "5"),
    refused(*STEERED, "--beta", "5", "--beta", "5"),
]
SETTINGS: list[Case] = [
    *(
        refused(*EVALUATE, option, value)
        for option in ("--samples", "--max-new-tokens", "--top-k", "--batch-size")
        for value in ("0", "-1", "abc", "1.5")
    ),
    refused(*EVALUATE, "--top-k", "100000"),  # more than tokens
    *refused_values((*EVALUATE, "--rewind", "rewards/q"), "--search-top-k", ("0", "-1", "abc", "100000")),
    refused(*without(STEERED, "--reward"), "--reward", "rewards/v", "--beta", "5", "--top-k", "100000"),
    *refused_values(EVALUATE, "--limit", ("0", "-1", "abc")),
    *refused_values(EVALUATE, "--temperature", (*NO_NUMBER, *NOT_FINITE, "-1")),
    *refused_values((*STEERED, "--beta", "5"), "--max-kl", (*NO_NUMBER, *NOT_FINITE, "0", "-1")),
    refused(*EVALUATE, "--max-kl", "1"),  # no --reward
    *refused_values(EVALUATE, "--rounds", ("-1", "abc", "1.5")),
    *refused_values(EVALUATE, "--model", ("nowhere", "", "broken/bert", "broken/cut_weights")),
    *refused_values(EVALUATE, "--dtype", ("float64",)),
    *refused_values(EVALUATE, "--judge", NO_JUDGES),
    refused(*EVALUATE, "--chat"),  # lm has no chat template
    *refused_values(EVALUATE, "--system", ("", "w1", ESCAPE)),
    refused(*without(EVALUATE, "--model"), "--model", "chat", "--chat", "--perplexity", "lm"),
    refused(*without(EVALUATE, "--model"), "--model", "chat", "--chat", "--profile", "rewards/q"),
    accepted(
        "no system turn where the template adds none", *without(EVALUATE, "--model"), "--model", "chat", "--system", ""
    ),
    *refused_values(EVALUATE, "--perplexity", ("nowhere", "", "broken/bert")),
    *refused_values(EVALUATE, "--profile", ("nowhere", "", "rewards/q:nobody")),
    *refused_values(EVALUATE, "--column", ("nobody", "", "prompt.text", ESCAPE)),
    *(
        refused(*without(EVALUATE, "--out"), "--out", name)
        for name in ("full", "null", "notes.txt", "loop", "notes.txt/x", "x" * 300, "")
    ),
    *(
        refused(*without(EVALUATE, "--up"), "--up", name)
        for name in (
            "nowhere.jsonl",
            "folder",
            "empty.jsonl",
            "binary.jsonl",
            "deep.jsonl",
            "number.jsonl",
            "null",
            "",
            "no_prompt.jsonl",
            "wrong_types.jsonl",
            "truncated.jsonl.gz",
            "long.jsonl",
        )
    ),
    refused(*without(EVALUATE, "--up")),
    refused(*without(EVALUATE, "--judge")),
    refused(*EVALUATE, "--up", "prompts.jsonl"),  # two sets of one name
    refused(*without(TOXICITY, "--prompts")),
    refused(*without(SENTIMENT, "--up")),
    *refused_tails(TOXICITY, ("--nonsense",), ("extra",), ("--reward", "rewards/q")),
    refused("evaluate"),
    refused("evaluate", "nonsense"),
    refused(*EVALUATE, "--temperature", "0"),  # --greedy is the method
    accepted("the other files of the folder stay", *without(EVALUATE, "--out"), "--out", "folder"),
    accepted("no figure but the unsteered ones", *TOXICITY),
    accepted("one prompt is enough", *SENTIMENT, "--limit", "1"),
]
REPORTS: list[Case] = [
    *(refused("evaluate", "report", name) for name in ("nowhere", "folder", "notes.txt", "loop", "full", "", "lm")),
    *refused_values(REPORT, "--judge", NO_JUDGES),
    *refused_values(REPORT, "--perplexity", ("nowhere", "folder", "broken/t5")),
    *refused_values(REPORT, "--profile", ("nowhere", "rewards/q:nobody", "broken_rewards/nan")),
    refused("evaluate", "report"),
    accepted("a second report is the same", *REPORT, limit=120),
]
PREFERENCES: list[Case] = [
    *(
        refused(*without(PREFERENCE, "--data"), "--data", name)
        for name in (
            "nowhere.jsonl",
            "folder",
            "empty.jsonl",
            "null_pairs.jsonl",
            "labels.jsonl",
            "binary.jsonl",
            "deep.jsonl",
            "",
            "null",
            "only_header.csv",
        )
    ),
    *(
        refused(*without(PREFERENCE, "--reward"), "--reward", name)
        for name in (
            "nowhere",
            "",
            "rewards/q:nobody",
            "broken_rewards/nan",
            "broken_rewards/flipped",
            "folder",
            ESCAPE,
        )
    ),
    *refused_values(PREFERENCE, "--limit", (*BELOW_ONE, "abc", "1.5")),
    *refused_values(PREFERENCE, "--template", ("", "{prompt}", "{answer", "{prompt} {answer} {nobody}")),
    *refused_values(PREFERENCE, "--chosen-column", ("nobody", "")),
    *refused_values(
        PREFERENCE,
        "--out",
        ("full", "null", "notes.txt", "link", "folder", "loop", "pairs.jsonl", "notes.txt/x", "x" * 300),
    ),
    refused(*PREFERENCE, "--data", "pairs.jsonl"),
    refused(*without(PREFERENCE, "--reward")),
    *refused_values(
        without(PREFERENCE, "--reward"), "--judge", ("", "vader", "vadr=+1", "self:nowhere", "tests:notes.txt", ESCAPE)
    ),
    refused(*PREFERENCE, "--judge", "vader=+1", "--judge", "vader=+1"),
    refused(*PREFERENCE, "--judge", "vader=+1", "--model", "nowhere"),
    accepted("a judge beside a reward", *PREFERENCE, "--judge", "vader=-1", "--model", "lm"),
    accepted("a reward as a judge", *PREFERENCE, "--judge", "rewards/v=-1", "--model", "lm"),
    refused(*without(PREFERENCE, "--data"), "--data", "same_pairs.jsonl"),
    accepted("folders are made", *PREFERENCE, "--out", "new/figures.json"),
]
MEASURED: list[Case] = [
    *(
        refused(*without(JUDGES, "--data"), "--data", name)
        for name in (
            "nowhere.jsonl",
            "folder",
            "empty.jsonl",
            "no_label.jsonl",
            "null_labels.jsonl",
            "text_labels.jsonl",
            "big_labels.jsonl",
            "deep.jsonl",
            "binary.jsonl",
            "",
            "null",
        )
    ),
    *(refused(*without(JUDGES, "--judge"), "--judge", name) for name in NO_JUDGES),
    *refused_values(JUDGES, "--task", ("", "nonsense", ESCAPE)),
    *refused_values(JUDGES, "--limit", (*BELOW_ONE, "abc")),
    *refused_values(JUDGES, "--column", ("nobody", "")),
    *refused_values(JUDGES, "--out", ("full", "notes.txt", "loop")),
    refused(*JUDGES, "--judge", "vader"),  # twice
    accepted("the other files of the folder stay", *JUDGES, "--out", "folder"),
]
QUESTIONS: list[Case] = [
    *(refused(*without(CHOICES, "--data"), "--data", name) for name in NO_TABLES),
    refused(*without(CHOICES, "--data"), "--data", "labels.jsonl"),  # no choices
    *refused_values(CHOICES, "--steer", ("", "rewards/q", "nowhere=1", "rewards/q=nan", ESCAPE)),
    *refused_values(CHOICES, "--top-k", ("", "abc", "1.5", "-1", "1" + "0" * 30)),
    *refused_values(CHOICES, "--limit", (*BELOW_ONE, "abc", "1.5")),
    refused(*CHOICES, "--steer", "rewards/q=1", "--steer", "rewards/q=1"),
    refused(*CHOICES, "--out", "choices.jsonl"),
    refused(*CHOICES, "--out", "full"),
    accepted("the unsteered model beside a steer", *CHOICES, "--steer", "rewards/q=5", "--out", "new/found.json"),
    accepted("candidates are cut, and the choices added", *CHOICES, "--steer", "rewards/v=5", "--top-k", "3"),
]
CASES = [*GRID, *SETTINGS, *REPORTS, *PREFERENCES, *QUESTIONS, *MEASURED]
