"""Ugly inputs, drawn by hypothesis."""

from hypothesis import strategies as st

UGLY_TEXTS = (
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1",
    "0",
    "1" * 400,
    "0x1",
    "٣",
    "1_0",
    "\x1b[31m",
    "\u2028",
    "-",
    "--",
    "=",
    ":",
    "+",
    "a=b=c",
    "self:",
    "reward:",
    "../..",
    "x" * 300,
    "lm",
    "rewards/q=5",
)
texts = st.one_of(
    st.sampled_from(UGLY_TEXTS), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(10**30), 1e300, -0.0]))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=10), st.binary(max_size=5))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
json_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
json_values = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
rows = st.dictionaries(
    st.sampled_from(["prompt", "text", "messages", "label", "line", "chosen", "rejected"]), json_values
)
steer_texts = st.one_of(
    texts,
    st.builds(lambda name, sign, beta: f"{name}={sign}{beta}", texts, st.sampled_from(["", "+", "-"]), texts),
    st.builds(lambda name, attribute, beta: f"{name}:{attribute}={beta}", texts, texts, numbers),
)
