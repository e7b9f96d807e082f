"""Random and malformed rows of tables, for tests that nothing but a named fault comes of them."""

from hypothesis import strategies as st

from trimtab.data.json_text import dump_json

NUMBERS = st.one_of(st.integers(), st.floats(), st.just(10**400), st.booleans(), st.none())
TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["\ud800", "nan", "1e999", "1_0", "true", "0.5", " ", "\x00", "\x1b[31m"])
)
VALUES = st.recursive(
    st.one_of(NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
COLUMNS = ["text", "label", "chosen", "rejected", "prompt", "input", "output_1", "output_2", "subset"]
ROWS = st.one_of(st.dictionaries(st.one_of(st.sampled_from(COLUMNS), TEXTS), VALUES, max_size=6), VALUES)
LINES = st.one_of(
    ROWS.map(lambda row: dump_json(row).encode()),
    st.sampled_from(
        [b'{"text": "a", "label": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a":' * 2_000, b'{"label": NaN}']
    ),
    st.binary(max_size=40),
)
FILES = st.one_of(st.lists(LINES, max_size=5).map(b"\n".join), st.binary(max_size=200))
SUFFIXES = st.sampled_from([".jsonl", ".csv", ".tsv", ".jsonl.gz", ".csv.gz"])
