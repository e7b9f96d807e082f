"""`trimtab score`, `rewards`, `import rad` and `spectrum`; and broken rewards in the commands that load one."""

from torture.broken_rewards import CARD_VALUES, broken_texts
from torture.case import Case, accepted, refused, refused_tails, refused_values
from torture.tables.values import (
    BELOW_ONE,
    ESCAPE,
    GENERATE,
    IMPORT,
    LINE,
    LONG,
    MEASURE,
    NO_PROMPT_FILES,
    NO_REWARDS,
    NO_TABLES,
    NO_WHOLE,
    NOT_FINITE,
    SCORE,
    SPECTRUM,
    UNICODE,
    row,
    without,
)

DAMAGED = ("flipped", "one_flipped", "cut", "no_weights", "no_card", "infinite", "nan", "renamed", "reshaped")
FOREIGN = ("other_base", "lost_base", "base_is_file")
BROKEN = [f"broken_rewards/{name}" for name in (*DAMAGED, *(f"card_{field}" for field in CARD_VALUES), *broken_texts())]
IN_BASE = "the base's weights are compared with the card"
LATE = {"broken_rewards/card_bos_token_id": IN_BASE}
BARE = ("score", "--reward", "rewards/q")

STEERED: list[Case] = [
    *(refused(*GENERATE, "--steer", f"{name}=20", loads=LATE.get(name, "")) for name in BROKEN),
    *(refused("score", "--reward", name, "--text", "w1") for name in BROKEN if "card" not in name),
    *(refused("rewards", "show", name) for name in BROKEN if "card" in name and "bos_token" not in name),
    accepted("its base, which lacks that token, does not load", "rewards", "show", "broken_rewards/card_bos_token_id"),
    *(refused("score", "--reward", f"broken_rewards/{name}", "--text", "w1") for name in FOREIGN[1:]),
    refused("score", "--reward", "broken_rewards/other_base", "--text", "w1", loads=IN_BASE),
    accepted("escaped where it is shown", "score", "--reward", "broken_rewards/renamed_escape", "--text", "w1"),
    accepted("escaped where it is shown", *GENERATE, "--steer", "broken_rewards/renamed_escape=5", "--show-rewards"),
    accepted("escaped where it is shown", "rewards", "show", "broken_rewards/renamed_escape"),
    refused(
        "evaluate",
        "prompts",
        "--up",
        "prompts.jsonl",
        "--judge",
        "reward:broken_rewards/nan",
        "--model",
        "lm",
        "--out",
        "out",
        "--samples",
        "1",
    ),
    refused("rewind", "w1", "--model", "lm", "--judge", "broken_rewards/nan=+1"),
    refused("spectrum", "broken_rewards/nan", "--data", "labels.jsonl", "--prefixes", "2", "--tokens", "3"),
    refused("rewards", "measure", "broken_rewards/nan", *MEASURE[3:]),
    refused(
        "train", "distil", "--data", "labels.jsonl", "--teacher", "broken_rewards/nan", "--base", "lm", "--out", "out"
    ),
]
SCORED: list[Case] = [
    *(refused("score", "--text", "w1", "--reward", name) for name in (*NO_REWARDS, "", ":", "rewards/q:", ":kind")),
    refused("score", "--text", "w1", "--reward", "rewards/q:nobody"),
    refused("score", "--text", "w1"),
    refused("score"),
    refused(*BARE),
    refused(*BARE, "--text", ""),
    refused(*BARE, "--text", "w1 " * 100),
    refused(*BARE, "--text", "w1", "--method", "rain"),
    refused(*SCORE, "extra"),
    *(refused(*BARE, "--input", name) for name in NO_PROMPT_FILES),
    refused(*BARE, "--input", "surrogate.jsonl"),
    refused(*BARE, "--input", "-", stdin=""),
    refused(*BARE, "--input", "-", stdin="{"),
    accepted("one text a line", *BARE, "--input", "-", stdin=row(text="w1 w2")),
    accepted("escaped where it is shown", *BARE, "--text", ESCAPE, "--prefixes"),
    accepted("escaped in JSON", *BARE, "--text", ESCAPE, "--prefixes", "--json"),
    accepted("words outside the vocabulary are <unk>", *BARE, "--text", UNICODE),
    accepted("one word, however long, is one <unk>", *BARE, "--text", LONG[:5000]),
    accepted("escaped where it is shown", *BARE, "--input", "escape.jsonl"),
    accepted("both are scored", *SCORE, "--input", "crlf.jsonl"),
    accepted("the text - is a text", *BARE, "--text", "-"),
]
SHOWN: list[Case] = [
    *(refused("rewards", "show", name) for name in (*NO_REWARDS, "")),
    refused("rewards", "show"),
    refused("rewards", "show", "rewards/q", "rewards/v"),
    refused("rewards", "list", "extra"),
    *refused_values(("rewards", "list"), "--model", ("nowhere", "", "folder", "full", ESCAPE)),
    *(refused("rewards", "push", name, "me/kind") for name in ("nowhere", "folder", "lm", "full", "", *BROKEN[:6])),
    *(
        refused("rewards", "push", "rewards/q", name)
        for name in ("", "kind", "a/b/c", "../kind", "me/two words", ESCAPE)
    ),
    refused("rewards", "push", "rewards/q", "me/kind"),  # offline
    refused("rewards", "push", "rewards/q"),
    *(refused("rewards", "pull", name) for name in ("", "kind", "a/b/c", "../kind", "me/none", ESCAPE)),
    *(refused("rewards", "pull", "me/none", "--out", name) for name in ("labels.jsonl", "full", "null", "", "folder")),
    refused("rewards", "nonsense"),
    refused("rewards"),
    *(refused(*without(MEASURE, "--data"), "--data", name) for name in NO_TABLES),
    *refused_values(MEASURE, "--limit", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(MEASURE, "--max-tokens", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(MEASURE, "--beta", ("", "abc", *NOT_FINITE)),
    *refused_values(MEASURE, "--text-column", ("nobody", "", ESCAPE)),
    *refused_values(MEASURE[:5], "--column", ("nobody", "")),
    refused(*MEASURE, "--column", "label"),  # one attribute has one column
    refused("rewards", "measure", "nowhere", "--data", "labels.jsonl"),
    refused("rewards", "measure", "rewards/q"),
    accepted("the row of 400 digits is skipped and named", *without(MEASURE, "--data"), "--data", "long_number.csv"),
    accepted("the figures of 1 text", *MEASURE, "--limit", "1"),
    *(refused(*without(LINE, "--data"), "--data", name) for name in NO_TABLES),
    *refused_values(LINE, "--limit", (*NO_WHOLE, *BELOW_ONE, "1")),
    *refused_values(LINE, "--max-tokens", (*NO_WHOLE, *BELOW_ONE)),
    *refused_values(LINE, "--seed", (*NO_WHOLE, "-1")),
    *refused_values(LINE, "--text-column", ("nobody", "", ESCAPE)),
    *(refused(*without(LINE, "--out"), "--out", name) for name in ("labels.jsonl", "full", "null", "")),
    refused("rewards", "calibrate", "broken_rewards/nan", *LINE[3:]),
]
MADE: list[Case] = [
    *(
        refused("import", "rad", name, *IMPORT[3:])
        for name in (
            "state.bin",
            "nowhere.bin",
            "folder",
            "loop",
            "full",
            "null",
            "empty.jsonl",
            "lm/model.safetensors",
            "deep.jsonl",
            "",
        )
    ),
    *(
        refused(*without(IMPORT, "--out"), "--out", name)
        for name in ("full", "null", "folder", "notes.txt", "loop", "")
    ),
    *refused_values(IMPORT, "--attributes", ("", ",", "a,,b", "a,a", "a,b,c", ESCAPE)),
    *refused_values(IMPORT, "--base", ("nowhere", "lm", "folder", "broken/bert")),
    *(refused("spectrum", name, *SPECTRUM[2:]) for name in (*NO_REWARDS, "")),
    *(
        refused(*without(SPECTRUM, "--data"), "--data", name)
        for name in ("nowhere.jsonl", "folder", "empty.jsonl", "binary.jsonl", "deep.jsonl", "number_texts.jsonl", "")
    ),
    *refused_values(SPECTRUM, "--prefixes", (*BELOW_ONE, "abc", "1.5")),
    *refused_values(SPECTRUM, "--tokens", ("-1", "abc", "1.5")),
    *refused_values(SPECTRUM, "--attribute", ("nobody", "", ESCAPE)),
    *refused_values(SPECTRUM, "--text-column", ("nobody", "")),
    *refused_values(SPECTRUM, "--seed", ("-1", "abc")),
    *refused_values(SPECTRUM, "--out", ("full", "notes.txt", "loop", "notes.txt/x")),
    *refused_tails(SPECTRUM, ("rewards/q",), ("--nonsense",), ("broken_rewards/other_base",)),
    accepted("all tokens, as documented", *SPECTRUM, "--tokens", "0"),
    refused(*SPECTRUM, "--tokens", "1" + "0" * 30),
    accepted("a seed is any whole number", *SPECTRUM, "--seed", "1" + "0" * 30),
]
CASES = [*STEERED, *SCORED, *SHOWN, *MADE]
