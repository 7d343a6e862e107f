"""A report that comes back from a spreadsheet: acts on exactly the rows that a person has changed.

A row of a known customer is compared with what is stored. What differs is corrected as the service desk corrects it,
with its caps and its entry in the audit log; a row that says what is stored does nothing. A row that was rejected, and
is filled in, is a new row like one of any list.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from onboarding_worker.core.foundation.keyring import CannotDecrypt
from onboarding_worker.core.model.channels import CALLED
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.states import LineState
from onboarding_worker.features.service_desk.case import Refused
from onboarding_worker.features.service_desk.corrections import OF_ROW, Correction, correction_of, guessed_letters
from onboarding_worker.features.service_desk.links import NewLink, Resend
from onboarding_worker.features.service_desk.opened import desk_of
from onboarding_worker.features.service_desk.store.cases import Place, StoredCustomer, stored_customers
from onboarding_worker.features.service_desk.store.desk import Sent, ServiceDesk
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.decisions.row_addresses import RowRanges
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.importing.intake import Intake, judge
from onboarding_worker.lists.known_customers import ANOTHER_PERSON, KnownRule, Standing, decide
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine, Returned
from onboarding_worker.lists.returned import Change, ReturnedReport
from onboarding_worker.reporting.store.ledger import place_in_words
from onboarding_worker.wiring.container import Parts

AS_STORED = "nothing was changed"
_NOT_FILLED_IN = "nothing was filled in"
_NOT_OURS = FieldProblem(
    "customer_id", "no customer has this id", "a spreadsheet may have rewritten it: format the column as text"
)
_FINISHED = FieldProblem("", "the customer has finished: nothing is changed", "leave the row as it was")
_UNREADABLE = FieldProblem(
    "customer_id", "what is stored about the customer cannot be read", "see the column `error` of the report"
)
_ERASED = FieldProblem("customer_id", "the customer was erased", "leave the row out")


@dataclass(kw_only=True)
class Returns(ReturnedReport):
    parts: Parts
    customers: Callable[[Sequence[str]], dict[str, StoredCustomer]]
    desk: ServiceDesk
    retry: Callable[[Which], object]
    # Of lines whose chunk was cut off by an outage.
    _done: dict[int, RefusedLine] = field(default_factory=dict, init=False)

    @cached_property
    def _intake(self) -> Intake:
        return self.parts.intake.of(self.origin, account=self.options.defaults.get("account", ""))

    def settle(self, lines: Sequence[Returned]) -> Iterator[AcceptedLine | RefusedLine]:
        stored = self.customers([line.customer_id for line in lines if line.customer_id])
        for line in lines:
            yield self._done.get(line.row) or self._settled(line, stored.get(line.customer_id))
        self._done.clear()

    def _settled(self, line: Returned, stored: StoredCustomer | None) -> AcceptedLine | RefusedLine:
        if stored is None:
            return self._new(line)
        if stored.details is None or isinstance(stored.details, CannotDecrypt):
            why = _ERASED if stored.details is None else _UNREADABLE
            return _refused(line, why) if _is_filled_in(line) else _known(line, AS_STORED)
        options, today = self.options, self.parts.clock().date()
        dates, domains = options.dates, options.mail_domains
        correction, problems = correction_of(line.cells, stored.details, today=today, dates=dates, mail_domains=domains)
        problems += guessed_letters(correction) if line.guessed else ()
        if problems:
            return _refused(line, *problems)
        if not correction.columns:
            return _known(line, AS_STORED)
        if not self.another_person and correction.is_of_another(stored.details):
            return _refused(line, ANOTHER_PERSON)
        place = _place(line, stored)
        if isinstance(place, FieldProblem):
            return _refused(line, place)
        decision = decide(KnownRule.RETURNED, place[1].standing)
        if not decision.details:
            return _refused(line, _FINISHED)
        return self._corrected(line, correction, *place)

    def _corrected(self, line: Returned, correction: Correction, purpose: str, place: Place) -> RefusedLine:
        how: dict[str, Any] = {"purpose": purpose, "another_person": self.another_person, "now": self.parts.clock()}
        if self.act:
            how["reason"] = f"row {line.row} of {self.name}"[:200]
        done = (self.desk.correct if self.act else self.desk.may_correct)(line.customer_id, correction, **how)
        if isinstance(done, Refused):
            return _not_done(line, correction, done)
        said = _followed(line, correction, done.follows, place)
        what = f"{said}; {done.warning}" if done.warning else said
        until = done.opens_until
        follows: dict[str, Any] = {"waits_until": until, "channels": done.again[1] if until else ()}
        match done.follows:
            case NewLink(account=account, channels=channels):
                follows = {"account": account, "channels": channels}
            case Sent(channel=channel) | Resend(channel=channel):
                follows = {"channels": [channel]}
            case _ if _is_tried_again(place):
                follows = {"account": done.again[0], "channels": done.again[1], "again": True}
                if self.act:
                    self.retry(Which(place.batch_id, rows=RowRanges(((place.row, place.row),))))
        self.changes.append(Change(line.row, line.customer_id, what, place.batch_id, **follows))
        known = _known(line, what)
        if self.act:
            self._done[line.row] = known
        return known

    def _new(self, line: Returned) -> AcceptedLine | RefusedLine:
        if not _is_filled_in(line):
            return RefusedLine(line.row, "", known=_NOT_FILLED_IN)
        if line.state not in ("", LineState.REJECTED):
            return RefusedLine(line.row, "", (_NOT_OURS,))
        judged = judge(self._intake, accept(line.row, line.cells, self.options))
        if isinstance(judged, AcceptedLine):
            self.changes.append(Change(line.row, judged.customer.customer_id, "a new row"))
        return judged


def _followed(line: Returned, correction: Correction, follows: Sent | Resend | NewLink | Refused, place: Place) -> str:
    what = f"{' and '.join(correction.columns)} changed"
    if isinstance(follows, Sent | Resend):
        return f"{what}; the link leaves by {CALLED[follows.channel]}"
    if isinstance(follows, NewLink):
        return f"{what}; {follows.account} is asked for another session, whose link follows"
    if _is_tried_again(place):
        return f"{what}; {place_in_words(place.row, place.batch_id)} is tried again"
    if correction.addresses:
        return f"{what}; no message was added: {follows.of(line.customer_id)}"
    return what


def _is_tried_again(place: Place) -> bool:
    return decide(KnownRule.RETURNED, place.standing).retry


def _place(line: Returned, stored: StoredCustomer) -> tuple[str, Place] | FieldProblem:
    """The purpose that the row is about, and where its customer stands."""
    asked = str(line.cells.get("purpose") or "").lower()
    if not asked and len(stored.places) > 1:
        several = ", ".join(sorted(stored.places))
        return FieldProblem("purpose", f"the customer is onboarded for several purposes ({several})", "name one")
    purpose = asked or next(iter(stored.places), "onboarding")
    return purpose, stored.places.get(purpose, Place(Standing.ENDED, 0, 0))


def _is_filled_in(line: Returned) -> bool:
    return any(cell not in (None, "") for name, cell in line.cells.items() if name not in OF_ROW)


def _not_done(line: Returned, correction: Correction, why: Refused) -> RefusedLine:
    why = why.of(line.customer_id)
    return _refused(
        line, FieldProblem(correction.columns[0], why.why, why.then or "import the file again with --again")
    )


def _known(line: Returned, what: str) -> RefusedLine:
    return RefusedLine(line.row, line.customer_id, known=what)


def _refused(line: Returned, *problems: FieldProblem) -> RefusedLine:
    return RefusedLine(line.row, line.customer_id, problems)


def settling(parts: Parts, report: ReturnedReport) -> Returns:
    customers, decisions = partial(stored_customers, parts.database, parts.keyring), Decisions(report.database)
    desk = desk_of(parts, report.database)
    retry = lambda which: decisions.retry(which, now=parts.clock())  # noqa: E731
    return Returns(**vars(report), parts=parts, customers=customers, desk=desk, retry=retry)
