"""Of a report that comes back, k changed rows are k actions; nothing is damaged that a person did not touch."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.foundation.notation import spreadsheet_safe
from onboarding_worker.core.model.customers import UPDATABLE, Details, Person
from onboarding_worker.features.service_desk.case import Refused
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.returned_lists import AS_STORED, Returns
from onboarding_worker.features.service_desk.store.cases import Place, StoredCustomer
from onboarding_worker.features.service_desk.store.desk import Corrected, Foreseen, Sent
from onboarding_worker.lists.columns import OwnFile
from onboarding_worker.lists.known_customers import ANOTHER_PERSON, Standing
from onboarding_worker.lists.lines import RefusedLine, Returned
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
OPTIONS = ListOptions(today=NOW.date())
COLUMNS = ("row", "customer_id", "state", "invitation", "attempts", "waits", "purpose", "kind", *UPDATABLE)


@dataclass
class FakeDesk:
    """Corrects customers in memory, as the desk does."""

    customers: dict[str, Details]
    standing: Standing = Standing.OPEN
    corrected: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    retried: list[Any] = field(default_factory=list)

    def stored(self, ids: Sequence[str]) -> dict[str, StoredCustomer]:
        place = Place(self.standing, 1, 2)
        return {one: StoredCustomer(self.customers[one], {"onboarding": place}) for one in ids if one in self.customers}

    def correct(self, customer_id: str, correction: Correction, *, now: datetime, **_how: Any) -> Corrected | Refused:
        self.customers[customer_id] = correction.applied(self.customers[customer_id])
        self.corrected.append((customer_id, correction.columns))
        if self.standing is not Standing.OPEN or not correction.addresses:
            return Corrected(correction.columns, Refused("there is no link that works"))
        channel, address = next(iter(correction.addresses.items()))
        self.sent.append((customer_id, address))
        return Corrected(correction.columns, Sent(channel, "…", now, now))

    def may_correct(self, _customer_id: str, _correction: Correction, **_how: Any) -> Foreseen | Refused:
        return Foreseen((), Refused("there is no link that works"), again=("kyc", ("email",)))

    def returns(self, *, act: bool = True, another_person: bool = False) -> Returns:
        parts = SimpleNamespace(clock=lambda: NOW)  # no row of these reports is a new one
        here: Any = {"parts": parts, "customers": self.stored, "desk": self, "retry": self.retried.append}
        given: Any = {"name": "report.csv", "options": OPTIONS, "database": None, "another_person": another_person}
        return Returns(act=act, **given, **here)


def report(customers: dict[str, Details], *, delimiter: str = ",") -> list[dict[str, str]]:
    return [
        {"row": str(row), "customer_id": spreadsheet_safe(one), "state": "invited", "purpose": "onboarding"}
        | {"invitation": "sent", "attempts": "1", "waits": "0", "kind": "individual"}
        | {column: spreadsheet_safe(details.shown(column)) for column in UPDATABLE}
        for row, (one, details) in enumerate(customers.items(), start=2)
    ]


def settle(returns: Returns, rows: Sequence[dict[str, str]], columns: Sequence[str] = COLUMNS) -> list[RefusedLine]:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter=";", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    lines = [line for line in open_list(io.BytesIO(out.getvalue().encode("utf-8-sig")), OPTIONS)]
    settled = list(returns.settle([line for line in lines if isinstance(line, Returned)]))
    assert all(isinstance(line, RefusedLine) for line in settled)
    return [line for line in settled if isinstance(line, RefusedLine)]


NAMES = st.sampled_from(["", "Ona", "=SUM(A1)", "-Jonas", 'Ż, "ółć"', "@home", "Anna;Maria"])
PEOPLE = st.builds(
    Person,
    email=st.integers(0, 10**6).map(lambda n: f"box{n}@example.com"),
    phone=st.sampled_from(["", "+37060000001", "+447911000001"]),
    first_name=NAMES,
    last_name=NAMES,
    date_of_birth=st.one_of(st.none(), st.dates(min_value=NOW.date().replace(year=1930), max_value=NOW.date())),
)
STORED = st.builds(Details, PEOPLE, country=st.sampled_from(["", "LT", "GB"]))
EDITS = st.sampled_from(
    [{"email": "new@example.org"}, {"phone": "+4915112345678"}, {"first_name": "Another"}, {"locale": "pt-BR"}]
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_k_edits_are_k_actions_in_any_order_of_rows_and_columns(data: st.DataObject):
    people = data.draw(st.lists(STORED, min_size=1, max_size=8))
    customers = {f"{'00-='[n % 4]}C{n}": details for n, details in enumerate(people)}
    desk = FakeDesk(dict(customers))
    rows = report(customers)
    settle(desk.returns(), rows)
    assert not desk.corrected
    edited = data.draw(st.dictionaries(st.integers(0, len(rows) - 1), EDITS))
    for place, edit in edited.items():
        rows[place] |= edit
    gone = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    kept = data.draw(st.permutations([place for place in range(len(rows)) if place not in gone]))
    columns = data.draw(st.permutations(COLUMNS))
    copies = [rows[place] for place in data.draw(st.lists(st.sampled_from(kept), max_size=2))] if kept else []
    blank = [dict.fromkeys(COLUMNS, "")] * data.draw(st.integers(0, 3))

    returns = desk.returns()
    shown = [*(rows[place] for place in kept), *copies, *blank]
    settled = settle(returns, shown, columns) if kept else []

    acted = {[*customers][place] for place in edited if place in kept}
    assert {change.customer_id for change in returns.changes} == acted
    assert len(returns.changes) == len(desk.corrected) == len(acted)
    addressed = {[*customers][p] for p, edit in edited.items() if p in kept and edit.keys() & {"email", "phone"}}
    assert {one for one, _ in desk.sent} == addressed
    assert sum(line.known == AS_STORED for line in settled) == len(kept) - len(acted)
    # And what was imported once does nothing again.
    if kept:
        again = desk.returns()
        settle(again, shown, columns)
        assert again.changes == []


def test_a_failed_row_is_tried_again_and_a_finished_one_is_left():
    details = Details(Person(email="one@example.com"))
    failed, finished = FakeDesk({"C": details}, Standing.FAILED), FakeDesk({"C": details}, Standing.FINISHED)
    edited = [report({"C": details})[0] | {"email": "two@example.com"}]

    (tried,) = settle(failed.returns(), edited)
    (left,) = settle(finished.returns(), edited)

    assert tried.known == "email changed; row 2 of batch 1 is tried again"
    assert len(failed.retried) == 1
    assert left.problems[0].problem.startswith("the customer has finished")
    assert not finished.corrected


def test_letters_of_a_file_that_does_not_say_its_encoding_are_never_stored():
    desk = FakeDesk({"C": Details(Person(email="one@example.com", last_name="Möller"))})
    (row,) = report(desk.customers)

    def saved(encoding: str, options: ListOptions = OPTIONS, **changes: str) -> RefusedLine:
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerow(row | changes)
        lines = list(open_list(io.BytesIO(out.getvalue().encode(encoding)), options))
        (settled,) = desk.returns().settle([line for line in lines if isinstance(line, Returned)])
        assert isinstance(settled, RefusedLine)
        return settled

    assert saved("cp1252").known == AS_STORED
    assert saved("cp1252", first_name="Zoë").problems[0].problem == "letters in an unknown encoding"
    assert not desk.corrected
    assert saved("cp1252", first_name="Zoe").known == "first_name changed"
    assert saved("cp1252", replace(OPTIONS, encoding="cp1252"), first_name="Zoë").known == "first_name changed"


def test_what_is_only_foreseen_changes_nothing():
    desk = FakeDesk({"C": Details(Person(email="one@example.com"))})
    returns = desk.returns().foreseeing()
    settle(returns, [report(desk.customers)[0] | {"email": "two@example.com"}])
    (change,) = returns.changes
    assert change.what.startswith("email changed")
    assert (change.account, change.again) == ("", False)
    assert not desk.corrected


@pytest.mark.parametrize("changed", ["email", "first_name"])
def test_what_a_failed_row_that_is_tried_again_asks_for_is_foreseen(changed: str):
    desk = FakeDesk({"C": Details(Person(email="one@example.com", first_name="Ona"))}, Standing.FAILED)
    returns = desk.returns().foreseeing()
    settle(returns, [report(desk.customers)[0] | {changed: "two@example.com" if changed == "email" else "Una"}])
    (change,) = returns.changes
    assert (change.account, change.channels, change.again) == ("kyc", ("email",), True)
    assert not desk.retried


@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_report_in_json_is_recognised_and_acts_on_the_changed_rows(form: str):
    people = {f"C{number}": Details(Person(email=f"box{number}@example.com")) for number in range(3)}
    desk = FakeDesk(people)
    rows: list[dict[str, Any]] = [row | {"row": int(row["row"]), "attempts": 1} for row in report(people)]
    rows[1] |= {"email": "new@example.org", "next_at": None, "first_name": {"a": 1}}
    rows[2]["email"] = "two@example.org"
    text = json.dumps(rows) if form == "array" else "".join(json.dumps(row) + "\n" for row in rows)
    reading = open_list(io.BytesIO(text.encode()), OPTIONS)
    assert reading.own is OwnFile.REPORT
    lines = [line for line in reading if isinstance(line, Returned)]
    unchanged, refused, changed = desk.returns().settle(lines)
    assert isinstance(unchanged, RefusedLine)
    assert unchanged.known == AS_STORED
    assert isinstance(refused, RefusedLine)
    assert [problem.column for problem in refused.problems] == ["first_name"]
    assert isinstance(changed, RefusedLine)
    assert changed.known == "email changed; the link leaves by email"
    assert desk.sent == [("C2", "two@example.org")]


@pytest.mark.parametrize("act", [False, True])
def test_a_row_that_leaves_nothing_of_the_person_is_refused_and_one_that_leaves_something_is_corrected(act: bool):
    ona = Details(Person(email="ona@example.org", phone="+37060000001", first_name="Ona", last_name="Petraitė"))
    desk = FakeDesk({name: replace(ona) for name in ("C-1", "C-2")})
    rows = report(desk.customers)
    jonas = {"first_name": "Jonas", "last_name": "Kazys", "email": "jonas@example.org"}
    rows[0] |= jonas | {"phone": "+37060000002"}
    rows[1] |= jonas

    another, corrected = settle(desk.returns(act=act), rows)

    assert another.problems == (ANOTHER_PERSON,)
    assert corrected.known
    assert desk.customers["C-1"] == ona
    taken = settle(desk.returns(act=act, another_person=True), rows[:1])
    assert [one.problems for one in taken] == [()]
    assert desk.customers["C-1"].person.first_name == ("Jonas" if act else "Ona")
