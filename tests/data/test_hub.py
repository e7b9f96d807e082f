import socket
import time

import pytest

from trimtab.data import hub


def seconds_of_failure(name: str, match: str) -> float:
    start = time.perf_counter()
    with pytest.raises(hub.HubFault, match=match):
        hub.fetch(name, ["*.json"])
    return time.perf_counter() - start


def test_a_repository_is_downloaded_and_found_again_offline(fake_hub, monkeypatch):
    folder = hub.fetch("good/one", ["*.json"])
    assert (folder / "config.json").read_text() == "{}"
    monkeypatch.setenv("TRIMTAB_OFFLINE", "1")
    assert hub.fetch("good/one", ["*.json"]) == folder


def test_a_repository_that_does_not_exist_is_named_as_such(fake_hub):
    assert seconds_of_failure("no/such", "no such repository") < 2


def test_a_hub_that_refuses_connections_fails_at_once(online):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    online(port)
    assert seconds_of_failure("good/one", f"cannot reach http://127.0.0.1:{port}") < 2


def test_a_hub_that_never_answers_is_given_up_and_not_asked_again(online, monkeypatch):
    monkeypatch.setattr(hub, "LOOK_UP_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        online(silent.getsockname()[1])
        assert seconds_of_failure("good/one", "does not answer") < 3
        assert seconds_of_failure("other/one", "does not answer") < 0.4


def test_the_limits_stay_below_ten_seconds():
    assert hub.ANSWER_SECONDS < hub.LOOK_UP_SECONDS < 9


@pytest.mark.parametrize("variable", hub.OFFLINE_VARIABLES)
def test_offline_fails_at_once_and_names_the_variable(online, monkeypatch, variable):
    monkeypatch.setenv(variable, "true")
    assert seconds_of_failure("good/one", variable) < 1


def test_offline_is_off_by_the_usual_words(monkeypatch):
    for name in hub.OFFLINE_VARIABLES:
        monkeypatch.setenv(name, "False")
    assert hub.is_offline() == ""


@pytest.mark.parametrize("name", ["", "a b", "x/y/z", "../up", "/absolute/path", "a\0b", "nul--dash", "x" * 500])
def test_a_name_that_no_repository_can_have_is_refused_without_asking(name, monkeypatch):
    monkeypatch.setattr(hub, "_look_up", lambda name: pytest.fail("the Hub was asked"))
    with pytest.raises(hub.HubFault, match="no Hub id"):
        hub.fetch(name, ["*.json"])


def test_a_near_miss_is_suggested():
    assert hub.suggestion("smolm2", ["smollm2"]) == "; did you mean 'smollm2'?"
    assert hub.suggestion("Sentimnt", ["toxicity", "sentiment"]) == "; did you mean 'sentiment'?"
    assert hub.suggestion("gpt2", ["smollm2"]) == ""


def test_a_reason_is_one_line_of_whole_words():
    reason = hub.reason_of(ValueError("word\n" * 100))
    assert "\n" not in reason
    assert set(reason.split()) == {"word", "…"}
    assert len(reason) <= hub.REASON_WIDTH
    assert hub.reason_of(KeyError()) == "KeyError"
