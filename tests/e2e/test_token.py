"""`POST /api/v1/auth/token` as REST callers meet it."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from tests.e2e.conftest import Running, Start

pytestmark = pytest.mark.e2e

SCOPES = ["admin", "analysis:read", "market:read", "portfolio:read", "portfolio:write"]


@pytest.fixture(scope="module")
def up(start: Start) -> Running:
    return start("up")


def ask(up: Running, body: str | None, **headers: str) -> requests.Response:
    return requests.post(
        f"{up.web}/api/v1/auth/token",
        data=body,
        headers={"X-API-Key": up.key, "Content-Type": "application/json"} | headers,
        timeout=20,
    )


@pytest.mark.parametrize("body", [None, "", "{}", '{"scopes": []}', ' { "scopes" : null } '])
def test_a_token_has_all_scopes_where_none_is_named(up: Running, body: str | None) -> None:
    """Without a body, or without names in it, the token has the key's scopes and the usual life."""
    answer = ask(up, body)
    token: dict[str, Any] = answer.json()
    assert answer.status_code == 200
    assert (token["scopes"], token["token_type"], token["expires_in"]) == (SCOPES, "Bearer", 900)
    assert answer.headers["cache-control"] == "no-store"


def test_a_token_may_be_narrower_and_shorter(up: Running) -> None:
    """The named scopes and seconds are what it has, whichever way the names are written."""
    for name in ("lifetime_seconds", "lifetimeSeconds"):
        token = ask(up, f'{{"scopes": ["market:read"], "{name}": 60}}').json()
        assert (token["scopes"], token["expires_in"]) == (["market:read"], 60)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"scope": ["market:read"]}', "scope"),
        ('{"lifetime": 5}', "lifetime"),
        ('{"scopes": ["market:read"], "x": {"scopes": 1}}', "x"),
        ('{"scopes": ["market:read"], "scopes": []}', "scopes"),
        ('{"a b": 1}', "body"),
        ('{"sc\\u006fpes": []}', "body"),
        ('{"a\\\\\\"b": 1, "scope": "}"}', "body"),
        ('{"scopes": ["market:reed"]}', "scopes[0]"),
        ('{"lifetime_seconds": 0}', "lifetime_seconds"),
    ],
)
def test_what_a_token_request_does_not_have_is_refused(up: Running, body: str, field: str) -> None:
    """A misspelt, repeated or unknown name is REQUEST_001 that names it: without it, more would be given than asked."""
    answer = ask(up, body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["x-error-code"] == "REQUEST_001"
    violations = [one for detail in answer.json()["details"] for one in detail.get("field_violations", ())]
    assert [one["field"] for one in violations] == [field]


@pytest.mark.parametrize(
    "text", ['"scope": 1', '{"a": "scope\\": 1"}', '[{"scope": 1}]', "{" * 200, '{"scopes": "', ""]
)
def test_a_callers_own_word_on_the_fields_counts_for_nothing(up: Running, text: str) -> None:
    """The header that Envoy states the names in is removed where a caller sends it, and odd bodies break nothing."""
    assert ask(up, "{}", **{"x-envoy-body-fields": "nonsense"}).status_code == 200
    assert ask(up, text).status_code in {200, 400}
