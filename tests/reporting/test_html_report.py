"""The HTML report: safe with hostile text, self-contained, bounded in size."""

import base64
import hashlib
import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.model.states import JobState, LineState
from onboarding_worker.reporting.html_report import STATES, STATIC, write_html
from onboarding_worker.reporting.prices import Prices
from onboarding_worker.reporting.report_lines import Columns
from onboarding_worker.reporting.store.report_rows import LineFacts
from onboarding_worker.reporting.store.spending import Figures, Spending
from onboarding_worker.settings.money import Price
from tests.suite.some import some

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FIELDS = Columns(NOON, routes=True).names
HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'{{ 7*7 }}</td>"


def facts(**changed: Any) -> dict[str, Any]:
    rows = dict.fromkeys([*JobState, "rejected", "duplicate"], 0)
    rows.update(changed.pop("rows", {}))
    return {
        "batch": 7,
        "name": "customers.csv",
        "state": "sent",
        "rows": {"total": sum(rows.values()), **rows},
        "results": {},
        "accounts": {"kyc": {"requests": 12, "issued": 10, "rate_limited": 1, "errors": 1, "stopped": None}},
        "invitations": dict.fromkeys(["waiting", "sent", "delivered", "bounced", "suppressed", "failed", "held"], 0),
        "forecast": {"finishes_at": None, "limited_by": None},
    } | changed


def page_of(lines: list[LineFacts], *used: Any, with_link: bool = False, **changed: Any) -> "Page":
    out = io.StringIO()
    rows: dict[str, int] = {}
    for line in lines:
        rows[line.state] = rows.get(line.state, 0) + 1
    columns = Columns(NOON, links=with_link, routes=True)
    count = write_html(out, facts(**{"rows": rows, **changed}), lines, columns, *used)
    assert count == len(lines)
    return Page(out.getvalue())


class Page(HTMLParser):
    """The page as a browser reads it: each tag with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.data: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script" and self.tags[-1][1]:  # data, and not the script
            self.data += [data] if self.tags[-1][1].get("class") == "chunk" else []
        elif self.open and self.open[-1] in self.code:
            self.code[self.open[-1]].append(data)
        else:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows that the page's script shows, as it reads them."""
        found = []
        for chunk in map(json.loads, self.data):
            for row in chunk["r"]:
                found.append(dict(zip(FIELDS, row, strict=False)))
                found[-1] |= {name: chunk["w"][found[-1][name]] for name in ("state", "error", "action", "account")}
        return found

    @property
    def shown(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_hostile_text_is_shown_as_text_everywhere():
    line = LineFacts(
        row=2,
        customer_id=HOSTILE,
        state="held",
        account=HOSTILE,
        reference=HOSTILE,
        reason="unknown",
        detail=HOSTILE,
        invitation="none",
    )
    stopped = {"requests": 0, "issued": 0, "rate_limited": 0, "errors": 0, "stopped": HOSTILE}
    page = page_of(
        [line],
        name=HOSTILE,
        accounts={HOSTILE: stopped},
        results={HOSTILE: 1},
        forecast={"finishes_at": "2026-11-20T13:00:00Z", "limited_by": HOSTILE, "apart": [HOSTILE]},
    )
    assert [one.get("type") for one in page.all("script")] == ["application/json"] * 2 + [None]
    assert "<" not in page.data[0]
    assert page.rows[0]["account"].endswith(HOSTILE)
    assert page.all("img") == []
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.shown.count("{{ 7*7 }}") >= 7
    assert page.shown.count("<script>alert(1)</script>") >= 7


def test_a_link_that_is_no_https_address_is_only_text():
    lines = [
        LineFacts(row=2, customer_id="A-1", state="issued", opening=Opening("javascript:alert(1)")),
        LineFacts(row=3, customer_id="A-2", state="issued", opening=Opening('https://x.example/"onclick="alert(1)')),
    ]
    page = page_of(lines, with_link=True)
    (link,) = [one for one in page.all("a") if (one.get("href") or "").startswith(("http", "java"))]
    assert link["href"] == 'https://x.example/"onclick="alert(1)'
    assert "onclick" not in link
    assert "Anyone who has a link can use it" in page.shown


def test_the_policy_allows_the_one_script_and_style_and_nothing_else():
    page = page_of([LineFacts(row=2, customer_id="A-1", state="invited")])
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        (code,) = ["".join(page.code[kind])]
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert page.text.index("Content-Security-Policy") < page.text.index("<style>")


def test_it_fetches_nothing():
    page = page_of([LineFacts(row=2, customer_id="A-1", state="invited")])
    for _, attributes in some(page.tags):
        assert not {"src", "srcset", "style", "data", "poster", "action"} & set(attributes)
    assert page.all("link") == []
    code = "".join(page.code["style"] + page.code["script"]).replace('startsWith("https://")', "")
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|https?:", code)


def test_every_state_is_explained_and_the_bar_adds_up():
    states = [*STATES, "invited", "invited"]
    page = page_of([LineFacts(row=row, customer_id=f"A-{row}", state=state) for row, state in enumerate(states, 2)])
    assert set(STATES) == {*JobState, *LineState}
    for words in STATES.values():
        assert words in page.shown
    widths = [float(one["width"] or 0) for one in page.all("rect")]
    assert len(widths) == len(STATES)
    assert sum(widths) == pytest.approx(100, abs=0.1)


def test_what_is_zero_is_neither_in_the_bar_nor_in_its_legend():
    page = page_of([LineFacts(row=2, customer_id="A-1", state="invited")])
    legend = page.text.partition('<ul class="legend">')[2].partition("</ul>")[0]
    assert Page(legend).shown == "1 invited"


def test_an_empty_batch_has_a_page_too():
    page = page_of([])
    assert page.all("rect") == []
    assert "The list has no rows." in page.shown
    assert "Nothing. No row is held" in page.shown


def test_it_begins_with_the_headline_then_what_needs_a_person_then_the_bar_then_the_rows():
    page = page_of([LineFacts(row=2, customer_id="A-1", state="held", reason="unknown", detail="x")])
    places = [page.text.index(mark) for mark in ('class="headline', 'id="person"', 'class="bar"', 'id="all-rows"')]
    assert places == sorted(places)
    assert "0 of 1 row is invited; 1 row waits for a decision." in page.shown


def test_rows_that_need_a_person_are_grouped_by_reason_with_what_to_do():
    lines = [
        *(
            LineFacts(row=row, customer_id=f"A-{row}", state="held", reason="unknown", detail="no answer came")
            for row in range(2, 10)
        ),
        LineFacts(row=10, customer_id="A-10", state="failed", reason="bad_input", detail="HTTP 400: lastName"),
        LineFacts(row=11, customer_id="A-11", state="failed", reason="bad_input", detail="HTTP 400: firstName"),
        LineFacts(row=12, customer_id="", state="rejected", reason="rejected", detail="email: no @ in it"),
        LineFacts(row=13, customer_id="A-13", state="invited"),
    ]
    page = page_of(lines)
    groups = page.text.partition('id="person"')[2].partition("</section>")[0]
    shown = Page(groups).shown
    assert groups.count('<li class="group">') == 3
    assert "8 held" in shown
    assert "Rows 2-9" in shown
    assert "no answer came" in shown
    assert "2 failed" in shown
    assert "HTTP 400: firstName (1)" in shown
    assert "correct the data and import the customer in a new list" in shown
    assert "1 rejected" in shown
    assert "invited" not in shown


def test_all_row_numbers_of_a_group_are_on_the_page():
    lines = [
        LineFacts(row=row, customer_id=f"A-{row}", state="held", reason="unknown", detail="x")
        for row in range(2, 102, 2)
    ]
    page = page_of(lines)
    numbers = page.text.partition('id="numbers-0"')[2].partition(">")[2].partition("<")[0]
    assert [int(number) for number in numbers.split(", ")] == list(range(2, 102, 2))


def test_costs_are_by_route_and_for_each_verified_customer():
    routes = {
        "route 1: kind = company": Figures({"kyb": 2}, {"email": 2}, {"email": 2}, customers=2, verified=1),
        "route 2: every customer": Figures(
            {"kyc": 10}, {"email": 9, "sms": 1}, {"email": 9, "sms": 1}, customers=10, verified=4
        ),
    }
    prices = Prices(
        {"kyc": Price.parse("0.90 EUR"), "kyb": Price.parse("4.50 EUR")}, {"email": Price.parse("0.01 EUR")}
    )
    page = page_of([LineFacts(row=2, customer_id="A-1", state="invited")], Spending(routes), prices)
    costs = Page(page.text.partition('id="costs"')[2].partition("</section>")[0]).shown
    assert "route 1: kind = company 2 2 2 9.02 EUR 1 9.02 EUR" in costs
    assert "route 2: every customer 10 10 10 9.09 EUR 4 2.27 EUR" in costs
    assert "all 12 12 12 18.11 EUR 5 3.62 EUR" in costs
    assert "Without a price, so not in the amounts: sms" in costs


def test_tables_can_be_read_aloud():
    page = page_of([LineFacts(row=2, customer_id="A-1", state="held", reason="unknown", detail="x")])
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one.get("scope") in ("row", "col") for one in some(page.all("th")))
    assert len({one["aria-label"] for one in page.all("div") if one.get("role") == "region"}) == len(
        [one for one in page.all("div") if one.get("role") == "region"]
    )
    (bar,) = page.all("svg")
    assert bar["role"] == "img"
    assert bar["aria-label"] == "1 held"
    labelled = page.text.count("<label>")
    assert labelled == len(page.all("select")) + len(page.all("input"))


def test_a_big_batch_is_on_the_page_whole_and_not_kept_in_memory():
    number = 4_000

    def lines() -> Iterator[LineFacts]:
        for row in range(2, number + 2):
            held = row % 2 == 0
            yield LineFacts(
                row=row,
                customer_id=f"A-{row}",
                state="held" if held else "invited",
                reason="unknown" if held else "",
                detail=f"a text of its own: {row:x}" if held else "",
            )

    out = Counting()
    tracemalloc.start()
    try:
        half = number // 2
        count = write_html(out, facts(rows={"held": half, "invited": half}), lines(), Columns(NOON, routes=True))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == number
    assert (out.static, out.chunks) == (STATIC, number // 1000)
    assert out.says_where
    assert peak < 3_500_000  # all of them would take 5 MB


class Counting(io.TextIOBase):
    """Keeps no text, so that only the memory of `write_html` is measured."""

    def __init__(self) -> None:
        self.static = self.chunks = 0
        self.says_where = False

    def write(self, text: str) -> int:
        self.static += text.count('<th scope="row" role="rowheader"')
        self.chunks += text.count('class="chunk"')
        self.says_where = self.says_where or "--format csv" in text
        return len(text)
