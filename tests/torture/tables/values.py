"""Ugly values that many options must refuse, and the shortest command line of each command that works."""

import json

ESCAPE = "\x1b[31mred\x07\x9b32m\x7f\u202e"
LONG = "w1" * 50_000
UNICODE = "\u202e\u2028\ufeff𝕨éñ"

# Not a number at all, or a whole number with a fraction.
NO_WHOLE = ("", "abc", "1.5", "nan", "inf", "1e3", "٣x", ESCAPE)
NO_NUMBER = ("", "abc", "1,5", "0x", ESCAPE)
NOT_FINITE = ("nan", "inf", "-inf", "1e400")
BELOW_ONE = ("0", "-1", "-1000000000000000000000000000000")

NO_PROMPT_FILES = (
    "empty.jsonl",
    "blank.jsonl",
    "binary.jsonl",
    "deep.jsonl",
    "deep_object.jsonl",
    "huge_number.jsonl",
    "infinite.jsonl",
    "nan.jsonl",
    "latin.jsonl",
    "utf16.jsonl",
    "list.jsonl",
    "number.jsonl",
    "no_prompt.jsonl",
    "wrong_types.jsonl",
    "truncated.jsonl.gz",
    "not_gz.jsonl.gz",
    "long.jsonl",
    "folder",
    "nowhere.jsonl",
    "loop",
    "dangling",
    "nowhere/file.jsonl",
    "x" * 300,
)
# Outputs that must not be written: FILE stands for a regular file that is not ours.
NO_OUTPUT_FILES = ("full", "null", "pipe", "folder", "loop", "notes.txt/out.jsonl", "x" * 300, "link.folder", "")
NO_MODELS = (
    "nowhere",
    "",
    " ",
    "/",
    ".",
    "folder",
    "notes.txt",
    "loop",
    "lm/config.json",
    "a/b/c/d",
    "../../../etc",
    ESCAPE,
    UNICODE,
    "x" * 300,
    LONG,
    "nowhere.gguf",
    "broken/junk.gguf",
    "broken/empty.gguf",
    "broken/folder.gguf",
    "broken/no_weights",
    "broken/cut_weights",
    "broken/flipped_weights",
    "broken/no_tokenizer",
    "broken/no_config",
    "broken/bad_config",
    "broken/deep_config",
    "broken/bert",
    "broken/t5",
)
NO_REWARDS = (
    "nowhere",
    "sentimnet",
    "lm",
    "folder",
    "notes.txt",
    "loop",
    "/",
    ".",
    ESCAPE,
    UNICODE,
    "x" * 300,
)
NO_TABLES = (
    "nowhere.jsonl",
    "folder",
    "loop",
    "",
    "empty.jsonl",
    "binary.jsonl",
    "deep.jsonl",
    "list.jsonl",
    "only_header.csv",
    "no_header.csv",
    "null_labels.jsonl",
    "text_labels.jsonl",
    "big_labels.jsonl",
    "deep_labels.jsonl",
    "no_label.jsonl",
    "empty_texts.jsonl",
    "number_texts.jsonl",
    "nan.csv",
    "unknown.parquet",
    "truncated.jsonl.gz",
    "utf16.jsonl",
    "notes.txt",
    "null",
)

SHORT = ("--max-new-tokens", "4", "--seed", "1")
GENERATE = ("generate", "w1 w2", "--model", "lm", *SHORT)
GENERATE_FILE = ("generate", "--model", "lm", *SHORT, "--input", "prompts.jsonl", "--output", "out.jsonl")
SEARCH = (
    *("--model", "lm", *SHORT, "--iterations", "3", "--fresh-iterations", "2", "--children", "3"),
    *("--max-children", "4", "--judge", "rewards/q=+1"),
)
REWIND = ("rewind", "w1 w2", *SEARCH)
REWIND_FILE = ("rewind", *SEARCH, "--input", "prompts.jsonl", "--output", "out.jsonl")
SCORE = ("score", "--reward", "rewards/q", "--text", "w1 w2")
QUICK = (
    *("--base", "lm", "--out", "out", "--batch-size", "20", "--warmup-steps", "2", "--rank", "4", "--lora-rank", "2"),
    *("--no-bf16", "--checkpoints", "2", "--max-tokens", "6"),
)
LABELS = ("train", "labels", "--data", "labels.jsonl", *QUICK)
PAIRS = ("train", "pairs", "--data", "pairs.jsonl", *QUICK)
GENARM = ("train", "genarm", "--data", "pairs.jsonl", *QUICK)
EXPERT = ("train", "expert", "--data", "labels.jsonl", *QUICK)
DATASTORE = ("train", "datastore", "--data", "labels.jsonl", "--base", "lm", "--out", "out", "--max-tokens", "6")
DISTIL = ("train", "distil", "--data", "labels.jsonl", "--teacher", "rewards/v", *QUICK)
SWEEP = ("--model", "lm", "--samples", "2", "--max-new-tokens", "3", "--out", "out", "--rounds", "0", "--limit", "2")
EVALUATE = ("evaluate", "prompts", "--up", "prompts.jsonl", "--judge", "vader", *SWEEP)
TOXICITY = ("evaluate", "toxicity", "--prompts", "prompts.jsonl", "--judge", "profanity", *SWEEP)
SENTIMENT = ("evaluate", "sentiment", "--up", "prompts.jsonl", "--judge", "vader", *SWEEP)
ADAPT = (
    *("adapt", "--model", "lm", "--data", "labels.jsonl", "--out", "out", "--no-bf16"),
    *("--texts", "20", "--tokens", "6", "--candidates", "3", "--positions", "1", "--epochs", "1"),
)
PREFERENCE = ("evaluate", "preference", "--data", "pairs.jsonl", "--reward", "rewards/q")
CHOICES = ("evaluate", "choices", "--data", "choices.jsonl", "--model", "lm")
JUDGES = ("evaluate", "judges", "--data", "labels.jsonl", "--judge", "vader")
REPORT = ("evaluate", "report", "compared", "--judge", "vader")
MEASURE = ("rewards", "measure", "rewards/q", "--data", "labels.jsonl", "--column", "label")
LINE = ("rewards", "calibrate", *MEASURE[2:], "--out", "out")
CALIBRATE = ("rewind", "calibrate", "--data", "labels.jsonl", "--model", "lm", "--judge", "rewards/q=+1")
SPECTRUM = ("spectrum", "rewards/q", "--data", "labels.jsonl", "--prefixes", "4", "--tokens", "5")
IMPORT = ("import", "rad", "state.bin", "--attributes", "kind", "--out", "out", "--base", "gpt2")
REPLAY = ("replay", "made.jsonl")


def without(words: tuple[str, ...], *options: str) -> tuple[str, ...]:
    """A command line without some options and their values."""
    kept, place = [], 0
    while place < len(words):
        if words[place] in options:
            place += 2
        else:
            kept.append(words[place])
            place += 1
    return tuple(kept)


def row(**fields: object) -> str:
    """A JSON line, for stdin."""
    return json.dumps(fields) + "\n"
