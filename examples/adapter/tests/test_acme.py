"""The contract suite over this adapter. What is this provider's alone goes below it."""

import json
from datetime import timedelta

from onboarding_acme import AcmeIdv

from onboarding_testing.accounts import PlainAccount, PlainSecret, request
from onboarding_testing.provider_contract import *  # noqa: F403 -- the suite
from onboarding_testing.provider_contract import Bad, ProviderCase, answer
from onboarding_worker.core.model.endings import Kind

OPENED = {
    "id": "s-7f31",
    "session": "tk_5d0e8b31Kx9wTq4Zr7nB",
    "link": "https://verify.acme-idv.example/s/tk_5d0e8b31Kx9wTq4Zr7nB",
    "expires_at": "2026-11-27T08:00:00Z",
}


def acme(**settings: object) -> AcmeIdv:
    account = {
        "name": "acme",
        "provider": "acme-idv",
        "base_url": "https://api.acme-idv.example",
        "lifetime": timedelta(days=7),
        "link_hosts": ("verify.acme-idv.example",),
    }
    return AcmeIdv(PlainAccount(**{**account, **settings}))


def refused(status: int, code: str, title: str = "") -> object:
    return answer(status, {"code": code, "title": title})


CASES = {
    "acme-idv": ProviderCase(
        make=acme,
        opened=answer(201, OPENED),
        token=OPENED["session"],
        reference=OPENED["id"],
        lives=timedelta(days=7),
        bad={
            "bad key": Bad(refused(401, "key_invalid", "No such key."), Kind.AUTH, "key_invalid", "No such key."),
            "no balance": Bad(refused(402, "balance_empty"), Kind.OUT_OF_CREDIT, "balance_empty"),
            "an open session": Bad(refused(409, "session_open"), Kind.CONFLICT, "session_open"),
            "too many": Bad(refused(429, "slow_down"), Kind.RATE_LIMITED),
            "bad value": Bad(refused(422, "invalid", "ttl is too long"), Kind.BAD_INPUT, None, "ttl is too long"),
            "busy": Bad(answer(503), Kind.TRANSIENT),
            "a page of HTML": Bad(answer(200, b"<html>"), Kind.UNKNOWN, None, "not JSON"),
            "an error of theirs": Bad(answer(500), Kind.UNKNOWN),
            "a redirect": Bad(answer(302, location="https://acme-idv.example/"), Kind.AUTH),
            "no link": Bad(answer(201, {**OPENED, "link": ""}), Kind.UNKNOWN, None, "link in the answer"),
        },
        broken_after_sending=Kind.UNKNOWN,
        repeatable=False,
        provider="acme-idv",
        call="POST /v1/sessions",
    )
}


def test_a_row_may_ask_for_a_lifetime_of_its_own():
    assert json.loads(acme().build(request({"ttl": 3600})).body)["ttl"] == 3600
    assert acme().lifetime_with({"ttl": 3600}) == timedelta(hours=1)


def test_a_replaced_key_is_used():
    provider = acme(api_key=PlainSecret("old", next_values=["new"]))
    provider.reload_credentials()
    assert provider.build(request()).headers["Authorization"] == "Bearer new"
