"""Calibration, against scikit-learn, closed forms and data that are made to be wrong in a known way."""

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from tiny import tiny_reward
from trimtab import errors
from trimtab.data.tables import LabelledText
from trimtab.training.calibration import LabelledSource, Line, brier_line, calibrate, platt_line, share_figures

WORDS = [f"w{i} w{(7 * i) % 60} w{(3 * i) % 60}" for i in range(60)]


def labelled(reward, slope, shift, seed=0, column=0):
    """Texts whose labels are high as often as a line through their rewards says."""
    scores = reward.score(WORDS)[:, column].double().numpy()
    scores = (scores - scores.mean()) / scores.std()
    shares = (slope * scores + shift).clip(0, 1)
    draws = np.random.default_rng(seed).random((20, len(WORDS))) < shares
    return [LabelledText(text, (float(high),)) for row in draws for text, high in zip(WORDS, row, strict=True)]


@pytest.mark.parametrize(("head", "trunk"), [("q", "lora"), ("v", "lora"), ("q", "ladder")])
def test_a_calibrated_reward_gives_shares_and_steers_as_before(llama, head, trunk):
    reward = tiny_reward(llama, head, trunk, attributes=("kind",))
    before = reward.score(WORDS)
    assert torch.equal(reward.shares(WORDS), before.clamp(0, 1))
    heard: list[tuple[int, int]] = []
    source = LabelledSource("made", labelled(reward, 0.25, 0.5), "abc")
    calibrated = calibrate(reward, [source], progress=lambda *counts: heard.append(counts))
    assert heard[-1] == (1200, 1200)
    assert torch.equal(calibrated.score(WORDS), before)
    assert calibrated.fingerprint == reward.fingerprint
    before_it, after = calibrated.card.quality["sources:kind"]
    assert (before_it["when"], after["when"]) == ("before", "after")
    assert after["calibration error"] < 0.08 < before_it["calibration error"]
    assert after["Brier score"] < before_it["Brier score"]
    ((scale, shift),) = calibrated.card.calibration
    torch.testing.assert_close(calibrated.shares(WORDS), (before * scale + shift).clamp(0, 1))
    tried = calibrated.card.provenance["calibration"]["kind"]
    assert (tried["kept"], tried["scale"], tried["shift"]) == (True, scale, shift)
    assert tried["sources"] == [{"data": "made", "texts": 1200, "sha256": "abc"}]


def test_a_line_that_does_not_help_is_left_out(llama):
    """The labels are the rewards, so no line is better than none."""
    reward = tiny_reward(llama, "q", attributes=("kind",))
    labels = reward.score(WORDS)[:, 0].clamp(0, 1).tolist()
    source = LabelledSource("made", [LabelledText(text, (label,)) for text, label in zip(WORDS, labels, strict=True)])
    calibrated = calibrate(reward, [source])
    assert calibrated.card.calibration == ()
    assert torch.equal(calibrated.shares(WORDS), reward.shares(WORDS))
    assert not calibrated.card.provenance["calibration"]["kind"]["kept"]
    before, tried = calibrated.card.quality["sources:kind"]
    assert (before["when"], tried["when"]) == ("before", "tried")
    assert before["Brier score"] < 1e-10
    assert before["Brier score"] <= tried["Brier score"]
    moved = [LabelledText(row.text, (row.labels[0] / 2,)) for row in source.rows]
    once = calibrate(calibrated, [LabelledSource("moved", moved)])
    assert once.card.calibration != ()
    assert calibrate(once, [source]).card.calibration == ()


def test_a_reward_with_a_sigmoid_is_calibrated_in_log_odds(llama):
    reward = tiny_reward(llama, "q", link="sigmoid", attributes=("kind",))
    calibrated = calibrate(reward, [LabelledSource("made", labelled(reward, 0.2, 0.3))])
    ((scale, shift),) = calibrated.card.calibration
    expected = torch.sigmoid(torch.logit(reward.score(WORDS)) * scale + shift)
    torch.testing.assert_close(calibrated.shares(WORDS), expected, atol=1e-5, rtol=1e-5)
    assert calibrated.card.quality["sources:kind"][1]["calibration error"] < 0.1


def test_attributes_are_calibrated_one_after_another(llama):
    """Labels of one attribute change its share alone, and another's are added to the card later."""
    reward = tiny_reward(llama, "q", attributes=("kind", "calm"))
    before = reward.score(WORDS)
    of_kind, of_calm = (LabelledSource(f"{column}", labelled(reward, 0.25, 0.5, column=column)) for column in (0, 1))
    once = calibrate(reward, [of_calm], attributes=["calm"])
    assert once.card.calibration[0] == (1, 0)
    torch.testing.assert_close(once.shares(WORDS)[:, 0], before[:, 0].clamp(0, 1))
    scale, shift = once.card.calibration[1]
    torch.testing.assert_close(once.shares(WORDS)[:, 1], (before[:, 1] * scale + shift).clamp(0, 1))
    assert once.card.provenance["calibration"]["calm"]["sources"][0]["data"] == "1"
    twice = calibrate(once, [of_kind], attributes=["kind"])
    assert twice.card.calibration[1] == (scale, shift)
    assert twice.card.calibration[0] == calibrate(reward, [of_kind], attributes=["kind"]).card.calibration[0] != (1, 0)
    assert twice.card.quality["sources:calm"] == once.card.quality["sources:calm"]
    assert twice.card.provenance["calibration"].keys() == {"calm", "kind"}
    with pytest.raises(errors.TrimtabError, match="'grim'"):
        calibrate(reward, [of_kind], attributes=["grim"])


def test_the_line_is_near_the_best_monotone_map():
    """The rewards are a line of the shares, so isotonic regression, which may take any monotone map, gains little."""
    draw = np.random.default_rng(0)
    shares = draw.random(4000)
    labels, rewards = (draw.random(4000) < shares).astype(float), 0.3 * shares + 0.6
    line = brier_line(rewards, labels, np.ones(4000))
    assert (line.scale, line.shift) == (pytest.approx(1 / 0.3, rel=0.05), pytest.approx(-2, rel=0.05))
    best = IsotonicRegression(out_of_bounds="clip").fit_transform(rewards, labels)
    ours = (line.scale * rewards + line.shift).clip(0, 1)
    assert np.mean((ours - labels) ** 2) < np.mean((best - labels) ** 2) + 0.01


def test_sources_have_the_same_weight():
    """One text of a small source weighs as much as three of a source that is three times as large."""
    rewards = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    labels = np.array([0.4, 0.4, 0.0, 0.8, 0.0, 0.8, 0.0, 0.8])
    weighted = brier_line(rewards, labels, np.array([0.5, 0.5, *[1 / 6] * 6]))
    assert weighted == (pytest.approx(0.4, abs=1e-3), pytest.approx(0.2, abs=1e-3))


def test_platts_line_recovers_log_odds():
    draw = np.random.default_rng(0)
    answers = draw.normal(size=20_000)
    labels = (draw.random(20_000) < 1 / (1 + np.exp(-(2 * answers - 1)))).astype(float)
    line = platt_line(answers, labels, np.ones(20_000))
    assert line == (pytest.approx(2, rel=0.05), pytest.approx(-1, rel=0.05))
    assert isinstance(line, Line)


def test_figures_by_hand():
    found = share_figures(np.array([0.25, 0.25, 0.75, 1.5]), np.array([0.0, 1.0, 1.0, 1.0]))
    assert found["accuracy"] == 0.75
    assert found["Brier score"] == pytest.approx((0.0625 + 0.5625 + 0.0625) / 4)
    assert found["calibration error"] == pytest.approx((2 * 0.25 + 0.25) / 4)


def test_what_cannot_be_calibrated_is_refused(llama):
    reward = tiny_reward(llama, "q", attributes=("kind",))
    good = LabelledSource("made", labelled(reward, 0.25, 0.5))
    with pytest.raises(errors.InvalidSetting, match="got no labelled texts"):
        calibrate(reward, [])
    with pytest.raises(errors.InvalidData, match=r"got 1 text from 'few', expected two or more"):
        calibrate(reward, [LabelledSource("few", good.rows[:1])])
    with pytest.raises(errors.InvalidData, match="ranks the texts backwards for 'kind'"):
        calibrate(reward, [LabelledSource("back", labelled(reward, -0.25, 0.5))])
    with pytest.raises(errors.InvalidData, match="labels of 'kind' that are all the same"):
        calibrate(reward, [LabelledSource("one", [LabelledText(text, (1.0,)) for text in WORDS])])
    short = LabelledSource("short", [LabelledText(f"w{i}", (float(i % 2),)) for i in range(40)])
    with pytest.raises(errors.InvalidData, match="scores no text of 'short'"):
        calibrate(tiny_reward(llama, "q", "ladder", bos_token_id=None, attributes=("kind",)), [short, good])
    with pytest.raises(errors.InvalidSetting, match="of differences"):
        calibrate(tiny_reward(llama, "q", baseline=False), [good])
    with pytest.raises(errors.InvalidData, match="labels on one side of ½"):
        platt_line(np.zeros(3), np.ones(3), np.ones(3))
