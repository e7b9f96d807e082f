"""Schemathesis makes requests from the OpenAPI document, fitting and not: no 5xx, and every answer is as documented."""

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed: make test-clients")

import hypothesis
import schemathesis
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from trimtab.server.gate import ONE_MODEL, ROUTES

EXAMPLES = 60  # of each route that has a body, fitting its schema and not
SERVED = {"model": "tiny", "prompt": "w1 w2", "n": None, "max_tokens": 2, "max_completion_tokens": 2, "top_k": 20}
REWARDS = ["mood", "mood-rad"]
SEARCH_SECONDS = 0.2  # a request may fit its schema and ask for a search of minutes
MODES = [
    (path, mode)
    for path in ROUTES
    for mode in (GenerationMode if "completions" in path else [GenerationMode.POSITIVE])
    if path != "/"  # the page is no part of the document
]
DOCUMENTED = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")  # of schemathesis


@pytest.fixture(scope="module")
def operations(address):
    """The documented operations of the running server, by their paths."""
    document = schemathesis.openapi.from_url(f"{address}/openapi.json")
    return {found.ok().path: found.ok() for found in document.get_all_operations()}


def short(body):
    """A body whose search, if it asks for one, is cut short."""
    if isinstance(body, dict) and isinstance(body.get("rewind"), dict):
        return {**body, "rewind": {**body["rewind"], "max_seconds": SEARCH_SECONDS}}
    return body


def known(body):
    """A fitting body with the names and within the limits of this server, so that most such bodies are answered."""
    found = {name: SERVED.get(name, value) for name, value in body.items()}
    for name in {"steer", "best_of_reward"} & found.keys():
        found[name] = terms(found[name]) if isinstance(found[name], dict) else None
    if "messages" in found:
        found["messages"] = [{**each, "role": "user", "content": "w1"} for each in found["messages"]]
    return found


def terms(given):
    """The same strengths, of the rewards that there are."""
    plain = [{**each, "attribute": None, "method": None} if isinstance(each, dict) else each for each in given.values()]
    return dict(zip(REWARDS, plain, strict=False))


@pytest.mark.parametrize(("path", "mode"), MODES)
def test_no_request_is_answered_by_a_5xx_or_otherwise_than_documented(operations, path, mode):
    statuses = []

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operations[path].as_strategy(generation_mode=mode))
    def ask(case):
        fitting = mode is GenerationMode.POSITIVE and isinstance(case.body, dict)
        for body in [case.body, known(case.body)] if fitting else [case.body]:
            case.body = short(body)
            answer = case.call(timeout=30)
            statuses.append(answer.status_code)
            assert answer.status_code < 500, answer.text
            case.validate_response(answer, checks=DOCUMENTED)

    ask()
    assert (200 in statuses) == (mode is GenerationMode.POSITIVE and path != ONE_MODEL)  # any name fits; one is served


def test_every_documented_path_is_asked(operations):
    assert {path for path, _ in MODES} == set(operations)
