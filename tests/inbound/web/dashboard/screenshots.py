"""Takes the pictures of docs/how-to/dashboard.md, from a dashboard over the sandbox: `make screenshots`."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.desk.chromium import NO_BROWSER, Tab
from tests.desk.desk import Desk, Played, customers
from tests.inbound.web.dashboard.pictures import PAGES, logged_in, running

LOOKS = {"light": (1280, False), "dark": (1280, True), "phone": (390, False)}
# By name: the page, and which looks there are pictures of.
PICTURES = {
    "now": (PAGES["now"], ("light", "dark", "phone")),
    "confirm": ("/dashboard/do/pause?batch=2", ("light",)),
    "events": (PAGES["events"], ("light",)),
    "audit": (PAGES["audit"], ("dark",)),
}


def main(folder: Path) -> None:
    if NO_BROWSER:
        raise SystemExit(NO_BROWSER)
    folder.mkdir(parents=True, exist_ok=True)
    os.umask(0o077)  # the desk has secrets
    played = Played()
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(Path(place))
        try:
            _set_up(desk, played)
            with running(desk) as address:
                bad = customers(12)
                for row in bad[:3]:
                    row["country"] = "Atlantis"
                desk.onboard("import", desk.list_of(bad, "branch-kaunas.csv"))
                desk.onboard("import", desk.list_of(_others(customers(400)), "spring-2026.csv"))
                asyncio.run(_take(address, Path(place), folder))
        finally:
            desk.close()
            played.close()


def _set_up(desk: Desk, played: Played) -> None:
    ports = ("--port", str(played.sandbox.port), "--smtp-port", str(played.sandbox.smtp_port))
    assert desk.onboard("init", "--sandbox", *ports).code == 0
    desk.add('[subscribers.crm]\nurl = "http://127.0.0.1:9/events"\nkeys = [{ file = "secrets/crm" }]\n')
    desk.secret("crm", "cHJldGVuZGVkLWtleS1vZi10aGUtY3JtLXN5c3RlbQ==")


def _others(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"customer_id": f"S{row['customer_id']}", "email": f"s{row['email']}"} for row in rows]


async def _take(address: str, home: Path, folder: Path) -> None:
    async with logged_in(address, home) as tab:
        await tab.open(f"{address}/")
        await tab.until("document.querySelector('.badge.is-sent') !== null")  # the first batch
        await asyncio.sleep(8)  # so that the second one has a pace
        for name, (path, looks) in PICTURES.items():
            for look in looks:
                await _picture(tab, address + path, look, folder / f"dashboard-{name}-{look}.png")


async def _picture(tab: Tab, url: str, look: str, file: Path) -> None:
    width, dark = LOOKS[look]
    await tab.open(url, width=width, dark=dark)
    await tab.until("document.readyState == 'complete' && document.querySelector('h1') !== null")
    await tab.run("document.activeElement.blur()")
    await tab.picture(file, whole=True)
    file.chmod(0o644)  # noqa: ASYNC240 -- nothing else runs on this loop


if __name__ == "__main__":
    main(Path(sys.argv[1]))
