from types import SimpleNamespace

import pytest

from trimtab.engines.sampling_params import DEFAULT_TOP_K, SamplingParams
from trimtab.engines.vllm import served
from trimtab.engines.vllm.asked import Asked
from trimtab.engines.vllm.request_settings import TICKETS, asked_of, check_request_settings, parse_settings
from trimtab.errors import InvalidSetting
from trimtab.steering.notation import SteerText

EMBEDDED = served.Served("smollm2")
TOXICITY, SENTIMENT = SteerText("toxicity", None, -30.0), SteerText("sentiment", "positive", 20.0)


def params(given, **more):
    settings = {"extra_args": {"trimtab": given}, "temperature": 0.0, "skip_reading_prefix_cache": None}
    return SimpleNamespace(**{**settings, **more})


@pytest.mark.parametrize(
    ("given", "steers"),
    [
        ("toxicity=-30", (TOXICITY,)),
        ("toxicity=-30 sentiment:positive=+20", (TOXICITY, SENTIMENT)),
        ("toxicity=-30,sentiment:positive=20", (TOXICITY, SENTIMENT)),
        ('{"steer": "toxicity=-30"}', (TOXICITY,)),
        ('{"steer": ["toxicity=-30", "sentiment:positive=20"]}', (TOXICITY, SENTIMENT)),
        ({"steer": "toxicity=-30"}, (TOXICITY,)),
        ("", ()),
    ],
)
def test_a_steer_is_text_or_json(given, steers):
    found = parse_settings(given)
    assert (found.steers, found.draws, found.params.top_k) == (steers, False, DEFAULT_TOP_K)


def test_json_has_the_settings_of_the_candidates_and_the_seed():
    found = parse_settings('{"steer": "toxicity=-30", "top_k": 50, "max_kl": 0.5, "seed": 7, "temperature": 0.8}')
    assert found.draws
    assert (found.params.top_k, found.params.max_kl, found.params.seed, found.params.temperature) == (50, 0.5, 7, 0.8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("toxicity", "NAME="),
        ("toxicity=much", "NAME="),
        ('{"steer": ', "JSON"),
        ('{"beta": 3}', "'beta'"),
        ('{"steer": 3}', "steer=3"),
        ('{"top_k": -1}', "top_k"),
        (3, "a JSON object"),
        (["toxicity=-30"], "a JSON object"),
    ],
)
def test_other_forms_are_refused(given, message):
    with pytest.raises(InvalidSetting, match=message):
        parse_settings(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("kindness=3", "expected one of: sentiment, toxicity"),
        ("toxicity:rude=3", "the attribute 'rude', expected one of: toxic"),
        ("toxicity=1e-9", "it is rounded away"),
        ("toxicity=-30 toxicity:toxic=+30", r"the strengths -30 and \+30 for one attribute, which cancel each other"),
        ('{"steer": "toxicity=-30", "top_k": 10000000000000000000000}', "got top_k="),
        ('{"seed": 3, "steer": "toxicity=-30"}', "temperature=1.0, expected temperature=0"),
    ],
)
def test_a_request_is_checked_by_the_cards_alone(given, message):
    with pytest.raises(InvalidSetting, match=message):
        check_request_settings(params(given, temperature=1.0))


def test_a_request_that_a_ladder_steers_reads_nothing_from_the_prefix_cache():
    plain, steered = params(""), params("toxicity=-30")
    check_request_settings(plain)
    check_request_settings(steered)
    assert (plain.skip_reading_prefix_cache, steered.skip_reading_prefix_cache) == (None, True)


def test_requests_without_our_key_are_left_alone():
    plain = SimpleNamespace(extra_args=None)
    check_request_settings(plain)
    assert asked_of(plain, EMBEDDED) is None


def test_a_ticket_stands_for_what_the_engine_of_this_process_asks():
    asked = Asked(SamplingParams(seed=0))
    extra = TICKETS.put(asked)
    request = SimpleNamespace(extra_args=extra)
    check_request_settings(request)
    assert asked_of(request, EMBEDDED) is asked
    TICKETS.drop(extra)
    with pytest.raises(KeyError):
        asked_of(request, EMBEDDED)


def test_the_variable_names_what_requests_may_steer_by(monkeypatch):
    served.served_places.cache_clear()
    monkeypatch.setenv(served.VARIABLE, "calm=toxicity, sentiment")
    try:
        assert served.served_places() == {"calm": "toxicity", "sentiment": "sentiment"}
        served.served_places.cache_clear()
        monkeypatch.setenv(served.VARIABLE, "=toxicity")
        with pytest.raises(InvalidSetting, match="NAME=SOURCE"):
            served.served_places()
    finally:
        served.served_places.cache_clear()
