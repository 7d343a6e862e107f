"""Lists in Debian's Chromium, over `onboard up` and the sandbox: from the file to its report, by keyboard alone."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.desk.chromium import NO_BROWSER, Tab
from tests.desk.desk import Desk, Played
from tests.features.dashboard.pictures import give_file, logged_in, look_at, press, running

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
PHONE, WIDTHS = 375, (375, 768, 1280)
MOST_STOPS = 80  # of one page
# What has the focus, what it is called, and whether a person sees that it has it.
STOP = """(() => {
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  const name = one.labels?.[0]?.textContent || one.ariaLabel || one.textContent;
  const seen = style.outlineStyle !== 'none' && box.width > 0 && box.left >= 0 && box.right <= innerWidth;
  return {path: one.id || one.outerHTML.slice(0, 80), tag: one.tagName, name, seen};
})()"""
THEIRS = (
    "Kunde;Vorname;Mail;Land;Weg\n"
    "C-1;Ona;ona@example.com;DE;Post\nC-2;Jonas;jonas@example.com;DE;Post\nC-3;Ada;no-address;DE;email\n"
)


def test_a_list_goes_from_its_file_to_its_report_by_keyboard_on_a_phone(
    desk_at: Callable[[Played], Desk], play: Callable[..., Played], tmp_path: Path
):
    desk = desk_at(play())
    file = tmp_path / "a list with a rather long name of the branch in Kaunas, of the last week of November.csv"
    file.write_text(THEIRS)
    with running(desk) as address:
        asyncio.run(send_by_keyboard(address, tmp_path, file))


async def send_by_keyboard(address: str, home: Path, file: Path) -> None:
    async with logged_in(address, home) as tab:
        await tab.open(f"{address}/dashboard/lists", width=PHONE)
        await look_at(tab, "the lists")
        with (home / "too-large.csv").open("wb") as large:
            large.truncate((128 << 20) + 1)
        await give_file(tab, "#file", home / "too-large.csv")
        await tab.until("document.querySelector('#file').validationMessage.includes('128 MiB')")
        await give(tab, file)
        await at(tab, "/dashboard/lists/1", "checked")
        await look_at_all_widths(tab, "a list with titles of another system")

        await read_otherwise(tab)
        for column, ours in enumerate(("customer_id", "first_name", "email", "country", "channel")):
            await choose(tab, f"column-{column}", ours)
        await check_again(tab, "rejected 3")
        await look_at_all_widths(tab, "a list with problems")
        await read_otherwise(tab)
        await go_to(tab, "#word-channel-0")
        await tab.call("Input.insertText", text="email")
        await check_again(tab, "accepted 2")

        await go_to(tab, "#approve")
        await press(tab, "Enter")
        await tab.until("document.activeElement.id == 'reason'")
        await look_at(tab, "the approval")
        await press(tab, "Enter")
        assert await tab.run(
            "document.querySelector('#reason').matches(':invalid') && location.pathname.includes('/do/')"
        )
        await tab.call("Input.insertText", text="asked by the branch")
        await press(tab, "Enter")
        await tab.until("document.querySelector('[role=status].said')?.textContent.includes('is approved')")
        await go_to(tab, "#batch")
        await look_at_all_widths(tab, "a list that is a batch")
        await go_to(tab, "#batch")
        await press(tab, "Enter")
        await at(tab, "/dashboard/batches/1", "sent")
        await tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(home))
        await go_to(tab, "a[href$='report.csv']")
        await press(tab, "Enter")
        report = await come(home / "batch-1-report.csv")
        assert [line.split(",")[1] for line in report.splitlines()] == ["customer_id", "C-1", "C-2", "C-3"]
        await tab.open(f"{address}/dashboard/lists")
        await look_at_all_widths(tab, "the lists, with one")


async def give(tab: Tab, file: Path) -> None:
    """Choose the file, as the browser's own dialog does it, and press the button."""
    await go_to(tab, "#file")
    await give_file(tab, "#file", file)
    await go_to(tab, "main form button")
    await press(tab, "Enter")


async def go_to(tab: Tab, selector: str) -> None:
    """Press Tab until this has the focus. Each stop on the way has a name, is seen, and lets the person go on."""
    await tab.until(f"document.querySelector({selector!r}) !== null")
    before: Any = None
    for _ in range(MOST_STOPS):
        await press(tab, "Tab", 9, "")
        stop = await tab.run(STOP)
        if stop["tag"] == "BODY":  # past the last one, where a browser's own fields would come
            continue
        assert stop["seen"], stop
        assert stop["name"].strip(), stop
        assert stop != before, stop
        before = stop
        if await tab.run(f"document.activeElement.matches({selector!r})"):
            return
    raise AssertionError(f"no key leads to {selector}")


async def at(tab: Tab, path: str, state: str) -> None:
    await tab.until(f"location.pathname == {path!r} && document.querySelector('.badge.is-{state}') !== null")


async def choose(tab: Tab, field: str, ours: str) -> None:
    """Type the choice of a list of choices."""
    await go_to(tab, f"#{field}")
    for letter in ours:
        await press(tab, letter, ord(letter.upper()), letter)
    assert await tab.run(f"document.getElementById({field!r}).value") == ours


async def read_otherwise(tab: Tab) -> None:
    await go_to(tab, "#read")
    await press(tab, "Enter")
    await tab.until("location.pathname.endsWith('/read') && document.querySelector('.mapping button') !== null")
    await look_at_all_widths(tab, "how a list is read")


async def check_again(tab: Tab, found: str) -> None:
    await go_to(tab, ".mapping button")
    await press(tab, "Enter")
    await tab.until(f"document.querySelector('.facts')?.innerText.replace(/\\s+/g, ' ').includes({found!r})")


async def look_at_all_widths(tab: Tab, what: str) -> None:
    for width in (*WIDTHS, PHONE):
        await tab.open(await tab.run("location.href"), width=width)
        await look_at(tab, f"{what} at {width}")


async def come(file: Path) -> str:
    """A file's text, once it is there whole."""
    for _ in range(500):
        if file.exists():  # noqa: ASYNC240 -- nothing else runs on this loop
            return file.read_text("utf-8-sig")  # noqa: ASYNC240
        await asyncio.sleep(0.02)
    raise AssertionError("the file did not come")
