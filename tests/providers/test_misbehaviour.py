"""Undocumented behaviour of providers, over a real connection: down, HTML, half a body, 10 MB, a redirect,
a link to a strange host, an expiry in the past, a token of the wrong type. Each is classified, and bounded.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_sandbox.faults import Fault
from onboarding_testing.accounts import AOIFE, HTML, NOW, PlainSecret, shown_of
from onboarding_testing.provider_contract import ProviderCase
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import LARGEST_ANSWER
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.providers.contract import Broken
from tests.providers import endpoints as tables
from tests.providers.recording import CASES
from tests.providers.test_against_sandbox import results

REAL = {name: endpoint for name, endpoint in tables.CASES.items() if name != "fake"}
endpoints = pytest.mark.parametrize("endpoint", REAL.values(), ids=REAL)
LONG = timedelta(seconds=10)
STRANGE = "https://phishing.example/verify?t=1"
SANDBOX_KEYS = {"api_key": PlainSecret("sandbox-key"), "api_secret": PlainSecret("sandbox-secret")}
CREATED = {case.endpoint: case for case in CASES if case.name in ("created-200", "created-201")}


@dataclass
class FarSide:
    """A server with given answers. It counts its requests."""

    url: str
    calls: int = 0
    followed: int = 0
    written: int = 0  # bytes of the last answer that the caller read


@asynccontextmanager
async def far_side(answer):
    """A running server. `answer` gets the server and the request."""
    opened = FarSide("")

    async def handle(request):
        opened.calls += 1
        return await answer(opened, request)

    async def elsewhere(request):
        opened.followed += 1
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/elsewhere", elsewhere)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    opened.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield opened
    finally:
        await runner.cleanup()


async def asked(endpoint: ProviderCase, base_url: str, **settings) -> Session | Problem:
    provider = endpoint.make(base_url=base_url, **settings)
    async with open_http_session() as session:
        got = await Http(session).call(provider.build(endpoint.asked), timeout=LONG)
    if isinstance(got, Broken):
        return provider.broken(got, endpoint.asked)
    return provider.read(got, endpoint.asked, issued_at=NOW, now=NOW)


def as_problem(result, kind: Kind) -> Problem:
    assert isinstance(result, Problem)
    assert result.kind is kind
    assert len(result.detail) < 500
    assert not [value for value in shown_of(AOIFE) if value in result.detail]
    return result


async def test_a_provider_that_is_down_has_surely_done_nothing(subtests):
    for what, endpoint in REAL.items():
        with subtests.test(what=what):
            server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            server.close()
            await server.wait_closed()

            as_problem(await asked(endpoint, f"http://127.0.0.1:{port}"), Kind.TRANSIENT)


@endpoints
@pytest.mark.parametrize("status", [200, 201])
async def test_a_page_of_html_is_an_unknown_outcome_if_repeating_costs(endpoint, status):
    async def page(_, request):
        return web.Response(status=status, body=HTML, content_type="text/html")

    async with far_side(page) as server:
        problem = as_problem(await asked(endpoint, server.url), endpoint.broken_after_sending)

    assert "not JSON" in problem.detail
    assert "Bad Gateway" not in problem.detail


@endpoints
async def test_half_a_body_is_an_unknown_outcome_if_repeating_costs(endpoint):
    async def half(_, request):
        whole = endpoint.opened.body
        answer = web.StreamResponse(status=endpoint.opened.status, headers={"Content-Length": str(len(whole))})
        await answer.prepare(request)
        await answer.write(whole[: len(whole) // 2])
        request.transport.close()
        return answer

    async with far_side(half) as server:
        as_problem(await asked(endpoint, server.url), endpoint.broken_after_sending)


@endpoints
async def test_ten_megabytes_are_not_read_to_their_end(endpoint):
    async def huge(opened, request):
        answer = web.StreamResponse(status=endpoint.opened.status)
        await answer.prepare(request)
        try:
            for _ in range(160):
                await answer.write(b"[" * 65536)
                opened.written += 65536
        except ConnectionError:
            answer.force_close()
        return answer

    async with far_side(huge) as server:
        problem = as_problem(await asked(endpoint, server.url), endpoint.broken_after_sending)

    assert str(LARGEST_ANSWER) in problem.detail
    assert server.written < 160 * 65536


@endpoints
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_stops_the_account_and_is_not_followed(endpoint, status):
    async def moved(_, request):
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with far_side(moved) as server:
        as_problem(await asked(endpoint, server.url), Kind.AUTH)

    assert (server.calls, server.followed) == (1, 0)


def spoilt(endpoint: ProviderCase, **fields) -> Session | Problem:
    """The adapter's reading of its opening answer with these fields changed, if the answer has them."""
    body = json.loads(endpoint.opened.body)
    body |= {name: value for name, value in fields.items() if name in body}
    got = replace(endpoint.opened, body=json.dumps(body).encode())
    return endpoint.make().read(got, endpoint.asked, issued_at=NOW, now=NOW)


@endpoints
def test_a_link_to_a_strange_host_is_never_what_a_customer_gets(endpoint):
    session = spoilt(
        endpoint, redirectUrl=STRANGE, sessionUrl=STRANGE, url=STRANGE, vendorParameters={"tokenURL": STRANGE}
    )

    if isinstance(session, Problem):
        assert "link_hosts" in session.detail
        return
    assert "phishing" not in session.link
    assert urlsplit(session.link).hostname in ("ivs.idenfy.com", "kyb.ui.idenfy.com", "verify.example.com")


PAST = {
    "expiration": "2020-01-01T00:00:00Z",
    "tokenExpiry": "2020-01-01T00:00:00Z",
    "urlExpiry": "2020-01-01T00:00:00Z",
}


def test_a_session_that_has_expired_already_is_not_one_whose_link_is_sent(subtests):
    """If sessions cost money, the row is held. If not, the session's expiry shows that it is stale."""
    for what, endpoint in REAL.items():
        with subtests.test(what=what):
            result = spoilt(endpoint, **PAST)

            if isinstance(result, Problem):
                assert "already expired" in as_problem(result, Kind.UNKNOWN).detail
            elif "expiryTime" not in json.loads(endpoint.opened.body):  # a duration is never past
                assert result.expires_at < NOW


@pytest.mark.parametrize("name", ["idenfy-kyc", "idenfy-kyc-openapi", "idenfy-kyb"])
def test_an_answer_about_another_customer_opens_no_session(name):
    """As from a proxy that mixes answers up: the customer would get the link of another one."""
    result = spoilt(tables.CASES[name], clientId="someone-else")

    assert "clientId in the answer is not the one that was sent" in as_problem(result, Kind.UNKNOWN).detail
    assert "someone-else" not in result.detail


async def test_the_sandbox_does_each_of_these_on_demand(subtests):
    for kind in ["past-expiry", "strange-link", "wrong-token"]:
        for what, case in CREATED.items():
            with subtests.test(what=what, kind=kind):
                (result,) = await results(case, faults=(Fault(kind, 1.0),))

                if kind == "strange-link":
                    assert isinstance(result, Session)
                    assert "phishing" not in result.link
                elif kind == "wrong-token":
                    assert isinstance(result, Problem)
                elif isinstance(result, Session) and case.endpoint != "idenfy-kyc":
                    assert result.expires_at < NOW


async def test_what_the_sandbox_spoils_is_opened_and_in_its_log():
    case = CREATED["idenfy-kyc-openapi"]
    options = SandboxOptions(faults=(Fault("wrong-token", 1.0),), clock=lambda: NOW)
    async with Sandbox(options) as sandbox, open_http_session() as session:
        provider = case.provider(base_url=f"{sandbox.url}/idenfy", **SANDBOX_KEYS)
        await Http(session).call(provider.build(case.asked), timeout=LONG)

        (entry,) = sandbox.log

    assert (entry["fault"], entry["processed"], entry["status"]) == ("wrong-token", True, 201)
    assert isinstance(entry["token"], str)
