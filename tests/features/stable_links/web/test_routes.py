"""`/s/ID` as browsers, mail programs and scanners meet it: over a real socket and the real store."""

import asyncio
import json
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, Batch, Job, SessionRow, StableLink
from onboarding_worker.core.rows.own_links import StableLinks
from onboarding_worker.web.events.request_body import FORM, LARGEST_FORM
from onboarding_worker.web.strangers import FREE
from tests.stored.shelf import Shelf, customer
from tests.stored.statements import statements
from tests.web.described import check_answer
from tests.web.site import KEYS, until

LINKS = StableLinks("https://verify.example.com", timedelta(days=60))
PROVIDERS = "https://ui.idenfy.com/start?authToken=t-1"
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Street:
    """The site, its worker, and the customers who come along."""

    def __init__(self, site) -> None:
        self.site, self.clock = site, site.clock
        self.shelf = Shelf(site.parts.database, site.parts.keyring, site.clock)

    def customer(self, name="A", *, link=PROVIDERS, deferred=False):
        """The secret part of the stable link of a customer who was invited."""
        self.shelf.add(customer(name))
        self.shelf.issue(link=link)
        self.shelf.send()
        if deferred:
            self.shelf.set(SessionRow, SessionRow.customer_id == name, state="deferred")
        with self.site.parts.database.write() as connection:
            keyring, key = self.site.parts.keyring, (name, "onboarding")
            found = LINKS.ensure(connection, keyring, [key], now=self.clock())[key]
        return found.address.rpartition("/")[2]

    def job(self, name="A"):
        return self.shelf.job(name)

    async def ask(self, method, secret, *, cookie="", agent=PERSON, data=None, **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()} | {"User-Agent": agent}
        if cookie:
            given["Cookie"] = f"visit={cookie}"
        how = {"headers": given, "allow_redirects": False, "data": data}
        self.site.client.session.cookie_jar.clear()
        async with self.site.client.request(method, f"/s/{secret}", **how) as answer:
            body = await answer.text()
            morsel = answer.cookies.get("visit")
            met = Met(answer.status, answer.headers, body, morsel.value if morsel else cookie)
        if method != "HEAD":
            check_answer(method.lower(), "/s/{secret}" + secret[len(secret.partition("/")[0]) :], met.read)
        return met


class Met:
    def __init__(self, status, headers, body, cookie) -> None:
        self.status, self.headers, self.body, self.cookie = status, headers, body, cookie

    @property
    def read(self):
        """This answer, with JSON read."""
        is_json = self.headers.get("Content-Type", "").partition(";")[0].endswith("json")
        return Met(self.status, self.headers, json.loads(self.body) if is_json else self.body, self.cookie)

    @property
    def form(self):
        found = re.search(r'name="form" value="([^"]+)"', self.body)
        return {"form": found[1]} if found else {}


@pytest.fixture
async def ahead(start, sqlite_url):
    return Street(await start(sqlite_url, keys='[links]\nmode = "stable"\n' + KEYS))


@pytest.fixture
async def street(start, sqlite_url):
    return Street(await start(sqlite_url, keys='[links]\nmode = "stable"\nissue = "on-click"\n' + KEYS))


async def pressed(street, secret, page, **how):
    return await street.ask("POST", secret, data=page.form, cookie=page.cookie, **how)


async def test_a_live_session_is_led_to_with_nothing_kept_on_the_way(ahead):
    met = await ahead.ask("GET", ahead.customer())
    assert (met.status, met.headers["Location"]) == (303, PROVIDERS)
    assert (met.headers["Cache-Control"], met.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert PROVIDERS not in met.body


async def test_no_session_leads_to_a_host_that_its_account_may_not_link_to(ahead):
    met = await ahead.ask("GET", ahead.customer(link="https://evil.example/x"))
    assert met.status == 200
    assert "Location" not in met.headers
    assert "evil.example" not in met.body


async def test_an_ended_session_is_replaced_by_a_press_and_by_no_visit_and_a_page_waits(ahead, monkeypatch):
    monkeypatch.setattr("onboarding_worker.features.stable_links.routes.PATIENCE", 0.0)
    secret = ahead.customer()
    ahead.clock.advance(days=8)
    page = await ahead.ask("GET", secret)
    assert (page.status, ahead.job().state, ahead.site.woken) == (200, "invited", [])
    ahead.clock.advance(seconds=4)
    met = await pressed(ahead, secret, page)
    assert (met.status, met.headers["Refresh"]) == (200, "2")
    assert (ahead.job().state, ahead.job().reason) == ("waiting", "pressed")
    assert [str(wake_up) for wake_up in ahead.site.woken] == ["issue:kyc"]
    ahead.shelf.issue(link=PROVIDERS)
    assert (await ahead.ask("GET", secret)).status == 303


async def test_a_visit_buys_a_first_session_as_a_visit_and_waits_for_one_that_comes_soon(ahead):
    secret = ahead.customer(deferred=True)
    visit = asyncio.create_task(ahead.ask("GET", secret))
    await until(lambda: ahead.job().state == "waiting")
    ahead.shelf.issue(link=PROVIDERS)
    assert (await visit).status == 303
    assert "link.visited" in {row.action for row in ahead.shelf.rows(Audit)}


async def test_a_press_after_real_time_by_the_same_visitor_buys_one_session(street):
    secret = street.customer(deferred=True)
    page = await street.ask("GET", secret)
    assert page.status == 200
    street.clock.advance(seconds=4)
    presses = [asyncio.create_task(pressed(street, secret, page)) for _ in range(2)]
    await until(lambda: street.job().state == "waiting")
    assert len(street.shelf.issue(link=PROVIDERS)) == 1
    assert [(await one).status for one in presses] == [303, 303]
    assert street.shelf.row(StableLink).opened_at is not None
    assert len(street.shelf.rows(SessionRow)) == 2  # the deferred one, and the one that was bought


@pytest.mark.parametrize(
    "how",
    [
        {"agent": "Mozilla/5.0 (compatible; Barracuda Sentinel)"},
        {"agent": "facebookexternalhit/1.1"},
        {"agent": ""},
        {"Sec_Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X_Moz": "prefetch"},
    ],
    ids=str,
)
async def test_programs_that_open_every_link_buy_nothing_and_open_nothing(street, how):
    secret = street.customer(deferred=True)
    page = await street.ask("GET", secret, **how)
    street.clock.advance(minutes=5)
    again = await street.ask("GET", secret, cookie=page.cookie, **how)
    press = await pressed(street, secret, again, **how)
    assert [one.status for one in (page, again, press)] == [200, 200, 200]
    assert street.job().state == "invited"
    assert street.shelf.row(StableLink).opened_at is None


async def test_a_head_buys_nothing_and_a_first_visit_opens_nothing(street):
    secret = street.customer(deferred=True)
    for method in ("HEAD", "GET"):
        assert (await street.ask(method, secret)).status == 200
    assert street.job().state == "invited"
    assert street.shelf.row(StableLink).opened_at is None


async def test_a_visitor_who_comes_back_has_opened_the_link(street):
    secret = street.customer(deferred=True)
    page = await street.ask("GET", secret)
    street.clock.advance(seconds=31)
    await street.ask("GET", secret, cookie=page.cookie)
    assert street.shelf.row(StableLink).opened_at is not None


async def test_a_form_counts_for_its_own_visitor_its_own_link_and_its_time(street):
    secret, other = street.customer(deferred=True), street.customer("B", deferred=True)
    page, stranger = await street.ask("GET", secret), await street.ask("GET", secret)
    assert (await pressed(street, secret, page)).form  # at once: the page is shown again
    street.clock.advance(seconds=4)
    await street.ask("POST", secret, data=page.form, cookie=stranger.cookie)
    await street.ask("POST", secret, data=page.form)
    await street.ask("POST", other, data=page.form, cookie=page.cookie)
    await street.ask("POST", secret, data={"form": "1." + "0" * 64}, cookie=page.cookie)
    street.clock.advance(hours=1)
    await pressed(street, secret, page)
    assert [street.job(name).state for name in "AB"] == ["invited", "invited"]


async def test_unknown_revoked_and_cancelled_links_look_the_same(street):
    revoked, cancelled = street.customer(), street.customer("B")
    street.shelf.set(StableLink, StableLink.customer_id == "A", revoked_at=street.clock())
    street.shelf.set(Job, Job.customer_id == "B", state="cancelled")
    met = [await street.ask("GET", one) for one in (revoked, cancelled, "x" * 24, "nothing", "%00")]
    assert {one.status for one in met} == {404}
    assert len({one.body for one in met}) == 1
    kept = ("Date", "Content-Length")
    assert len({str(sorted((k, v) for k, v in one.headers.items() if k not in kept)) for one in met}) == 1


async def test_the_link_of_a_customer_who_finished_before_the_batch_was_cancelled_says_so(street):
    secret = street.customer()
    street.shelf.set(Job, Job.customer_id == "A", state="completed")
    street.shelf.set(Batch, sa.true(), cancelled_at=street.clock())
    met = await street.ask("GET", secret)
    assert met.status == 200
    assert "Gavome Jūsų duomenis." in met.body  # we have received your details


async def test_a_link_may_be_asked_for_sixty_times_a_minute(street, monkeypatch):
    secret = street.customer()
    monkeypatch.setattr("onboarding_worker.features.stable_links.routes.seconds", lambda: 0.0)
    statuses = [(await street.ask("HEAD", secret)).status for _ in range(62)]
    assert statuses[:60].count(303) >= 58
    assert 429 in statuses


async def test_a_database_without_the_key_puts_no_link_into_the_log(ahead, caplog):
    secret = ahead.customer()
    with ahead.site.parts.database.write() as connection:
        connection.execute(sa.update(SessionRow).values(encrypted=b"\x01\x00\x00\x00\x00" + b"x" * 40))
    met = await ahead.ask("GET", secret)
    assert (met.status, met.headers["Retry-After"]) == (503, "60")
    assert secret not in caplog.text


@pytest.mark.parametrize("path", ["", "/not-me"])
async def test_a_form_that_cannot_be_read_is_a_problem(street, path):
    secret = street.customer() + path
    met = [
        await street.ask("POST", secret, data=b"{}", Content_Type="application/json"),
        await street.ask("POST", secret, data=b"form=1&form=2", Content_Type=FORM),
        await street.ask("POST", secret, data=b"form=" + b"x" * LARGEST_FORM, Content_Type=FORM),
    ]
    assert [one.status for one in met] == [415, 400, 413]


@pytest.mark.parametrize("path", ["", "/not-me"])
async def test_each_address_under_a_link_is_as_described_when_it_is_there_unknown_and_asked_too_often(
    street, monkeypatch, path
):
    monkeypatch.setattr("onboarding_worker.features.stable_links.routes.seconds", lambda: 0.0)
    secret, unknown = street.customer(deferred=True), "x" * 24
    assert (await street.ask("GET", unknown + path)).status == 404
    statuses = [(await street.ask("GET", secret + path)).status for _ in range(61)]
    assert (statuses[0], statuses[-1]) == (200, 429)


async def test_the_log_names_a_machine_from_its_eleventh_made_up_link_on(street, caplog):
    for number in range(FREE):
        await street.ask("GET", f"{number:024}")
    assert "there is none" not in caplog.text
    await street.ask("GET", "x" * 24)
    assert "1 refused (1 from 127.0.0.1); the last for stable links: there is none" in caplog.text


async def test_who_comes_back_at_once_costs_the_database_two_queries_and_no_write(ahead):
    secret = ahead.customer()
    await ahead.ask("GET", secret)

    with statements(ahead.site.parts.database) as made:
        assert (await ahead.ask("GET", secret)).status == 303

    assert [one.split()[0] for one in made if one != "BEGIN"] == ["SELECT", "SELECT"]


@pytest.fixture
def counts_are_logged_often(monkeypatch):
    monkeypatch.setattr("onboarding_worker.core.foundation.logs.EVERY_SECONDS", 0.05)


async def test_the_last_presses_that_do_not_count_are_logged_too(counts_are_logged_often, street, caplog):
    caplog.set_level("INFO")
    for number in range(20):
        await street.ask("POST", f"{number:024}", data={"form": "1." + "0" * 64})
    await until(lambda: any("do not count" in line and "; 20 in all" in line for line in caplog.messages))


async def test_presses_that_do_not_count_make_one_line_of_the_log_with_their_number(street, caplog):
    caplog.set_level("INFO")
    for number in range(20):
        await street.ask("POST", f"{number:024}", data={"form": "1." + "0" * 64})
    lines = [one.getMessage() for one in caplog.records if "do not count" in one.getMessage()]
    assert len(lines) == 1
