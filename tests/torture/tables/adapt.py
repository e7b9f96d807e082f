"""`trimtab adapt`."""

from torture.case import Case, accepted, refused, refused_values
from torture.tables.values import ADAPT, ESCAPE, NO_REWARDS, NO_TABLES, NO_WHOLE, NOT_FINITE, without

ONLY_LABELS = ("null_labels.jsonl", "text_labels.jsonl", "deep_labels.jsonl", "no_label.jsonl")  # with good texts
FROM_REWARD = (*ADAPT, "rewards/v")
CASES: list[Case] = [
    refused(*ADAPT),
    refused(*FROM_REWARD, "--classifier", "profanity"),
    *(refused(*ADAPT, name) for name in NO_REWARDS),
    *(
        refused(*ADAPT, "--classifier", name)
        for name in ("", "nowhere", "onnx:", "onnx:folder", "folder:label", ESCAPE)
    ),
    *(refused(*without(FROM_REWARD, "--data"), "--data", name) for name in NO_TABLES if name not in ONLY_LABELS),
    *(
        accepted("only texts are read, not labels", *without(FROM_REWARD, "--data"), "--data", name)
        for name in ONLY_LABELS
    ),
    *(
        refused(*without(FROM_REWARD, option), option, value)
        for option in ("--texts", "--tokens")
        for value in NO_WHOLE
    ),
    *refused_values(without(FROM_REWARD, "--tokens"), "--tokens", ("0", "1", "64", "5000", "1" + "0" * 30)),
    *refused_values(without(FROM_REWARD, "--candidates"), "--candidates", ("0", "2", "65", "abc")),
    *refused_values(without(FROM_REWARD, "--positions"), "--positions", ("0", "-1", "abc")),
    *refused_values(without(FROM_REWARD, "--epochs"), "--epochs", ("0", "-1", "abc", *NOT_FINITE)),
    *refused_values(FROM_REWARD, "--ladder-heads", ("0", "-1", "65", "abc")),
    *refused_values(FROM_REWARD, "--seed", ("-1", "abc", "4294967296")),
    *refused_values(FROM_REWARD, "--text-column", ("nobody", "", ESCAPE)),
    *refused_values(FROM_REWARD, "--save-dtype", ("", "int8")),
    *refused_values(without(FROM_REWARD, "--model"), "--model", ("", "nowhere", "folder", ESCAPE)),
    *(refused(*without(FROM_REWARD, "--out"), "--out", name) for name in ("full", "/dev/null", "", "/proc/mine")),
    refused(*FROM_REWARD, "--run", "out/run"),
    refused(*FROM_REWARD, "--chat"),
    accepted("adapts", *FROM_REWARD),
]
