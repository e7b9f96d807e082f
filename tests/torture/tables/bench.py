"""`trimtab bench`."""

from torture.case import Case, accepted, refused, refused_tails, refused_values
from torture.tables.values import ESCAPE, LONG, NO_MODELS, NO_OUTPUT_FILES, NO_WHOLE

MODEL = ("bench", "--model", "lm", "--device", "cpu")
FEW = ("--prompt-tokens", "5", "--top-k", "6", "--tokens", "4", "--repeats", "1", "--batch", "2", "--rows", "own")
BENCH = (*MODEL, "--no-memory", *FEW)
HUGE = "1" + "0" * 30

CASES: list[Case] = [
    *(refused(*BENCH, "--model", name) for name in NO_MODELS),
    *refused_values(BENCH, "--rows", ("", "fast", "own,arm", ESCAPE, LONG)),
    *refused_values(BENCH, "--shapes", ("", "huge", "TINY", ESCAPE, LONG)),
    *refused_values(BENCH, "--device", ("", "nonsense", "cuda:99", ESCAPE)),
    *refused_values(BENCH, "--dtype", ("", "float16", "int8")),
    *(
        refused(*BENCH, option, value)
        for option in ("--batch", "--prompt-tokens", "--top-k", "--tokens", "--repeats", "--layers", "--seed")
        for value in ("-1", HUGE, *NO_WHOLE)
    ),
    *(refused(*BENCH, option, "0") for option in ("--batch", "--prompt-tokens", "--top-k", "--repeats", "--layers")),
    refused(*BENCH, "--tokens", "3"),
    refused(*BENCH, "--prompt-tokens", "100000"),
    refused(*BENCH, "--top-k", "100000"),
    refused(*BENCH, "--layers", "100"),
    *refused_values(BENCH, "--out", NO_OUTPUT_FILES),
    refused(*BENCH, "--out", "notes.txt"),
    refused(*BENCH, "--out", "bench"),
    *refused_tails(BENCH, ("--nonsense",), ("extra",)),
    accepted("it measures", *BENCH),
    accepted("it measures, and writes the record", *BENCH, "--cpu-time", "--out", "bench.json"),
]
