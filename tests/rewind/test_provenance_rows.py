"""Provenance of searches as names and values."""

import trimtab
from tiny import tiny_reward
from trimtab.rewind.provenance_rows import provenance_rows
from trimtab.rewind.rewind_settings import Budget, RewindSettings

SMALL = RewindSettings(max_new_tokens=2, iterations=2, fresh_iterations=1, draft_tokens=2)


def test_the_rows_name_the_weights_the_rewards_the_judge_and_all_settings(lm, llama):
    reward = tiny_reward(llama, "q")
    results = lm.rewind(
        ["w1", "w2"],
        reward.away(1),
        reward.toward(5.0, "calm"),
        SMALL,
        seed=[3, 4],
        budget=Budget(max_iterations=9),
        stop="w7",
    )
    rows = provenance_rows([result.provenance for result in results])
    assert rows["model"] == f"{llama.name}, weights {llama.weights_fingerprint}"
    for part in (
        ":calm toward, β=5",
        reward.fingerprint,
        f"on {llama.name} {llama.base_weights_fingerprint}",
        "clamp 0.0–1.0",
    ):
        assert part in rows["steer"]
    for part in (":kind", reward.fingerprint, "away"):
        assert part in rows["judge"]
    assert "max new tokens 2" in rows["search"]
    assert "lengths 1–2–4–10" in rows["search"]
    assert (rows["budget"], rows["stop"], rows["similarity"], rows["seed"]) == (
        "max iterations 9",
        "'w7'",
        "lm",
        "3, 4",
    )
    assert rows["computed"].startswith("float32 on cpu")
    assert rows["versions"].startswith(f"trimtab {trimtab.__version__}, torch ")


def test_what_was_not_used_is_said_and_an_unknown_origin_has_no_rows(lm):
    result = lm.rewind("w1", lambda prompt, text: 0.5, settings=SMALL, seed=0)
    rows = provenance_rows([result.provenance])
    assert (rows["steer"], rows["budget"], rows["stop"]) == ("none", "none", "none")
    assert provenance_rows([{}]) == {}
