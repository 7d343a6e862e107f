"""One endpoint with answers of its provider and what they mean: what the contract of adapters runs over."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from onboarding_testing.accounts import NOW, request
from worker.core.model.endings import Kind, Problem
from worker.core.model.sessions import Session, SessionRequest
from worker.providers.contract import HttpAnswer, Provider

HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def answer(status: int, body: Any = None, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@dataclass(frozen=True)
class Bad:
    """An answer that opens no session, with the expected kind, and the provider's code and text that must be kept."""

    answer: HttpAnswer
    kind: Kind
    code: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class ProviderCase:
    """One endpoint, with answers of its provider and what they mean. `make` builds the adapter of an account with the
    credentials of `onboarding_testing.accounts`; its arguments replace the account's settings.

    `bad` has an answer for each documented error. `of_provider`: the answers are a provider's, not those of a fake.

    `call` is the method and the path of the call that opens a session, and `listing` those of the look-up, "" if there
    is none: "POST /v1/sessions". Copy both from the provider's page, not from the adapter.
    """

    make: Callable[..., Provider]
    opened: HttpAnswer
    token: str
    reference: str
    lives: timedelta  # from `accounts.NOW`, with `opened`
    bad: Mapping[str, Bad]
    broken_after_sending: Kind
    repeatable: bool
    asked: SessionRequest = field(default_factory=request)
    reissued_early: bool = False  # a new session makes sense before the old one has ended
    provider: str = ""  # the name of its entry point; "" for a fake
    call: str = ""
    listing: str = ""

    @property
    def of_provider(self) -> bool:
        return bool(self.provider)


def read(endpoint: ProviderCase, got: HttpAnswer, **settings: Any) -> Session | Problem:
    return endpoint.make(**settings).read(got, endpoint.asked, issued_at=NOW, now=NOW + timedelta(seconds=1))


def opened(endpoint: ProviderCase) -> Session:
    session = read(endpoint, endpoint.opened)
    assert isinstance(session, Session)
    return session


def problem_in(endpoint: ProviderCase, got: HttpAnswer) -> Problem:
    problem = read(endpoint, got)
    assert isinstance(problem, Problem)
    return problem
