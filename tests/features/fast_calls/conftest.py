"""The tests of the HTTP layer, once more with fast calls: none goes through ClientSession."""

import aiohttp
import pytest

from onboarding_worker.features.fast_calls.exchange import FastCalls
from onboarding_worker.http.client import Http
from tests.http.conftest import http, pytest_asyncio_loop_factories, self_signed, session

__all__ = ["http", "pytest_asyncio_loop_factories", "self_signed", "session"]


@pytest.fixture
def making(session, monkeypatch):
    monkeypatch.delattr(aiohttp.ClientSession, "request")
    return lambda trust: Http(session, trust, FastCalls)
