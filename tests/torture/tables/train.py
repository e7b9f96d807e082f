"""`trimtab train`."""

from torture.case import Case, accepted, refused, refused_tails, refused_values
from torture.tables.values import (
    BELOW_ONE,
    DATASTORE,
    DISTIL,
    ESCAPE,
    EXPERT,
    GENARM,
    LABELS,
    NO_TABLES,
    NO_WHOLE,
    NOT_FINITE,
    PAIRS,
    without,
)

WHOLE = ("--layers", "--rank", "--lora-rank", "--batch-size", "--max-tokens", "--checkpoints", "--patience")
RECIPE: list[Case] = [
    *(refused(*LABELS, option, value) for option in WHOLE for value in ("0", "-1", "abc", "1.5")),
    *refused_values(LABELS, "--epochs", ("0", "-1", "abc", *NOT_FINITE)),
    *refused_values(LABELS, "--learning-rate", ("0", "-1", "abc", *NOT_FINITE)),
    *(
        refused(*LABELS, option, value)
        for option in ("--clip", "--regulariser", "--probe-beta")
        for value in ("-1", "nan", "inf", "abc")
    ),
    *refused_values(LABELS, "--warmup-steps", ("-1", "abc", "1.5")),
    *refused_values(LABELS, "--seed", ("-1", "abc", "4294967296")),
    *refused_values(LABELS, "--head", ("", "Q", "qv", ESCAPE)),
    *refused_values(LABELS, "--trunk", ("", "own", "LORA")),
    *refused_values(LABELS, "--loss", ("", "hinge")),
    *refused_values(LABELS, "--save-dtype", ("", "int8", "float64")),
    *refused_values(LABELS, "--start", ("nowhere", "folder", "broken_rewards/nan", "broken_rewards/cut", "")),
    *refused_values(LABELS, "--layers", ("4", "1" + "0" * 30)),
    *refused_values(LABELS, "--rank", ("1" + "0" * 30,)),
    *refused_values(LABELS, "--lora-rank", ("1" + "0" * 30,)),
    refused(*LABELS, "--learning-rate", "1e30", "--clip", "0"),  # diverges
]
DATA: list[Case] = [
    *(refused(*without(LABELS, "--data"), "--data", name) for name in NO_TABLES),
    *(refused(*LABELS, "--held-out", name) for name in NO_TABLES),
    *(refused(*without(LABELS, "--data"), "--data", name) for name in ("one_row.jsonl", "full", "scale.jsonl")),
    *refused_values(LABELS, "--limit", (*NO_WHOLE, *BELOW_ONE)),
    refused(*LABELS, "--limit", "1"),
    *refused_values(LABELS, "--held-out-limit", ("0", "-1", "abc")),
    *refused_values(LABELS, "--column", ("nobody", "", ESCAPE, "text")),
    *refused_values(LABELS, "--text-column", ("nobody", "", ESCAPE, "label")),
    refused(*LABELS, "--attribute", "a", "--attribute", "b", "--column", "label"),
    refused(*LABELS, "--attribute", "a", "--attribute", "a", "--column", "label", "--column", "label"),
    refused(*LABELS, "--attribute", "", "--column", "label"),
    refused(*without(LABELS, "--data"), "--data", "long_number.csv"),  # one row is left
    accepted("the row of 400 digits is skipped and named", *LABELS, "--held-out", "long_number.csv"),
    accepted("fields are read as CSV reads them", *without(LABELS, "--data"), "--data", "labels.csv"),
    accepted("named rows are skipped, and said", *without(LABELS, "--data"), "--data", "huge_field.csv"),
    accepted("escaped where it is shown", *LABELS, "--attribute", ESCAPE, "--column", "label"),
]
PLACES: list[Case] = [
    *(
        refused(*without(LABELS, "--out"), "--out", name)
        for name in (
            "full",
            "null",
            "pipe",
            "folder",
            "notes.txt",
            "loop",
            "lm",
            "link.folder",
            "notes.txt/out",
            "x" * 300,
            "",
            "link",
            "labels.jsonl",
            "/",
            ".",
            "..",
        )
    ),
    *refused_values(LABELS, "--run", ("folder", "notes.txt", "full", "lm", "loop", "out", "out/run", "x" * 300, "")),
    *refused_values(
        LABELS,
        "--base",
        (
            "nowhere",
            "",
            "folder",
            "broken/no_weights",
            "broken/cut_weights",
            "broken/bert",
            "broken/t5",
            "broken/no_tokenizer",
            "broken/junk.gguf",
        ),
    ),
    *refused_tails(LABELS, ("--nonsense",), ("extra",), ("--data",)),
    refused("train"),
    refused("train", "labels"),
    refused("train", "nonsense"),
    refused(*without(LABELS, "--out")),
    accepted("an older reward in --out is replaced", *without(LABELS, "--out"), "--out", "rewards/q"),
]
OTHERS: list[Case] = [
    *(
        refused(*without(PAIRS, "--data"), "--data", name)
        for name in (
            "nowhere.jsonl",
            "null_pairs.jsonl",
            "empty.jsonl",
            "labels.jsonl",
            "binary.jsonl",
            "deep.jsonl",
            "folder",
        )
    ),
    *refused_values(PAIRS, "--chosen-column", ("nobody", "", ESCAPE)),
    *refused_values(PAIRS, "--attribute", ("",)),
    *refused_values(PAIRS, "--limit", ("0", "-1", "1")),
    *refused_values(PAIRS, "--learning-rate", ("nan",)),
    *refused_values(PAIRS, "--policy-loss", ("nan", "-1", "inf", "abc")),
    *refused_values((*PAIRS, "--policy-loss", "1"), "--policy-temperature", ("nan", "0", "-1", "inf")),
    *refused_values((*PAIRS, "--policy-loss", "1"), "--trunk", ("frozen", "ladder")),
    refused(*PAIRS, "--edits", "--prefixes"),
    refused(*PAIRS, "--edits", "--head", "v"),
    refused(*DISTIL, "--credit", "attention"),
    *refused_values((*DISTIL, "--target", "delta", "--credit", "attention"), "--credit-share", ("nan", "-1", "2")),
    *refused_values((*DISTIL, "--target", "delta"), "--credit", ("", "nobody")),
    *refused_values(GENARM, "--beta-r", ("nan", "0", "-1", "inf")),
    *refused_values(GENARM, "--head", ("q", "v")),
    *refused_values(GENARM, "--trunk", ("frozen", "ladder")),
    *refused_values(DATASTORE, "--mix", ("nan", "-1", "1", "abc")),
    *refused_values(DATASTORE, "--keys", ("0", "-1", "abc", "1.5")),
    *refused_values(DATASTORE, "--neighbours", ("0", "-1", "abc")),
    *refused_values(DATASTORE, "--distance-temperature", ("0", "nan", "inf", "-1")),
    *refused_values(DATASTORE, "--seed", ("-1", "abc")),
    *refused_values(DATASTORE, "--prompt-column", ("nobody", "label")),
    *refused_values(without(DATASTORE, "--data"), "--data", ("nowhere.jsonl", "folder", "")),
    *refused_values(without(DATASTORE, "--max-tokens"), "--max-tokens", ("0", "64", "abc")),
    accepted("builds a datastore", *DATASTORE, "--keys", "20"),
    *refused_values(EXPERT, "--head", ("q", "v")),
    *refused_values(EXPERT, "--trunk", ("frozen", "ladder")),
    *refused_values(EXPERT, "--at-least", ("0.5", "nan", "abc")),
    *refused_values((*EXPERT, "--column", "label"), "--at-least", ("nan", "-1", "2", "inf")),
    *refused_values((*EXPERT, "--at-most", "0"), "--column", ("nobody", "text", "", ESCAPE)),
    *(
        refused(*without(DISTIL, "--teacher"), "--teacher", name)
        for name in (
            "nowhere",
            "",
            "folder",
            "sentiment",
            "broken_rewards/nan",
            "broken_rewards/cut",
            "broken_rewards/card_layers",
            "lm",
            ESCAPE,
        )
    ),
    *refused_values(DISTIL, "--candidates", (*BELOW_ONE, "abc", "1.5")),
    *refused_values(DISTIL, "--target", ("", "nonsense")),
    *refused_values(DISTIL, "--targets", ("notes.txt", "full", "loop", "folder")),
    *refused_values(DISTIL, "--column", ("nobody", "")),
    refused(*DISTIL, "--column", "label", "--column", "label"),  # of one attribute
    refused(*DISTIL, "--balance"),
    *(
        refused(*without(DISTIL, "--data"), "--data", name)
        for name in ("nowhere.jsonl", "empty.jsonl", "number_texts.jsonl", "deep.jsonl")
    ),
    refused(*without(PAIRS, "--data"), "--data", "same_pairs.jsonl"),
    accepted("distils", *DISTIL),
    accepted("trains on pairs", *PAIRS, "--prefixes"),
    accepted("trains a language model on pairs", *GENARM),
    accepted("trains a language model on texts", *EXPERT, "--column", "label", "--at-least", "0.5"),
]
CASES = [*RECIPE, *DATA, *PLACES, *OTHERS]
