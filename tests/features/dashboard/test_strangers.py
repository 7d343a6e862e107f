"""Log-ins among strangers: a flood of guesses at the door of the dashboard, and the browsers that it knows."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession, CookieJar, TCPConnector

from onboarding_worker.features.dashboard import log_in
from onboarding_worker.features.dashboard.passwords import is_password
from onboarding_worker.features.dashboard.visits import KNOWN
from onboarding_worker.web import strangers
from onboarding_worker.web.server import listening
from onboarding_worker.web.strangers import FREE, OF_BROWSER
from tests.features.dashboard.conftest import USERS
from tests.features.dashboard.visitor import CHANGES, FROM_HERE, PASSWORDS, Visitor, changed_users, users_toml
from tests.web.site import Site, until

PROXY = '[web]\ntrusted_proxies = ["127.0.0.1"]\n'
SECONDS = 5  # so long a right log-in may take


def as_long_as_a_real_one(password, user):
    """A check of a password: those of the tests are cheap."""
    time.sleep(0.03)
    return is_password(password, user)


@pytest.fixture
async def proxied(open_site):
    return await open_site(keys=USERS + PROXY)


@pytest.fixture
def came(monkeypatch):
    """Whether those who came to a door, one after another, had a browser that is known."""
    seen, come = [], strangers.Line.come
    monkeypatch.setattr(
        strangers.Line, "come", lambda line, who, now: seen.append(bool(who.browser)) or come(line, who, now)
    )
    return seen


@asynccontextmanager
async def flood(visitor, addresses, name="ona"):
    """Guesses from these addresses, one connection each, again and again until the block ends; then all hang up."""
    form = (await visitor.get("/dashboard/log-in")).form | {"name": name, "password": "guess"}
    answers = []

    async def guess(address):
        while True:
            answer = await visitor.post("/dashboard/log-in", form, headers=FROM_HERE | {"X-Forwarded-For": address()})
            answers.append(answer.status)

    all_of_them = [asyncio.create_task(guess(address)) for address in addresses]
    try:
        yield answers
    finally:
        for one in all_of_them:
            one.cancel()
        await asyncio.gather(*all_of_them, return_exceptions=True)


def of_ipv6():
    numbers = iter(range(65_536))
    return lambda: f"2001:db8:7:{next(numbers):x}::1"


FLOODS = {
    "60 connections of one address": [lambda: "203.0.113.9"] * 60,
    "100 addresses of one network": [lambda number=number: f"203.0.113.{number}" for number in range(100)],
    "100 addresses": [lambda number=number: f"100.{number}.7.7" for number in range(100)],
    "an IPv6 /48": [of_ipv6()] * 60,
}


@pytest.mark.parametrize("addresses", FLOODS.values(), ids=FLOODS)
async def test_a_right_log_in_comes_in_among_strangers(visit, proxied, addresses, monkeypatch):
    monkeypatch.setattr(log_in, "is_password", as_long_as_a_real_one)
    ona, stranger = visit(proxied), visit(proxied)
    async with flood(stranger, addresses) as answers:
        await until(lambda: len(answers) > FREE)
        for number in range(3):
            form = (await ona.get("/dashboard/log-in")).form | {"name": "ona", "password": PASSWORDS["ona"]}
            headers = FROM_HERE | {"X-Forwarded-For": f"192.0.2.{number}"}
            async with asyncio.timeout(SECONDS):
                entered = await ona.post("/dashboard/log-in", form, headers=headers, follow=False)
            assert entered.status == 303
            ona.client.session.cookie_jar.clear()


@pytest.fixture
async def caller(tmp_path: Path, sqlite_url, clock):
    """Who calls the product's own server: that of other tests ends requests whose clients have hung up."""
    (tmp_path / "users.toml").write_text(users_toml())
    site = Site(sqlite_url, tmp_path, clock, keys=USERS + PROXY)
    async with listening(site.app, host="127.0.0.1", port=0) as port:
        how = {"cookie_jar": CookieJar(unsafe=True), "connector": TCPConnector(limit=0)}
        async with ClientSession(f"http://127.0.0.1:{port}", **how) as session:
            yield Visitor(session)
    site.parts.close()


async def test_who_hangs_up_is_called_no_more(caller, monkeypatch, came):
    checked, going_on = [], threading.Event()

    def check(password, _user):
        checked.append(password)
        going_on.wait(10)
        return False

    monkeypatch.setattr(log_in, "is_password", check)
    async with flood(caller, FLOODS["100 addresses"]):
        await until(lambda: len(came) == 100 and len(checked) == 2)
    await asyncio.sleep(0.1)  # the server sees that they have gone
    going_on.set()
    await asyncio.sleep(0.5)

    assert len(checked) == 2


async def test_one_who_sends_so_much_behind_a_guess_that_a_hang_up_is_not_seen_gets_no_place(caller, monkeypatch, came):
    checked = []
    monkeypatch.setattr(log_in, "is_password", lambda password, _user: checked.append(password) or False)
    form = urlencode((await caller.get("/dashboard/log-in")).form | {"name": "ona", "password": "guess"})
    url = caller.client._base_url
    kept = "; ".join(f"{one.key}={one.value}" for one in caller.client.cookie_jar)
    head = f"POST /dashboard/log-in HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nCookie: {kept}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n"
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"{head}Content-Length: {len(form)}\r\n\r\n{form}".encode() * 40)
    await until(lambda: came)
    writer.transport.abort()
    await asyncio.sleep(0.3)

    assert not checked


async def test_one_who_is_sent_away_is_told_and_counted_and_slowed(visit, waits, monkeypatch, caplog):
    monkeypatch.setattr(strangers, "MOST_WAITING", (0, 0, 0))

    answers = [await visit().log_in("ona") for _ in range(FREE + 1)]

    assert {one.status for one in answers} == {429}
    assert len(waits) == 1
    assert "1 refused (1 from 127.0.0.1); the last for dashboard: too many at once" in caplog.text


def known(visitor) -> str:
    return f"onboard_{visitor.client.port}{KNOWN}"


def cookies(visitor) -> dict[str, str]:
    return {cookie.key: cookie.value for cookie in visitor.client.session.cookie_jar}


async def test_a_browser_is_known_for_thirty_days_for_the_user_who_logged_in_with_it(ona, visit, came, clock):
    clock.advance(days=29, hours=23)
    await ona.log_in("ona", "mistyped")
    await ona.log_in("desk", "guess")
    await visit().log_in("ona")
    clock.advance(hours=1)
    await ona.log_in("ona")

    assert came == [True, False, False, False]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_browser_is_known_no_more_once_the_user_has_changed(ona, came, tmp_path: Path, change):
    (tmp_path / "site/users.toml").write_text(changed_users(change))

    await ona.log_in("ona")

    assert came == [False]


async def test_a_log_out_ends_what_is_known_of_the_browser_and_of_a_copy(ona, visit, came):
    copy = cookies(ona)[known(ona)]
    await ona.post("/dashboard/log-out", (await ona.get("/")).form)
    assert known(ona) not in cookies(ona)
    thief = visit()
    thief.client.session.cookie_jar.update_cookies({known(ona): copy}, thief.client.make_url("/"))

    await ona.log_in("ona")
    await thief.log_in("ona")

    assert came == [False, False]


async def test_what_is_not_signed_is_no_cookie_of_a_browser(ona, came):
    shown, seconds, signature = cookies(ona)[known(ona)].split(".")
    for forged in (f"{shown}x.{seconds}.{signature}", f"{shown}.{int(seconds) + 9}.{signature}", "x", "..", ""):
        ona.client.session.cookie_jar.update_cookies({known(ona): forged}, ona.client.make_url("/"))
        await ona.log_in("ona", "guess")

    assert not any(came)


async def test_wrong_guesses_of_a_known_browser_have_a_bound_of_their_own(ona, came, waits):
    for _ in range(OF_BROWSER):
        assert (await ona.log_in("ona", "guess")).status == 403
    assert not waits
    await ona.log_in("ona")
    await ona.log_in("ona", "guess")

    assert came == [True] * OF_BROWSER + [False, True]


async def test_a_log_out_ends_the_browsers_earlier_cookies_too(ona, visit, came):
    copy = cookies(ona)[known(ona)]
    await ona.log_in("ona")
    thief = visit()
    thief.client.session.cookie_jar.update_cookies({known(ona): copy}, thief.client.make_url("/"))
    await thief.log_in("ona")

    assert came == [True, False]


async def test_a_log_out_after_the_visit_has_ended_takes_the_cookie_away(ona, clock):
    form = (await ona.get("/")).form
    clock.advance(days=2)
    await ona.post("/dashboard/log-out", form)

    assert known(ona) not in cookies(ona)
