"""A dashboard of `onboard up` over the sandbox, and a browser before it: for the test, and for `make screenshots`."""

import re
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.desk.axe import findings
from tests.desk.chromium import Tab, browser
from tests.desk.desk import Desk
from tests.features.dashboard.visitor import PASSWORDS, users_toml
from tests.suite.waiting import ENDS_WITHIN

PAGES = {
    "now": "/",
    "on-call": "/dashboard/on-call",
    "batches": "/dashboard/batches",
    "accounts": "/dashboard/accounts",
    "events": "/dashboard/outgoing",
    "batch": "/dashboard/batches/1",
    "customers": "/dashboard/customers",
    "customer": "/dashboard/customers/C-0000",
    "messages": "/dashboard/customers/C-0000/messages",
    "correct": "/dashboard/do/address?customer=C-0000",
    "audit": "/dashboard/audit",
    "chain": "/dashboard/audit/check",
}
LIMIT = '["8/second"]'  # slow enough to be watched


@contextmanager
def running(desk: Desk) -> Iterator[str]:
    """The address of a dashboard with users, whose worker sends slowly."""
    (desk.path / "users.toml").write_text(users_toml())
    text = desk.config.read_text("utf-8")
    desk.config.write_text(re.sub(r'limits = \["2000/second"\]', f"limits = {LIMIT}", text), "utf-8")
    desk.add('[web]\nbind = "127.0.0.1:0"\n[dashboard]\nusers = { file = "users.toml" }\n')
    with serving(desk, "up", "--yes", says="listening on ") as address:
        yield address


@contextmanager
def serving(desk: Desk, *command: str, says: str) -> Iterator[str]:
    """The address that a process names after these words. The process ends with the block."""
    process = desk.start(*command)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(rf"{says}(http://\S+)", line):
                # What it says later must not fill the pipe.
                threading.Thread(target=process.stderr.read, daemon=True).start()
                yield found[1]
                break
        else:
            raise AssertionError("it does not listen")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(ENDS_WITHIN)


@asynccontextmanager
async def logged_in(address: str, home: Path, name: str = "ona") -> AsyncIterator[Tab]:
    """A browser whose person has typed name and password."""
    async with browser(home) as tab:
        await tab.open(f"{address}/dashboard/accounts")
        await tab.until("document.querySelector('#password') !== null")
        await fill(tab, {"name": name, "password": PASSWORDS[name]})
        await tab.until("location.pathname == '/dashboard/accounts'")
        yield tab


async def fill(tab: Tab, values: dict[str, str]) -> None:
    """Type into fields, by their ids, and press Enter in the last one."""
    for field, value in values.items():
        await tab.run(f"document.getElementById({field!r}).focus()")
        await tab.call("Input.insertText", text=value)
        await tab.until(f"document.getElementById({field!r}).value != ''")
    await press(tab, "Enter")


async def press(tab: Tab, key: str, code: int = 13, text: str = "\r", *, shift: bool = False) -> None:
    """Press and release a key: Enter, if no other one is named. `code`: its number for Windows."""
    for kind in ("keyDown", "keyUp"):
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        await tab.call("Input.dispatchKeyEvent", type=kind, **named, **({"text": text} if text else {}))


async def click(tab: Tab, selector: str) -> None:
    await tab.until(f"document.querySelector({selector!r}) !== null")
    await tab.run(f"document.querySelector({selector!r}).click()")


async def give_file(tab: Tab, selector: str, file: Path) -> None:
    """Choose the file in this field, as the browser's own dialog does."""
    field = await tab.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
    await tab.call("DOM.setFileInputFiles", files=[str(file)], objectId=field["result"]["objectId"])


async def look_at(tab: Tab, what: str) -> None:
    """The page fits its window, and axe finds nothing in it."""
    await tab.until("document.readyState == 'complete' && document.querySelector('h1') !== null")
    assert await findings(tab) == [], what
    assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), what
