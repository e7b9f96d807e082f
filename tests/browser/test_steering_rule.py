"""The page's own arithmetic gives the numbers of Python's steering rule and the choices of the engine."""

import math
from functools import cache

import httpx
import pytest
import torch

from trimtab.steering.kl_budget import kl_to_base
from trimtab.steering.rule import Candidates, guidance, row_terms, steered_logits
from trimtab.steering.steer import Term

WEIGH = """async ([tokens, terms, temperature, key, budget = null]) => {
    const { reweigh, gumbelNoise, summary } = await import("/page/steering.js");
    const weighed = tokens.map((token, step) => {
        const ids = token.candidates.map((each) => each.token_id);
        return reweigh(token, terms, temperature, gumbelNoise(key, step, ids), budget);
    });
    return { weighed, summary: summary(tokens, weighed) };
}"""
STEERS = {"toward": (3.0, 0.0), "away": (-7.5, 0.0), "both": (4.0, -2.0), "none": (0.0, 0.0)}


@cache
def traced(site, betas, **fields):
    """A trace under two attributes of one reward, from the server; the second goes by the model's alias."""
    kind, calm = betas
    asked = {
        "prompt": "w1 w2 w3",
        "seed": 3,
        "max_tokens": 12,
        "trimtab": {"trace": True},
        "steer": {"mood": {"beta": kind, "attribute": "kind"}},
        "model": f"tiny+mood:calm={calm}",
        **fields,
    }
    done = httpx.post(f"{site}/v1/completions", json=asked, timeout=60)
    assert done.status_code == 200, done.text
    (choice,), about = done.json()["choices"], done.json()["trimtab"]
    return choice["trimtab"]["trace"], about["noise_keys"][0]


def terms_of(betas):
    return [
        {"name": f"mood:{name}", "beta": beta, "clamp": [0, 1]}
        for name, beta in zip(("kind", "calm"), betas, strict=True)
    ]


def ruled(token, betas, reward, budget=None):
    """log softmax z' of a token's candidates and their KL, by trimtab.steering."""
    base = torch.tensor([[each["base_logprob"] for each in token["candidates"]]], dtype=torch.float64)
    rewards = [[each["rewards"][f"mood:{name}"] for name in reward.attributes] for each in token["candidates"]]
    rewards = torch.tensor([rewards], dtype=torch.float64)
    ids = torch.tensor([[each["token_id"] for each in token["candidates"]]])
    candidates = Candidates(ids, base, whole=False)
    terms = row_terms([[Term(reward, a, abs(beta), beta < 0) for a, beta in enumerate(betas)]], torch.device("cpu"))
    added, most = guidance(rewards, terms, torch.zeros(1)), None if budget is None else torch.tensor([budget])
    steered, _ = steered_logits(candidates, added, most)
    return steered.log_softmax(-1)[0].tolist(), float(kl_to_base(steered, base))


@pytest.fixture(scope="module")
def page(browser, site):
    page = browser.new_page()
    page.goto(site)
    yield page
    page.close()


@pytest.mark.parametrize("budget", [None, 0.0, 1e-6, 0.05, 50.0])
@pytest.mark.parametrize("after", STEERS)
def test_probabilities_and_kl_are_those_of_the_rule(page, site, mood, after, budget):
    tokens, key = traced(site, (3.0, 0.0))
    found = page.evaluate(WEIGH, [tokens, terms_of(STEERS[after]), 1, key, budget])
    for token, weighed in zip(tokens, found["weighed"], strict=True):
        logprobs, kl = ruled(token, STEERS[after], mood.reward, budget)
        assert weighed["logprobs"] == pytest.approx(logprobs, abs=1e-6)
        assert weighed["kl"] == pytest.approx(kl, abs=1e-6)


@pytest.mark.parametrize(
    ("steer", "temperature"), [("toward", 0), ("toward", 1), ("away", 0.7), ("both", 2), ("none", 1), ("none", 0)]
)
def test_the_same_steer_gives_the_engines_own_choices(page, site, steer, temperature):
    tokens, key = traced(site, STEERS[steer], temperature=temperature)
    found = page.evaluate(WEIGH, [tokens, terms_of(STEERS[steer]), temperature, key])
    chosen = [token["candidates"][each["choice"]] for token, each in zip(tokens, found["weighed"], strict=True)]
    assert all(candidate["chosen"] for candidate in chosen)
    assert found["summary"]["diverges"] == -1
    for token, weighed in zip(tokens, found["weighed"], strict=True):
        assert weighed["logprobs"] == pytest.approx([each["logprob"] for each in token["candidates"]], abs=2e-5)
        assert weighed["kl"] == pytest.approx(token["kl"], abs=1e-4)


@pytest.mark.parametrize(
    "fields", [{"max_kl": 0.02}, {"top_p": 0.6}, {"max_kl": 0.3, "top_p": 0.9, "top_k": 9}], ids=str
)
def test_a_budget_and_a_nucleus_give_the_engines_own_choices_too(page, site, fields):
    tokens, key = traced(site, STEERS["toward"], **fields)
    found = page.evaluate(WEIGH, [tokens, terms_of(STEERS["toward"]), 1, key, fields.get("max_kl")])
    assert found["summary"]["diverges"] == -1
    for token, weighed in zip(tokens, found["weighed"], strict=True):
        assert weighed["logprobs"] == pytest.approx([each["logprob"] for each in token["candidates"]], abs=2e-5)
        assert weighed["kl"] <= fields.get("max_kl", math.inf) + 1e-6


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("after", ["away", "both", "none"])
def test_another_steer_diverges_where_the_page_says(page, site, after, temperature):
    tokens, key = traced(site, STEERS["toward"], temperature=temperature)
    others, _ = traced(site, STEERS[after], temperature=temperature)
    found = page.evaluate(WEIGH, [tokens, terms_of(STEERS[after]), temperature, key])
    differ = [one["token_id"] != other["token_id"] for one, other in zip(tokens, others, strict=False)]
    assert found["summary"]["diverges"] == differ.index(True)
    place = differ.index(True)
    chosen = tokens[place]["candidates"][found["weighed"][place]["choice"]]
    assert chosen["token_id"] == others[place]["token_id"]


def test_the_numbers_of_a_text(page, site):
    tokens, key = traced(site, (3.0, 0.0))
    found = page.evaluate(WEIGH, [tokens, terms_of((3.0, 0.0)), 1, key])["summary"]
    mean = math.fsum(token["base_logprob"] for token in tokens) / len(tokens)
    assert found["perplexity"] == pytest.approx(math.exp(-mean), rel=1e-9)
    assert found["kl"] == pytest.approx(math.fsum(token["kl"] for token in tokens) / len(tokens), abs=1e-4)
    flips = sum(best(token, "base_logprob") != best(token, "logprob") for token in tokens)
    assert found["flips"] == flips
    kind = math.fsum(token["rewards"]["mood:kind"] for token in tokens) / len(tokens)
    assert found["rewards"]["mood:kind"] == pytest.approx(kind, rel=1e-9)


def best(token, by):
    return max(token["candidates"], key=lambda each: each[by])["token_id"]
