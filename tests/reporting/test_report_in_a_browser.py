"""The report page in Debian's Chromium: what a reader does with it.

The tests have a loop of their own: that of the other tests here does not wait for real time.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onboarding_worker.reporting.html_report import write_html
from onboarding_worker.reporting.report_lines import Columns
from onboarding_worker.reporting.store.report_rows import LineFacts
from tests.desk.chromium import NO_BROWSER, Tab, browser
from tests.reporting.test_html_report import facts

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ROWS = 5_000
HELD = {row: "unknown" for row in range(2, 120, 2)}
# Whether an element lies within the window, from edge to edge.
WITHIN = "(() => {{ const box = document.querySelector({0!r}).getBoundingClientRect();"
WITHIN += " return box.left >= 0 && box.right <= innerWidth && box.width > 40; }})()"


def lines() -> Iterator[LineFacts]:
    for row in range(2, ROWS + 2):
        state = "held" if row in HELD else "invited"
        detail = f"the provider's list shows session 3f1c2b9a-0d4e-4f6a-8b7c-{row:012x} ACTIVE" if row in HELD else ""
        yield LineFacts(
            row=row,
            customer_id=f"C-{row}",
            state=state,
            account="kyc",
            reason=HELD.get(row, ""),
            detail=detail,
            expires_at=NOON + timedelta(days=7),
        )


@pytest.fixture
def page(tmp_path: Path) -> str:
    path = tmp_path / "report.html"
    with path.open("w", encoding="utf-8") as out:
        counts = {"held": len(HELD), "invited": ROWS - len(HELD)}
        write_html(out, facts(rows=counts), lines(), Columns(NOON, routes=True))
    return path.as_uri()


async def texts(tab: Tab, selector: str) -> list[str]:
    return await tab.run(f"Array.from(document.querySelectorAll({selector!r}), (one) => one.textContent)")


def test_a_reader_finds_the_rows_that_need_a_person(page: str, tmp_path: Path):
    asyncio.run(find_the_rows(page, tmp_path))


async def find_the_rows(page: str, tmp_path: Path) -> None:
    async with browser(tmp_path) as tab:
        await tab.open(page, width=1280)
        await tab.until("document.documentElement.dataset.ready")

        assert tab.requests == [page]
        assert await tab.run("document.documentElement.scrollWidth") == 1280
        for column in ("c-error", "c-action"):
            assert await tab.run(WITHIN.format(f"#lines .{column}"))
        heights = await tab.run("Array.from(document.querySelectorAll('#lines tr'), (row) => row.offsetHeight)")
        assert len(heights) == 200
        assert max(heights) < 40, "one line a row"

        await tab.run("document.querySelector('button[data-show-group]').click()")
        assert await texts(tab, "#filter-count") == [f"{len(HELD)} of 5,000 rows"]
        assert {state.strip() for state in await texts(tab, "#lines .c-state")} == {"held"}
        await tab.run("document.querySelector('#lines button.open').click()")
        assert "-000000000002 ACTIVE" in " ".join(await texts(tab, "#lines .details dd"))

        await tab.run("document.querySelector('#filter button[type=reset]').click()")
        await tab.until("document.getElementById('filter-count').textContent.startsWith('5,000')")
        search = "const box = document.getElementById('filter-text'); box.value = 'c-4711';"
        await tab.run(search + "box.dispatchEvent(new Event('input'))")
        await tab.until("document.getElementById('filter-count').textContent.startsWith('1 of')")
        assert (await texts(tab, "#lines .c-row")) == ["4711"]


def test_on_a_phone_nothing_is_wider_than_the_screen(page: str, tmp_path: Path):
    asyncio.run(look_on_a_phone(page, tmp_path))


async def look_on_a_phone(page: str, tmp_path: Path) -> None:
    async with browser(tmp_path) as tab:
        await tab.open(page, width=390, height=844)
        await tab.until("document.documentElement.dataset.ready")

        assert await tab.run("document.documentElement.scrollWidth") == 390
        assert await tab.run(WITHIN.format("#lines .c-action"))
        first = await tab.run("document.getElementById('person').getBoundingClientRect().top")
        assert first < 844, "what needs a person is on the first screen"
