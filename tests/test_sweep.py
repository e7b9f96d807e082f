"""A comparison of methods on a tiny model: resumed exactly, never mixed, computed again from its texts."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny import tiny_reward
from trimtab import errors
from trimtab.evaluation.judges import Judge
from trimtab.evaluation.plan import Plan
from trimtab.evaluation.plots import draw
from trimtab.evaluation.prompts import PromptSet
from trimtab.evaluation.readers import fluency_reader, profile_reader
from trimtab.evaluation.render import write_json, write_markdown
from trimtab.evaluation.report import measure, read_rows
from trimtab.evaluation.rows import RowFile, read_row
from trimtab.evaluation.settings import Grid, SweepSettings
from trimtab.evaluation.sweep import Sweep
from trimtab.evaluation.timing import Clock, keep_times, time_methods
from trimtab.lm import LanguageModel
from trimtab.rewind.judge import RewardJudge
from trimtab.rewind.settings import RewindSettings
from trimtab.steering.rule import top_candidates

SETTINGS = SweepSettings("tiny", samples=3, max_new_tokens=4, top_k=6, batch_size=2)
GRID = Grid(reward=["q", "v"], beta=[2.0, 5.0], best_of=[2])
SETS = [PromptSet("some", "up", ("w1 w2", "w3", "w4 w5 w6")), PromptSet("more", "down", ("w7 w8",))]


@pytest.fixture(scope="module")
def lm(llama):
    return LanguageModel(llama)


def sweep(lm, folder, settings=SETTINGS, grid=GRID, sets=SETS):
    rewards = {name: [(tiny_reward(lm.frozen, name), None)] for name in ("q", "v")}
    rewards["q+v"] = [rewards["q"][0], (rewards["v"][0][0], "calm")]
    plan = Plan(grid, settings, rewards, rewards["q"][0])
    return Sweep("prompts", plan.rows(sets), settings, folder)


def length(texts):
    return [min(1.0, len(text) / 20) for text in texts]


LENGTH = Judge("length", length)


@pytest.fixture(scope="module")
def whole(lm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert sweep(lm, folder).run(lm) == []
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


def test_every_method_answers_every_prompt(lm, whole):
    rows = read_rows(whole)
    methods = [(row.settings["method"], row.settings["beta"]) for row in rows if row.settings["prompts"] == "some"]
    steered = [(name, beta) for name in ("q", "q+v", "v") for beta in (2.0, 5.0)]
    assert methods == [("unsteered", None), ("top-k", 0.0), *steered, ("best of 2 by tiny-q", None)]
    for row in rows:
        assert [text["sample"] for text in row.flat] == [0, 1, 2] * len(row.texts)
        assert [of[0]["place"] for of in row.texts] == list(range(row.settings["prompts_count"]))


def test_the_texts_are_those_that_generate_writes(lm, whole):
    of = {row.name: row for row in read_rows(whole)}
    prompts = list(SETS[0].prompts)
    options = {"n": 3, "max_new_tokens": 4, "seed": 0}
    up, down = tiny_reward(lm.frozen, "q").toward(5.0), tiny_reward(lm.frozen, "q").away(5.0)
    for name, given, steer, top_k in (
        ("some--up--unsteered", prompts, None, None),
        ("some--up--top-k=0", prompts, None, 6),
        ("some--up--q=5", prompts, up, 6),
        ("more--down--q=5", ["w7 w8"], down, 6),
    ):
        expected = lm.generate(given, steer, top_k=top_k, **options)
        assert [[text["text"] for text in texts] for texts in of[name].texts] == [[g.text for g in e] for e in expected]
    drafts = lm.generate(prompts, top_k=6, **(options | {"n": 6}))
    best = of["some--up--best-of-2-by-tiny-q"]
    for texts, of_prompt in zip(best.texts, drafts, strict=True):
        for sample, text in enumerate(texts):
            pair = of_prompt[2 * sample : 2 * sample + 2]
            ids = [
                lm.frozen.encode(p.prompt) + [i for i in p.token_ids if i not in lm.frozen.eos_token_ids] for p in pair
            ]
            scores = [tiny_reward(lm.frozen, "q").score_ids([one]).values[0, -1, 0].item() for one in ids]
            assert text["text"] == pair[int(np.argmax(scores))].text


def test_searches_are_rows(lm, tmp_path):
    """Each sample a search with a seed of its own, unsteered and steered, and what all methods encode is counted."""
    reward = tiny_reward(lm.frozen, "q")
    grid = Grid(reward=["q"], beta=[5.0], rewind=["q"], rewind_beta=[5.0], rewind_alone=True)
    settings = replace(SETTINGS, samples=2, max_new_tokens=3)
    plan = Plan(grid, settings, {"q": [(reward, None)]}, None, [(reward, None)])
    Sweep("prompts", plan.rows(SETS[:1]), settings, tmp_path).run(lm)
    rows = {row.name: row for row in read_rows(tmp_path)}
    every, seeds = [prompt for prompt in SETS[0].prompts for _ in range(2)], [0, 1] * 3
    for name, steer in (("tiny-q", None), ("tiny-q=5", reward.toward(5.0))):
        judge = RewardJudge(reward.toward(1), alone=True)
        expected = lm.rewind(every, judge, steer, RewindSettings(max_new_tokens=3), seed=seeds)
        assert [text["text"] for text in rows[f"some--up--rewound-by-{name}"].flat] == [each.text for each in expected]
    encoded = {name: sum(text["encoded"] for text in row.flat) for name, row in rows.items()}
    lengths = [len(text["token_ids"]) for text in rows["some--up--top-k=0"].flat]
    assert encoded["some--up--top-k=0"] < sum(lengths) + 3 * len(lengths)
    assert encoded["some--up--rewound-by-tiny-q"] > 5 * encoded["some--up--top-k=0"]


def test_the_most_likely_text_is_a_row(lm, tmp_path):
    plan = Plan(Grid(greedy=True), SETTINGS, {}, None)
    Sweep("prompts", plan.rows(SETS[:1]), SETTINGS, tmp_path).run(lm)
    (row,) = (row for row in read_rows(tmp_path) if row.settings["method"] == "greedy")
    best = lm.generate(list(SETS[0].prompts), temperature=0, max_new_tokens=SETTINGS.max_new_tokens)
    expected = [generation.text for generation in best for _ in range(SETTINGS.samples)]
    assert [text["text"] for text in row.flat] == expected


@torch.inference_mode()
def test_what_is_recorded_of_a_token_equals_whole_forwards(lm, whole):
    (row,) = (row for row in read_rows(whole) if row.name == "some--up--q=5")
    reward = tiny_reward(lm.frozen, "q")
    seen = 0
    for text in row.flat:
        ids = lm.frozen.encode(text["prompt"])
        for place, token in enumerate(text["token_ids"]):
            logits = lm.frozen.model(torch.tensor([ids])).logits[:, -1].double()
            base = logits.log_softmax(-1)[0]
            kept = top_candidates(logits, 6, None).ids[0].tolist()
            state = reward.start()
            state.prefill(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
            said = state.rewards(torch.tensor([kept]))[0, :, 0].double().clamp(0, 1)
            steered = (logits[0, kept] + 5 * said).log_softmax(0)
            assert text["base_logprobs"][place] == pytest.approx(base[token].item(), abs=1e-4)
            assert text["kl"][place] == pytest.approx((steered.exp() * (steered - base[kept])).sum().item(), abs=1e-3)
            assert text["flips"][place] == int(steered.argmax() != base[kept].argmax())
            ids, seen = [*ids, token], seen + 1
    assert seen > 20


@pytest.mark.parametrize("torn", ["", '{"place": 1, "sam'])
@pytest.mark.parametrize("lines", [0, 1, 2, 7, 8, 10])
def test_a_killed_sweep_goes_on_to_the_same_bytes(lm, whole, tmp_path, lines, torn):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    target = folder / "some--up--q=5.jsonl"
    kept = target.read_text(encoding="utf-8").split("\n")[:lines]
    target.write_text("".join(line + "\n" for line in kept) + torn, encoding="utf-8")
    (folder / "some--up--v=5.jsonl").unlink()
    sweep(lm, folder).run(lm)
    assert contents(folder) == contents(whole)


def test_rows_of_other_settings_are_refused_and_left_alone(lm, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    before = contents(folder)
    for change in ({"seed": 1}, {"top_k": 5}, {"samples": 2}, {"max_new_tokens": 3}):
        with pytest.raises(errors.InvalidData, match="other settings"):
            sweep(lm, folder, replace(SETTINGS, **change)).run(lm)
    with pytest.raises(errors.InvalidData, match="prompts_digest"):
        sweep(lm, folder, sets=[PromptSet("some", "up", ("w1", "w3", "w4"))]).run(lm)
    assert contents(folder) == before
    with pytest.raises(errors.InvalidSetting, match="two rows named"):
        sweep(lm, folder, sets=[SETS[0], SETS[0]])


def test_a_retrained_reward_of_the_same_name_is_another_row(lm, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    retrained = {"q": [(tiny_reward(lm.frozen, "q", seed=5), None)]}
    rows = Plan(Grid(["q"], [2.0]), SETTINGS, retrained, None).rows(SETS)
    with pytest.raises(errors.InvalidData, match="rewards"):
        Sweep("prompts", rows, SETTINGS, folder).run(lm)


def test_a_row_that_another_process_writes_is_left_to_it(lm, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    target = folder / "some--up--q=5.jsonl"
    target.unlink()
    with RowFile(target, {}).claimed() as ours:
        assert ours
        assert [row.name for row in sweep(lm, folder).run(lm)] == ["some--up--q=5"]
        assert not target.exists()
    assert sweep(lm, folder).run(lm) == []
    assert contents(folder) == contents(whole)


def test_rows_that_do_not_belong_together_have_no_report(lm, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    target = folder / "some--up--q=5.jsonl"
    head, *rest = target.read_text(encoding="utf-8").split("\n")
    target.write_text("\n".join([head.replace('"seed": 0', '"seed": 1'), *rest]), encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="seed"):
        measure(folder, [LENGTH])
    target.write_text("\n".join(rest), encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="no settings"):
        measure(folder, [LENGTH])
    target.write_text("\n".join([head, "{damaged", *rest]), encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="damaged"):
        measure(folder, [LENGTH])
    with pytest.raises(errors.InvalidData, match="no rows"):
        measure(tmp_path, [LENGTH])
    with pytest.raises(errors.InvalidData, match="no such folder"):
        measure(tmp_path / "nothing", [LENGTH])


def as_json(report, folder):
    write_json(report, folder / "report.json")
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_a_report_is_computed_again_from_the_texts_alone(lm, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(whole, first)
    shutil.copytree(whole, second, ignore=shutil.ignore_patterns("readings"))
    found = as_json(measure(first, [LENGTH]), first)
    assert as_json(measure(second, [LENGTH]), second) == found
    assert as_json(measure(first, []), first) == found  # from the readings that were kept
    (row,) = (row for row in found["rows"] if (row["method"], row["beta"], row["prompts"]) == ("q", 5.0, "some"))
    texts = read_row(whole / "some--up--q=5.jsonl")[1]
    nats = [-x for text in texts for x in text["base_logprobs"]]
    assert row["figures"]["perplexity"]["value"] == pytest.approx(math.exp(sum(nats) / len(nats)))
    assert row["judges"]["length"]["mean"]["value"] == pytest.approx(np.mean(length([t["text"] for t in texts])))


def test_an_unfinished_row_is_reported_as_far_as_it_is(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    target = folder / "some--up--q=5.jsonl"
    lines = target.read_text(encoding="utf-8").split("\n")
    target.write_text("\n".join(lines[:8]) + "\n" + lines[8][:20], encoding="utf-8")  # two prompts and a bit
    write_markdown(measure(folder, [LENGTH]), folder / "report.md")
    assert "q (2 of 3 prompts)" in (folder / "report.md").read_text(encoding="utf-8")
    (again,) = (row for row in measure(folder, []).rows if row.row.name == "some--up--q=5")  # from what was kept
    assert again.control["length"]["failed"].over.sum() == 0
    target.write_text("\n".join(lines), encoding="utf-8")
    report = measure(folder, [LENGTH])
    assert all(row.control["length"]["failed"].over.sum() == 0 for row in report.rows)  # the rest was read too


def test_a_judge_that_fails_is_counted_and_named(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)

    def moody(texts):
        if any("w1" in text.split() for text in texts):
            raise ValueError("not w1")
        return [math.nan if "w2" in text.split() else 0.5 for text in texts]

    report = measure(folder, [Judge("moody", moody)])
    texts = [text["text"].split() for row in read_rows(folder) for text in row.flat]
    bad = sum("w1" in words or "w2" in words for words in texts)
    assert bad
    assert sum(row.control["moody"]["failed"].over.sum() for row in report.rows) == bad == len(report.faults["moody"])
    write_markdown(report, folder / "report.md")
    assert f"moody failed on {bad} texts" in (folder / "report.md").read_text(encoding="utf-8")


def test_a_judge_that_was_not_there_for_a_row_is_said_to_have_not_read_it(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    late = folder / "some--up--q=5.jsonl"
    late.rename(tmp_path / "late")
    measure(folder, [LENGTH])
    (tmp_path / "late").rename(late)
    write_markdown(measure(folder, []), folder / "report.md")
    assert "length has not read 9 texts" in (folder / "report.md").read_text(encoding="utf-8")
    write_markdown(measure(folder, [LENGTH]), folder / "report.md")
    assert "has not read" not in (folder / "report.md").read_text(encoding="utf-8")


def test_other_readers_read_what_they_say(lm, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    reward = tiny_reward(lm.frozen, "v", seed=4)
    readers = {"perplexity:tiny": fluency_reader(lm.frozen), "profile:tiny": profile_reader(reward, "calm")}
    report = measure(folder, [LENGTH], readers)
    for row in report.rows:
        nats, tokens = 0.0, 0
        for text in row.row.flat:
            ids, start = lm.frozen.encode(text["prompt"] + text["text"]), len(lm.frozen.encode(text["prompt"]))
            with torch.no_grad():
                logprobs = lm.frozen.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            nats -= sum(logprobs[place - 1, ids[place]].item() for place in range(start, len(ids)))
            tokens += len(ids) - start
        assert row.figures["perplexity:tiny"].value == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    first = report.rows[0].row.texts[0][0]
    rewards = reward.score_prefixes(first["prompt"] + first["text"])[0][:, 1]
    starts = len(lm.frozen.encode(first["prompt"]))
    kept = json.loads((folder / "readings" / f"{report.rows[0].row.name}--profile-tiny.json").read_text())
    assert kept["values"][0][-1] == pytest.approx(rewards[-1].item(), abs=1e-5)
    assert kept["values"][0][0] == pytest.approx(rewards[starts].item(), abs=1e-5)
    pictures = draw(report, folder)
    assert [path.name for path in pictures] == ["pareto-length.png", "profile.png"]
    assert all(path.stat().st_size > 10_000 for path in pictures)


def test_methods_are_timed_beside_top_k(lm, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    clock = Clock(lm.frozen.device)
    plan = Plan(GRID, SETTINGS, {"v": [(tiny_reward(lm.frozen, "v"), None)]}, (tiny_reward(lm.frozen, "q"), None))
    methods = plan.timed("up", clock.watch)
    assert [method.name for method in methods] == ["top-k", "unsteered", "v", "best of 2 by tiny-q"]
    times = time_methods(lm, methods, SETS[0], clock, rounds=2)
    assert times["top-k"]["ratio"] == 1.0
    assert times["top-k"]["reward_share"] == times["unsteered"]["reward_share"] == 0.0
    for name in ("v", "best of 2 by tiny-q"):  # how much is no test's matter: machines differ
        assert 0 < times[name]["reward_share"] < 1
        assert times[name]["ratio"] > 0
    keep_times(folder, times, lm, {"rounds": 2})
    report = measure(folder, [LENGTH])
    assert {r.row.settings["method"] for r in report.rows if r.time} == {
        "top-k",
        "unsteered",
        "v",
        "best of 2 by tiny-q",
    }
    assert "time.png" in [path.name for path in draw(report, folder)]


def test_watching_a_reward_changes_no_text(lm):
    steer = tiny_reward(lm.frozen, "q").toward(5.0) + tiny_reward(lm.frozen, "q", trunk="frozen", layers=3).toward(2.0)
    clock = Clock(lm.frozen.device)
    plain, watched = (lm.generate("w1 w2", s, n=4, seed=3, max_new_tokens=6) for s in (steer, clock.watch(steer)))
    assert [one.text for one in watched] == [one.text for one in plain]
    assert clock.seconds > 0
