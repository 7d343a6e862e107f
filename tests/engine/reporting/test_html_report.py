"""The HTML report: safe with hostile text, self-contained, bounded in size."""

import base64
import hashlib
import io
import re
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from worker.domain.model.sessions import Opening
from worker.domain.model.states import JobState
from worker.engine.reporting.html_report import SHOWN, STATES, write_html
from worker.store.operators.report_rows import LineFacts

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
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


def page_of(lines: list[LineFacts], *, with_link: bool = False, **changed: Any) -> "Page":
    out = io.StringIO()
    rows: dict[str, int] = {}
    for line in lines:
        rows[line.state] = rows.get(line.state, 0) + 1
    count = write_html(out, facts(**{"rows": rows, **changed}), lines, with_link=with_link, now=NOON)
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
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.code:
            self.code[self.open[-1]].append(data)
        else:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

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
        forecast={"finishes_at": None, "limited_by": HOSTILE},
    )
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.shown.count("{{ 7*7 }}") >= 6
    assert page.shown.count("<script>alert(1)</script>") >= 6


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
    for _, attributes in page.tags:
        assert not {"src", "srcset", "style", "data", "poster", "action"} & set(attributes)
    assert page.all("link") == []
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|https?:", "".join(page.code["style"] + page.code["script"]))


def test_every_state_is_explained_and_the_bar_adds_up():
    states = [*STATES, "invited", "invited"]
    page = page_of([LineFacts(row=row, customer_id=f"A-{row}", state=state) for row, state in enumerate(states, 2)])
    assert set(STATES) == {*JobState, "rejected", "duplicate"}
    for words in STATES.values():
        assert words in page.shown
    widths = [float(one["width"] or 0) for one in page.all("rect")]
    assert len(widths) == len(STATES)
    assert sum(widths) == pytest.approx(100, abs=0.1)


def test_an_empty_batch_has_a_page_too():
    page = page_of([])
    assert page.all("rect") == []
    assert "Nothing. No row is held" in page.shown


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
    assert len(re.findall("<tr>", groups)) == 1 + 3
    assert "8 held" in shown
    assert "2, 3, 4, 5, 6, …" in shown
    assert "no answer came (8)" in shown
    assert "2 failed" in shown
    assert "correct the data and import the customer in a new list" in shown
    assert "1 rejected" in shown
    assert "invited" not in shown


def test_tables_can_be_read_aloud():
    page = page_of([LineFacts(row=2, customer_id="A-1", state="held", reason="unknown", detail="x")])
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one.get("scope") in ("row", "col") for one in page.all("th"))
    (bar,) = page.all("svg")
    assert bar["role"] == "img"
    assert bar["aria-label"] == "1 held"
    labelled = page.text.count("<label>")
    assert labelled == len(page.all("select")) + len(page.all("input"))


def test_a_big_batch_is_counted_whole_shown_in_part_and_not_kept_in_memory():
    number = 20 * SHOWN

    def lines() -> Iterator[LineFacts]:
        for row in range(2, number + 2):
            held = row % 2 == 0
            yield LineFacts(
                row=row,
                customer_id=f"A-{row}",
                state="held" if held else "invited",
                reason="unknown" if held else "",
                detail=f"a text of its own {row}" if held else "",
            )

    out = Counting()
    tracemalloc.start()
    try:
        half = number // 2
        count = write_html(out, facts(rows={"held": half, "invited": half}), lines(), with_link=False, now=NOON)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == number
    assert out.rows == SHOWN
    assert out.says_where
    assert peak < 12_000_000  # all of them would take about 60 MB


class Counting(io.TextIOBase):
    """Keeps no text, so that only the memory of `write_html` is measured."""

    def __init__(self) -> None:
        self.rows = 0
        self.says_where = False

    def write(self, text: str) -> int:
        self.rows += text.count("<tr data-state=")
        self.says_where = self.says_where or "--format csv" in text
        return len(text)
