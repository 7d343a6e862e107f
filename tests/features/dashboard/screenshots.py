"""Takes the pictures of the pages from the product itself, over the sandbox: `make screenshots`.

Those of the dashboard show a list that is being sent, and one that was given in the browser; those of the quickstart
show what its reader sees.
"""

import asyncio
import html
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.desk.chromium import NO_BROWSER, Tab, browser
from tests.desk.desk import Desk, Played, customers
from tests.docs.shown import text_of
from tests.features.dashboard.pictures import PAGES, click, give_file, logged_in, running, serving

LOOKS = {"light": (1280, 900, False), "dark": (1280, 900, True), "phone": (390, 900, False), "page": (1060, 480, False)}
# By name: the page, and which looks there are pictures of.
PICTURES = {
    "now": (PAGES["now"], ("light", "dark", "phone")),
    "confirm": ("/dashboard/do/pause?batch=2", ("light",)),
    "events": (PAGES["events"], ("light",)),
    "audit": (PAGES["audit"], ("dark",)),
    "list": ("/dashboard/lists/1", ("light", "phone")),
    "list-read": ("/dashboard/lists/1/read", ("light",)),
}


def main(folder: Path) -> None:
    if NO_BROWSER:
        raise SystemExit(NO_BROWSER)
    folder.mkdir(parents=True, exist_ok=True)
    os.umask(0o077)  # the desk has secrets
    _dashboard(folder)
    _quickstart(folder)


@contextmanager
def _sandboxed(*, subscriber: bool = True) -> Iterator[tuple[Desk, Played]]:
    """A desk over a sandbox. `subscriber`: it has one, which is away."""
    with closing(Played()) as played, tempfile.TemporaryDirectory() as place, closing(Desk(Path(place))) as desk:
        ports = ("--port", str(played.sandbox.port), "--smtp-port", str(played.sandbox.smtp_port))
        assert desk.onboard("init", "--sandbox", *ports).code == 0
        if subscriber:
            desk.add('[subscribers.crm]\nurl = "http://127.0.0.1:9/events"\nkeys = [{ file = "secrets/crm" }]\n')
            desk.secret("crm", "cHJldGVuZGVkLWtleS1vZi10aGUtY3JtLXN5c3RlbQ==")
        yield desk, played


def _dashboard(folder: Path) -> None:
    with _sandboxed() as (desk, _), running(desk) as address:
        bad = customers(12)
        for row in bad[:3]:
            row["country"] = "Atlantis"
        desk.onboard("import", desk.list_of(bad, "branch-kaunas.csv"))
        desk.onboard("import", desk.list_of(_others(customers(400)), "spring-2026.csv"))
        given = [row | {"channel": "email"} for row in _others(customers(640)[400:])]
        for row in given[:9]:
            row["channel"] = "Post"
        for row in given[20:23]:
            row["email"] = row["email"].replace("@", "")
        asyncio.run(_take(address, desk.path, folder, desk.path / desk.list_of(given, "autumn-2026.csv")))


def _others(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"customer_id": f"S{row['customer_id']}", "email": f"s{row['email']}"} for row in rows]


async def _take(address: str, home: Path, folder: Path, given: Path) -> None:
    async with logged_in(address, home) as tab:
        await tab.open(f"{address}/dashboard/lists")
        await give_file(tab, "#file", given)
        await click(tab, "main form button")
        await tab.until("document.querySelector('.badge.is-checked') !== null")
        await tab.open(f"{address}/")
        await tab.until("document.querySelector('.badge.is-sent') !== null")  # the first batch
        await asyncio.sleep(8)  # so that the second one has a pace
        for name, (path, looks) in PICTURES.items():
            for look in looks:
                await _picture(tab, address + path, look, folder / f"dashboard-{name}-{look}.webp")


async def _picture(tab: Tab, url: str, look: str, file: Path) -> None:
    width, height, dark = LOOKS[look]
    await tab.open(url, width=width, height=height, dark=dark)
    await tab.until("document.readyState == 'complete' && document.querySelector('h1') !== null")
    await tab.run("document.activeElement.blur()")
    await tab.picture(file, whole=True)
    file.chmod(0o644)  # noqa: ASYNC240 -- nothing else runs on this loop


def _quickstart(folder: Path) -> None:
    """What the reader of docs/start/quickstart.md sees: the terminal, the mailbox, the dashboard and the report."""
    listed = re.search(r"^```csv\n(.*?)^```$", text_of("start/quickstart.md"), re.MULTILINE | re.DOTALL)
    assert listed is not None
    with _sandboxed(subscriber=False) as (desk, played):
        desk.write("customers.csv", listed[1])
        typed = [("check", "customers.csv"), ("run", "customers.csv", "--yes"), ("status", "latest")]
        shown = [(words, desk.onboard(*words)) for words in typed]
        desk.write("terminal.html", _terminal([(words[:2], ended.err + ended.out) for words, ended in shown]))
        assert desk.onboard("report", "latest", "--out", "report.html").code == 0
        with serving(desk, "web", "--bind", "127.0.0.1:0", says="to look at: ") as dashboard:
            pages = {
                "terminal": (desk.path / "terminal.html").as_uri(),
                "mailbox": played.sandbox.url + "/",
                "dashboard": dashboard,
                "report": (desk.path / "report.html").as_uri(),
            }
            asyncio.run(_take_all(pages, desk.path, folder))


def _terminal(shown: list[tuple[tuple[str, ...], str]]) -> str:
    """A page that looks as a terminal after these commands."""
    text = "\n".join(f"$ onboard {' '.join(words)}\n{said}" for words, said in shown)
    style = "margin:0;padding:20px;background:#14191f;color:#d6dde4;font:14px/1.45 monospace;white-space:pre-wrap"
    return f'<!doctype html><meta charset="utf-8"><h1 hidden></h1><body style="{style}">{html.escape(text)}'


async def _take_all(pages: dict[str, str], home: Path, folder: Path) -> None:
    async with browser(home) as tab:
        for name, url in pages.items():
            await _picture(tab, url, "page", folder / f"quickstart-{name}.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
