"""The dashboard in Debian's Chromium, over `onboard up` and the sandbox: a person logs in, watches, and acts.

The test has a loop of its own: that of the other tests here does not wait for real time.
"""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from onboarding_sandbox.faults import Fault
from onboarding_worker.events.bus.dead_lettering import refused_message
from onboarding_worker.events.bus.messages import Entry
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.container import Parts
from tests.desk.axe import FILE, SHA256
from tests.desk.chromium import NO_BROWSER, Tab
from tests.desk.desk import Desk, Played, customers
from tests.features.dashboard.pictures import PAGES, click, fill, logged_in, look_at, running
from tests.suite.waiting import ENDS_WITHIN

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
ROWS = 120  # they leave for longer than a browser takes to start
OUT = "Number(document.querySelector('.card .facts dd').textContent.split(' ')[0])"
SAID = "document.querySelector('.said')?.textContent"


def test_axe_is_as_it_was_published():
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256


@pytest.fixture
def desk(desk_at: Callable[[Played], Desk], play: Callable[..., Played]) -> Desk:
    """A desk whose calls for companies get no answers, so that a person must decide about them."""
    desk = desk_at(play(faults=(Fault.parse("drop-after:1,endpoint=idenfy-kyb"),)))
    desk.change(
        '[accounts.kyb]\nprovider = "idenfy-kyb"\n', '[accounts.kyb]\nprovider = "idenfy-kyb"\non_unknown = "hold"\n'
    )
    return desk


def test_a_person_logs_in_watches_a_batch_pauses_it_and_serves_a_customer(desk: Desk, tmp_path: Path):
    company = {"customer_id": "F-1", "company_name": "Example Ltd", "kind": "company", "email": "firm@example.com"}
    people = [row | {"phone": f"+3706000{number:04}"} for number, row in enumerate(customers(ROWS))]
    message = refused_message(Entry(b'{"customer_id": "C-9"}', "application/json"), "why", "requests")
    with closing(Parts(load(desk.config, environ=desk.environ))) as parts:
        parts.refused_events.keep([message], now=parts.clock())
    with running(desk) as address:
        for rows, name in ((people, "list.csv"), ([company], "companies.csv")):
            imported = desk.onboard("import", desk.list_of(rows, name))
            assert imported.code == 0, imported.err
        asyncio.run(watch_and_act(address, tmp_path))


async def watch_and_act(address: str, home: Path) -> None:
    async with logged_in(address, home) as tab:
        await tab.open(f"{address}/")
        await watch(tab)
        await pause(tab)
        await tab.open(f"{address}/dashboard/do/resume?batch=1")
        await look_at(tab, "the confirmation")
        await act(tab, "the words were checked", "Batch 1 goes on: ")
        for name, path in PAGES.items():
            for width, dark in ((1280, False), (360, True)):
                await tab.open(f"{address}{path}", width=width, dark=dark)
                await look_at(tab, f"{name} at {width}")
        await tab.open(f"{address}/")
        await tab.until("document.querySelector('.badge.is-sent') !== null")
        await decide_about_a_held_row(tab, address)
        await find_and_resend(tab, address)
        await see_times_of_the_own_clock(tab, address)
        await log_out(tab)
        assert [url for url in tab.requests if not url.startswith((address, "about:", "chrome", "data:"))] == []


async def watch(tab: Tab) -> None:
    """The numbers grow without the page being loaded again, and the keyboard's focus stays."""
    before = await tab.until(f"{OUT} > 0 && {OUT}")
    await tab.run("window.isTheSamePage = true; document.getElementById('pause-1').focus()")

    await tab.until(f"{OUT} > {before}")

    assert await tab.run("window.isTheSamePage && document.activeElement.id") == "pause-1"


async def pause(tab: Tab) -> None:
    await click(tab, "#pause-1")
    await tab.until("document.getElementById('reason') !== null")
    await act(tab, "the template was wrong", "Batch 1 is paused")
    # Back on the page that the person came from, which says who paused it, when and why.
    assert await tab.run("location.pathname") == "/"
    await tab.until("document.querySelector('#resume-1') !== null")
    assert ": the template was wrong" in await tab.run("document.querySelector('main').textContent")


async def decide_about_a_held_row(tab: Tab, address: str) -> None:
    """The page of a batch says which row is held and why; the person gives it up, and is back on that page."""
    held = "document.querySelector('[id^=abandon-group]') !== null"
    async with asyncio.timeout(ENDS_WITHIN):
        while True:  # the reasons are no live part, and are kept for some seconds
            await tab.open(f"{address}/dashboard/batches/2")
            await tab.until("document.readyState == 'complete' && document.querySelector('h1') !== null")
            if await tab.run(held):
                break
            await asyncio.sleep(1)
    for width, dark in ((1280, False), (360, True)):
        await tab.open(f"{address}/dashboard/batches/2", width=width, dark=dark)
        await tab.until(held)
        await look_at(tab, f"the held row at {width}")
    await click(tab, "[id^=abandon-group]")
    await tab.until("document.getElementById('reason') !== null")
    await look_at(tab, "the decision about a held row")
    await act(tab, "the provider knows nothing of it", "Batch 2: 1 row is given up.")
    assert await tab.run("location.pathname") == "/dashboard/batches/2"
    await tab.until("document.querySelector('.legend').textContent.includes('1 cancelled')")


async def find_and_resend(tab: Tab, address: str) -> None:
    """A customer is found by the address, and gets the link by text, since a mail has just left; the desk reads what
    was sent, and corrects the address."""
    await tab.open(f"{address}/dashboard/customers")
    await tab.until("document.querySelector('[name=q]') !== null")
    await tab.run(
        "document.querySelector('[name=q]').value = 'BOX0@example.com'; document.querySelector('main form').submit()"
    )
    await tab.until("document.querySelector('.timeline') !== null")
    assert await tab.run("location.search") == ""
    await click(tab, "#resend-sms")
    await tab.until("document.getElementById('reason') !== null")
    await act(tab, "call 4710", "The link leaves by text message to +370…00.")
    await click(tab, "#messages")
    await tab.until("document.querySelector('.words') !== null")
    await look_at(tab, "the messages")
    assert "From the same template as it left with" in await tab.run("document.querySelector('main').textContent")
    await click(tab, ".lead a")
    await click(tab, "#address")
    await tab.until("document.getElementById('email') !== null")
    await fill(tab, {"email": "box0.new@example.com", "reason": "call 4711"})
    assert "Email changed. No message was added: the present link has gone to the old address" in await tab.until(SAID)


async def see_times_of_the_own_clock(tab: Tab, address: str) -> None:
    await tab.call("Emulation.setTimezoneOverride", timezoneId="Europe/Vilnius")
    await tab.open(f"{address}/dashboard/batches/1")
    one = "document.querySelector('.facts time')"
    title = await tab.until(f"{one}?.title")
    at = datetime.fromisoformat(await tab.run(f"{one}.dateTime"))
    assert f"{at.astimezone(ZoneInfo('Europe/Vilnius')):%H:%M}" in await tab.run(f"{one}.textContent")
    assert title == f"{at:%Y-%m-%d %H:%M:%S} UTC"


async def act(tab: Tab, reason: str, said: str) -> None:
    """Give the reason, agree, and read what was done."""
    await fill(tab, {"reason": reason})
    assert said in await tab.until(SAID)


async def log_out(tab: Tab) -> None:
    await click(tab, ".who button")
    await tab.until("location.pathname == '/dashboard/log-in'")
    await look_at(tab, "the door")
