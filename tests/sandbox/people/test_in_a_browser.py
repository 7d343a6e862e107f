"""A manager's way in Debian's Chromium: from a mail in the sandbox's mailbox to the played page, and its buttons."""

import asyncio
import email.policy
import html
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from onboarding_sandbox.people.customer_pages import DONE
from tests.desk.axe import findings
from tests.desk.chromium import NO_BROWSER, Tab, browser
from tests.sandbox.conftest import Caller
from tests.suite.waiting import ENDS_WITHIN

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
TOP_OF_FRAME = """(() => { const frame = document.querySelector('iframe'); frame.scrollIntoView();
  const box = frame.getBoundingClientRect(); return [box.x, box.y] })()"""


async def test_a_mails_link_opens_the_played_page_whose_buttons_work(
    start: Callable[..., Awaitable[Caller]], tmp_path: Path
):
    caller = await start()
    links = []
    for client in DONE:
        _, _, session = await caller.idenfy({"clientId": client})
        links.append(f"{caller.sandbox.url}/verify/{session['authToken']}")
    await receive(caller, links[0])

    async with browser(tmp_path) as tab:
        await tab.open(f"{caller.sandbox.url}/_sandbox/mailbox/1")
        x, y = await tab.run(TOP_OF_FRAME)
        assert await followed(tab, x + 40, y + 40) == links[0]

        for link, (button, done) in zip(links, DONE.items(), strict=True):
            await tab.open(link, width=360, dark=button == "deny")
            assert await findings(tab) == []
            assert await tab.run("document.documentElement.scrollWidth <= innerWidth")
            await tab.run(f"document.querySelector('button[value={button}]').click()")
            assert await tab.until("document.querySelector('[role=status]')?.textContent") == done
            assert await findings(tab) == []


async def receive(caller: Caller, link: str) -> None:
    """A mail whose link fills the top of what is shown."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = "verify@example.com", "ona@example.com", "Please confirm"
    words = f'<a style="display: block; height: 9rem" href="{html.escape(link)}">Confirm</a>'
    message.set_content(f"<!DOCTYPE html><html><body>{words}</body></html>", subtype="html")
    await aiosmtplib.send(message, hostname="127.0.0.1", port=caller.sandbox.smtp_port, start_tls=False)


async def followed(tab: Tab, x: float, y: float) -> str:
    """Click there, as a person does; the address of the tab that this opens."""
    async with asyncio.timeout(ENDS_WITHIN):
        while True:  # a frame that is still being drawn takes no click
            await tab.click_at(x, y)
            found = await tab.call("Target.getTargets")
            for one in found["targetInfos"]:
                if one["type"] == "page" and "/verify/" in one["url"]:
                    return str(one["url"])
