"""The page of a stable link in Debian's Chromium: what axe finds in each screen, and the way from the press to the
provider, which the page's policy must let through."""

import asyncio
from pathlib import Path

import pytest

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.features.stable_links.landing import Finished, Over, Press, Wait
from onboarding_worker.templates.values import Screen
from tests.desk.axe import findings
from tests.desk.chromium import NO_BROWSER, Tab, browser
from tests.features.stable_links.web.landing import SECRET, LandingSite

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
HEADING = "document.querySelector('h1').textContent"


def test_a_person_reads_each_screen_and_goes_on_to_the_provider(tmp_path: Path):
    asyncio.run(walk(tmp_path))


async def walk(home: Path) -> None:
    async with LandingSite(is_secure=False) as landing, browser(home) as tab:
        here = str(landing.server.make_url(f"/s/{SECRET}"))
        for decision in (
            Press(),
            Wait(),
            Wait(since=landing.now, until=landing.now),
            Finished(),
            Over(Reason.JOB_ENDED),
        ):
            landing.landings.decision = decision
            for width, dark in ((1280, False), (360, True)):
                await tab.open(here, width=width, dark=dark)
                await look_at(tab, f"{decision} at {width}")
        landing.landings.decision = Press()
        for path in ("/not-me", "x"):
            await tab.open(f"{here}{path}", width=360)
            await look_at(tab, path)
        for language in ("de", "es", "fr", "lt"):
            landing.landings.locale = language
            await tab.open(here, width=360)
            await look_at(tab, language)
        landing.landings.locale = "en"

        await tab.open(here)
        await press(tab)
        await tab.until(f"{HEADING} == 'Please press the button once more'")
        await look_at(tab, Screen.AGAIN)
        landing.pass_time(4)
        await press(tab)
        # The provider redirects once more, to another host: form-action holds for the whole way.
        await tab.until(f"{HEADING} == 'Played provider'")
        assert await tab.run("location.hostname") == "127.0.0.1"
        assert await tab.run("document.referrer") == ""

        await tab.open(f"{here}/not-me")
        landing.pass_time(4)
        await press(tab)
        await tab.until(f"{HEADING} == 'Thank you for telling us'")
        await look_at(tab, Screen.STOPPED)
        assert landing.landings.stopped == [SECRET]


async def press(tab: Tab) -> None:
    """Press the one button, as the keyboard does."""
    await tab.until("document.querySelector('button') !== null")
    await tab.run("document.querySelector('button').click()")


async def look_at(tab: Tab, what: str) -> None:
    """The page fits its window, is styled, and axe finds nothing in it."""
    await tab.until("document.readyState == 'complete' && document.querySelector('h1') !== null")
    assert await findings(tab) == [], what
    assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), what
    assert await tab.run("getComputedStyle(document.querySelector('main')).borderRadius") == "12px", what
