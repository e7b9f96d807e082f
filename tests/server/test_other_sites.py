"""Pages of other sites may call the server only if it names them."""

import httpx
import pytest

from running_server import KEY, running
from trimtab.errors import InvalidSetting
from trimtab.server.app import create_app
from trimtab.server.server_settings import ServerSettings

FRIEND, STRANGER = "https://friend.example", "https://stranger.example"
WRONG_ORIGINS = ("http://[x", "https://", "https://a b", "https://*.example.org", "http://h:99999", "null", "*", "")
ALLOWED = "access-control-allow-origin"


@pytest.fixture(scope="module")
def open_to_a_friend(chatting):
    app = create_app(chatting, "tiny", [], ServerSettings(cors_origin=[FRIEND]), api_key=KEY)
    with running(app) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:80", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("LOCALHOST", 200), ("evil.example:8000", 403)],
)
def test_a_name_that_leads_here_is_no_way_in_without_a_key(http, host, status):
    done = http.get("/v1/rewards", headers={"Host": host})
    assert done.status_code == status
    if status == 403:
        assert "got the host 'evil.example', expected 127.0.0.1 or ::1 or localhost" in done.json()["error"]["message"]


def test_with_a_key_any_name_may_be_used(open_to_a_friend):
    headers = {"Host": "trimtab.example", "Authorization": f"Bearer {KEY}"}
    assert open_to_a_friend.get("/v1/models", headers=headers).status_code == 200


def test_openais_client_in_a_friends_page_may_send_its_headers(open_to_a_friend):
    asked = {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,content-type,x-stainless-lang,x-stainless-retry-count"
    assert open_to_a_friend.options("/v1/chat/completions", headers=asked).status_code == 200
    asked["Origin"] = STRANGER
    assert open_to_a_friend.options("/v1/chat/completions", headers=asked).status_code == 400


def test_a_body_without_a_type_is_not_read(http):
    """A page of another site may send one without asking first."""
    body = b'{"prompt": "w1", "max_tokens": 1}'
    assert http.post("/v1/completions", content=body).status_code == 400
    assert http.post("/v1/completions", content=body, headers={"Content-Type": "application/json"}).status_code == 200


def test_a_server_for_other_machines_has_any_name():
    assert ServerSettings(host="0.0.0.0").own_names == frozenset()
    assert "friend.example" in ServerSettings(cors_origin=[FRIEND]).own_names


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "https://example.org", "https://my_app.example.org:8443", "http://[::1]:8000"],
)
def test_an_origin_as_browsers_send_it_is_taken(origin):
    assert ServerSettings(cors_origin=[FRIEND, origin]).cors_origin[1] == origin


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://example.org/", "https://example.org"),
        ("https://example.org/app?x=1#y", "https://example.org"),
        ("HTTPS://Example.ORG", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("https://me:secret@example.org", "https://example.org"),
        ("http://[2001:DB8::1]:8080/", r"http://\[2001:db8::1\]:8080"),
        *((wrong, "an origin, such as https://example.org") for wrong in WRONG_ORIGINS),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_with_the_one_that_was_meant(given, expected):
    with pytest.raises(InvalidSetting, match=f"^got cors_origin=.*, expected {expected}$"):
        ServerSettings(cors_origin=[FRIEND, given])


def test_by_default_no_site_may_call(http):
    assert ALLOWED not in http.get("/v1/models", headers={"Origin": FRIEND}).headers


@pytest.mark.parametrize(("origin", "status", "allowed"), [(FRIEND, 200, FRIEND), (STRANGER, 400, None)])
def test_a_browser_that_asks_first_is_answered_without_a_key(open_to_a_friend, origin, status, allowed):
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    done = open_to_a_friend.options("/v1/completions", headers={"Origin": origin, **headers})
    assert (done.status_code, done.headers.get(ALLOWED)) == (status, allowed)


@pytest.mark.parametrize("key", [KEY, "wrong"])
def test_a_named_site_can_read_answers_and_refusals(open_to_a_friend, key):
    headers = {"Authorization": f"Bearer {key}"}
    for origin, allowed in ((FRIEND, FRIEND), (STRANGER, None)):
        done = open_to_a_friend.get("/v1/models", headers={"Origin": origin, **headers})
        assert done.status_code == (200 if key == KEY else 401)
        assert done.headers.get(ALLOWED) == allowed
