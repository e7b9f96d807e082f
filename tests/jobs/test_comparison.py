import copy

import pytest

from trimtab.data.jsonlines import Line
from trimtab.jobs import Replayed
from trimtab.jobs.comparison import Tolerances, compare, first_difference, numbered, rename_rewards, same

TERM = {"reward": "kindness", "source": "here", "fingerprint": "f", "weights_sha256": "a", "beta": 2.0}
PROVENANCE = {
    "trimtab": "0.2",
    "device": "cpu",
    "model": "tiny",
    "dtype": "float32",
    "steer": [TERM],
    "sampling": {"n": 1, "seed": 3},
    "job": {"kind": "generate", "chat": False, "trace": False},
}
CANDIDATES = [
    {"text": "a", "token_id": 5, "logprob": -0.1, "rewards": {"kindness:kind": 0.5}, "chosen": True},
    {"text": "b", "token_id": 6, "logprob": -0.2, "rewards": {"kindness:kind": 0.5}, "chosen": False},
]
ROW = {
    "line": 1,
    "sample": 0,
    "prompt": "w1",
    "text": "a",
    "tokens": ["a"],
    "token_ids": [5],
    "rewards": {"kindness:kind": [0.5], "kindness:calm": [0.25]},
    "steer": ["kindness=+2"],
    "finish_reason": "length",
    "trace": [{"text": "a", "token_id": 5, "candidates": CANDIDATES}],
    "provenance": PROVENANCE,
}


def changed(path, value):
    """The row with one other value; the path names it."""
    row = copy.deepcopy(ROW)
    place = row
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return row


def fault_of(row, expected=ROW):
    return compare(Line(7, row, None), expected, 1e-3).fault


def test_a_row_is_the_same_as_itself():
    assert compare(Line(7, ROW, None), ROW, 1e-3) == Replayed(7, None, None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["text"], "the password is 1234"),
        (["tokens"], ["x"]),
        (["finish_reason"], "eos"),
        (["steer"], []),
        (["sample"], False),
        (["rewards"], {}),
        (["rewards"], "none"),
        (["rewards"], {"kindness:calm": [0.5], "kindness:kind": [0.25]}),
        (["rewards"], {"x:y": [0.5], "kindness:calm": [0.25]}),
        (["rewards", "kindness:kind"], [0.99]),
        (["rewards", "kindness:kind"], [0.5, 0.5]),
        (["rewards", "kindness:kind"], ["0.5"]),
        (["rewards", "kindness:kind"], [True]),
        (["rewards", "kindness:kind"], [10**299]),
        (["trace"], [{"text": "forged", "rewards": {}}]),
        (["trace", 0, "candidates", 1, "text"], "nice"),
        (["trace", 0, "candidates", 1, "logprob"], -9.0),
        (["trace", 0, "candidates", 1, "token_id"], None),
        (["note"], "was checked by hand"),
    ],
)
def test_a_forged_field_is_named_though_the_tokens_are_the_same(path, value):
    assert fault_of(changed(path, value)) == f"the tokens are the same, but not the row's {path[0]}"


@pytest.mark.parametrize(("name", "is_seen"), [("logprob", False), ("base_logprob", True), ("rewards", True)], ids=str)
def test_only_what_a_reward_is_multiplied_into_may_be_apart_by_its_strength(name, is_seen):
    """In bfloat16 a reward may be 0.1 apart, so with β = 20 a steered log-probability may be 2 apart."""
    candidates = [{**each, "base_logprob": -1.0, "kl": 0.5} for each in CANDIDATES]
    steered = {**PROVENANCE, "steer": [{**TERM, "beta": 20.0}]}
    expected = {**ROW, "trace": [{"token_id": 5, "candidates": candidates}], "provenance": steered}
    row = copy.deepcopy(expected)
    forged = row["trace"][0]["candidates"][0]
    forged[name] = {"kindness:kind": 0.9} if name == "rewards" else forged[name] + 1.5
    fault = compare(Line(7, row, None), expected, 0.1).fault
    assert (fault is not None) == is_seen


@pytest.mark.parametrize("name", sorted(set(ROW) - {"token_ids"}))
def test_a_deleted_field_is_named(name):
    row = {key: value for key, value in ROW.items() if key != name}
    assert f"the row lacks {name}" in fault_of(row)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["model"], "gpt-9", "model: 'gpt-9' there, 'tiny' here"),
        (["sampling", "seed"], 4, "sampling.seed: 4 there, 3 here"),
        (["steer", 0, "weights_sha256"], "0" * 64, "steer[0].weights_sha256"),
        (["steer", 0, "beta"], 3.0, "steer[0].beta"),
        (["steer"], [], "steer: [] there"),
        (["job", "chat"], True, "job.chat"),
        (["checked_by"], "me", "checked_by: 'me' there, None here"),
    ],
)
def test_a_forged_provenance_is_named(path, value, named):
    assert named in fault_of(changed(["provenance", *path], value))


@pytest.mark.parametrize("path", [["sampling", "seed"], ["steer", 0, "weights_sha256"], ["job", "chat"]])
def test_only_rows_of_another_version_may_lack_a_setting(path):
    row = copy.deepcopy(ROW)
    place = row["provenance"]
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    assert f"it lacks {'.'.join(map(str, path[:-1]))}.{path[-1]}".replace(".0.", "[0].") in fault_of(row)
    row["provenance"]["trimtab"] = "0.1"
    assert fault_of(row) is None


def test_a_deleted_setting_is_named_though_it_was_none():
    whole = changed(["provenance", "sampling", "top_p"], None)
    assert "it lacks sampling.top_p" in fault_of(ROW, whole)
    unnamed = copy.deepcopy(ROW)
    del unnamed["provenance"]["steer"][0]["source"]
    assert "it lacks steer[0].source" in fault_of(unnamed)


def test_a_search_has_a_cost_and_a_text_has_none():
    searched = ROW | {"call": {"seconds": 2.0}}
    assert fault_of(ROW | {"call": {"seconds": 9.0}}, searched) is None
    assert fault_of(searched).endswith("the row's call")


def test_a_provenance_must_be_whole():
    for name in PROVENANCE:
        row = changed(["provenance"], {key: value for key, value in PROVENANCE.items() if key != name})
        assert f"provenance: no {name}" in fault_of(row)


def test_rounding_another_machine_and_the_place_of_a_reward_are_no_faults():
    """What another machine cannot check. Older rows lack newer settings and the hash of a reward's file."""
    row = changed(["rewards", "kindness:kind"], [0.50001])
    row["trace"][0]["candidates"].reverse()
    row["line"] = 9
    row["provenance"] |= {"trimtab": "0.1", "device": "cuda"}
    row["provenance"]["steer"][0]["source"] = "elsewhere"
    del row["provenance"]["steer"][0]["weights_sha256"], row["provenance"]["job"]["trace"]
    assert fault_of(row) is None


def test_the_cost_of_a_search_is_not_compared_and_its_record_is():
    search = {**ROW, "iterations": 3, "taken_back": 2, "commits": [{"text": "a", "value": 0.5}], "call": {"tokens": 7}}
    assert fault_of({**search, "call": {"tokens": 9}}, search) is None
    assert fault_of({name: value for name, value in search.items() if name != "call"}, search) is None
    for change in ({"commits": []}, {"iterations": 999}, {"taken_back": 0}, {"commits": [{"text": "a", "value": 0.9}]}):
        assert fault_of({**search, **change}, search).endswith(f"the row's {next(iter(change))}")


def test_the_first_token_that_differs_is_named():
    assert compare(Line(1, changed(["token_ids"], [6]), None), ROW, 1e-3) == Replayed(
        1, "the texts differ from token 1 on", 0
    )
    assert "lacks its token_ids" in fault_of(changed(["token_ids"], "5"))


def test_a_reward_of_another_name_must_have_it_everywhere():
    renamed = rename_rewards(ROW, {"kindness": "a:b"})
    assert list(renamed["rewards"]) == ["a:b:kind", "a:b:calm"]
    assert list(renamed["trace"][0]["candidates"][0]["rewards"]) == ["a:b:kind"]
    assert renamed["provenance"] == PROVENANCE
    assert fault_of(renamed, rename_rewards(ROW, {"kindness": "a:b"})) is None
    half = {**renamed, "trace": ROW["trace"]}
    assert fault_of(half, renamed).endswith("the row's trace")


def test_rewards_of_one_name_are_numbered():
    assert numbered(["a", "b", "a", "a", "b"]) == ["a", "b", "a#2", "a#3", "b#2"]


@pytest.mark.parametrize(("one", "other"), [(True, 1), (1.0, 1), (1, 1.0), (None, 0.0), ("1", 1), ([], {})])
def test_values_of_other_types_are_not_the_same(one, other):
    assert same(one, other, Tolerances(0.1, 0.1)) == (one == 1 and other == 1.0 and isinstance(other, float))


@pytest.mark.parametrize(("one", "other", "place"), [([1, 2], [1, 3], 1), ([1], [1, 2], 1), ([], [], 0), ([4], [5], 0)])
def test_the_first_difference(one, other, place):
    assert first_difference(one, other) == place
