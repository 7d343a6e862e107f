"""What the service desk does for a customer: send the link again, open another session, correct an address. Each is one
transaction under the customer's lock, decided by what is stored at that moment, with its entry in the audit log. A
worker that is sending a message at that moment keeps its lease: the decision waits for it, and refuses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.encrypted_values import contact_digests, encrypt_person
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import ADDRESSES, address_of, channels_of, is_mail
from onboarding_worker.core.model.customers import Channel, Details, invitation_channels
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState, of_a_person
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows import usage
from onboarding_worker.core.rows.cancellation import change_jobs, leave_session, waiting_again
from onboarding_worker.core.rows.message_rows import waiting_message
from onboarding_worker.core.rows.sessions import check_at
from onboarding_worker.core.rows.suppressions import suppressed
from onboarding_worker.core.rules.given_links import GIVEN_AWAY
from onboarding_worker.core.rules.text_numbers import is_landline, why_not_texted
from onboarding_worker.features.service_desk.case import ERASED, Case, DeskRules, Refused, under_way
from onboarding_worker.features.service_desk.corrections import Correction
from onboarding_worker.features.service_desk.links import (
    Before,
    NewLink,
    Resend,
    decide_new_address,
    decide_new_link,
    decide_resend,
    opens_until,
)
from onboarding_worker.features.service_desk.store.cases import FoundCustomer, case_of, customer_of
from onboarding_worker.lists.known_customers import ANOTHER_PERSON, IS_CALLED
from onboarding_worker.lists.same_person import changed_addresses
from onboarding_worker.lists.store import corrected_addresses
from onboarding_worker.lists.store.admission import admit, being_called
from onboarding_worker.providers.values import masked

T = TypeVar("T")
NO_ADDRESS = Refused("no address was changed")
UNKNOWN = Refused("there is no customer with that id", "`onboard customer find` looks for an email or a phone number")


@dataclass(frozen=True)
class Sent:
    """A message that was added. `to` is the address, masked."""

    channel: str
    to: str
    due_at: datetime
    expires_at: datetime
    due: tuple[WakeUp, ...] = ()


Follows = TypeVar("Follows", bound=Sent | Resend | NewLink | Refused, covariant=True)


@dataclass(frozen=True)
class Corrected(Generic[Follows]):
    """What was changed, or would be. `follows`: the message to a new address (a Resend is not added yet), or the
    session that is asked for in place of one whose link the old address has; a Refused says why there is none.
    `opens_until`: until when that link still opens. `warning`: what the customer does not get; "" for nothing. `again`:
    what is asked for, and by which channels it leaves, if the row is tried again; only foreseen."""

    columns: tuple[str, ...]
    follows: Follows
    opens_until: datetime | None = None
    warning: str = ""
    again: tuple[str, Sequence[str]] = ("", ())

    @property
    def due(self) -> tuple[WakeUp, ...]:
        return self.follows.due if isinstance(self.follows, Sent | NewLink) else ()


Done = Corrected[Sent | NewLink | Refused]
Foreseen = Corrected[Resend | NewLink | Refused]


class ServiceDesk:
    def __init__(self, database: Database, keyring: Keyring, rules: DeskRules) -> None:
        self._database, self._keyring, self._rules = database, keyring, rules

    def resend(
        self,
        customer_id: str,
        *,
        channel: str | None = None,
        purpose: str | None = None,
        same_link: bool = False,
        reason: str = "",
        now: datetime,
    ) -> Sent | Refused:
        """Add a message with the customer's present link, which leaves also while its batch is paused, but not while
        everything is stopped. `same_link`: also one that an address has that was corrected since. Raises
        cases.SeveralPurposes, keyring.CannotDecrypt."""

        def work(connection: sa.Connection, customer: FoundCustomer, case: Case) -> Sent | Refused:
            decided = decide_resend(self._rules, case, channel, now=now, same_link=same_link)
            if isinstance(decided, Refused):
                return decided
            sent = self._add(connection, customer, case, decided, now=now)
            self._note(connection, customer_id, f"the link by {decided.channel}", reason, now)
            return sent

        return outlive_deadlocks(partial(self._decided, customer_id, purpose, work, lock=True, now=now))

    def may_resend(self, customer_id: str, *, channel: str | None, now: datetime) -> Resend | Refused:
        """What `resend` would do, with `same_link`. Raises as it does."""
        decide = partial(decide_resend, self._rules, channel=channel, now=now, same_link=True)
        return self._decided(customer_id, None, lambda _connection, _customer, case: decide(case), now=now)

    def may_renew(self, customer_id: str, *, purpose: str | None = None, now: datetime) -> NewLink | Refused:
        """What `new_link` would do, for the question that comes first. Raises as `resend` does."""
        decide = partial(decide_new_link, self._rules, now=now)
        return self._decided(customer_id, purpose, lambda _connection, _customer, case: decide(case), now=now)

    def new_link(
        self, customer_id: str, *, purpose: str | None = None, reason: str = "", now: datetime
    ) -> NewLink | Refused:
        """Let the customer's row wait for another session, due now. Raises as `resend` does."""

        def work(connection: sa.Connection, _customer: FoundCustomer, case: Case) -> NewLink | Refused:
            decided = decide_new_link(self._rules, case, now=now)
            if isinstance(decided, Refused):
                return decided
            self._renew(connection, case, decided, now=now)
            self._note(connection, customer_id, f"session {decided.number} at {decided.account}", reason, now)
            return decided

        return outlive_deadlocks(partial(self._decided, customer_id, purpose, work, lock=True, now=now))

    def correct(
        self,
        customer_id: str,
        correction: Correction,
        *,
        purpose: str | None = None,
        reason: str = "",
        another_person: bool = False,
        by_hand: bool = False,
        now: datetime,
    ) -> Done | Refused:
        """Change what is stored about a customer; if an address is changed, what follows for the link.

        Refuses what leaves nothing of the stored person, unless somebody sees who it is (`by_hand`, addresses as
        `lists.rules` returns them) or `another_person`
        may have the id: then the row begins anew.

        A message that has not left reads its address as it leaves: none leaves for the old address from now on. The
        present link goes to the new address, unless it has gone to the old one (`core.rules.reissue`).
        Raises as `resend` does.
        """

        def work(connection: sa.Connection, customer: FoundCustomer, before: Case) -> Done | Refused:
            if (stored := customer.details) is None:
                return ERASED
            asked = {"another_person": another_person, "by_hand": by_hand}
            change = self._change(connection, stored, correction, before, **asked, now=now)
            if isinstance(change, Refused):
                return change
            channels = [*change.addresses]
            if not by_hand and change.is_of_another(stored):
                admit(connection, [customer_id], keeps=before.row.id if before.row else None, now=now)
            corrected = change.applied(stored)
            self._write(connection, customer, corrected, now=now)
            self._note(connection, customer_id, f"{' and '.join(change.columns)} changed", reason, now)
            if not channels:
                return Corrected(change.columns, NO_ADDRESS)
            _put_off(connection, before, channels, now=now)
            known = FoundCustomer(customer.row, corrected.person)
            kinds = changed_addresses(stored.person, corrected.person)
            if kinds:
                given = corrected_addresses.find(connection, {customer_id: kinds}, lock=True, now=now)
                corrected_addresses.mark(connection, self._keyring, given, now=now)
            case = case_of(connection, self._keyring, self._rules, known, purpose, lock=True, now=now)
            sent = self._follow(connection, known, case, channels, now=now)
            return Corrected(change.columns, sent, opens_until(case, now), self._warning(change))

        return outlive_deadlocks(partial(self._decided, customer_id, purpose, work, lock=True, now=now))

    def may_correct(
        self,
        customer_id: str,
        correction: Correction | None,
        *,
        purpose: str | None = None,
        another_person: bool = False,
        by_hand: bool = False,
        now: datetime,
    ) -> Foreseen | Refused:
        """What `correct` would do, for the question that comes first. None: of some address that nobody has said yet.
        Raises as it does."""

        def look(connection: sa.Connection, customer: FoundCustomer, case: Case) -> Foreseen | Refused:
            kinds, warning, columns = [*ADDRESSES], "", tuple[str, ...]()
            if correction is not None:
                if customer.details is None:
                    return ERASED
                asked = {"another_person": another_person, "by_hand": by_hand}
                change = self._change(connection, customer.details, correction, case, **asked, now=now)
                if isinstance(change, Refused):
                    return change
                kinds, columns = [kind for kind in ADDRESSES if kind in change.values], change.columns
                warning = self._warning(change)
            given = corrected_addresses.find(connection, {customer_id: kinds}, lock=False, now=now)
            good = {channel: "" for kind in kinds for channel in channels_of(kind)}  # as the new address is to be
            case = replace(case, ways={**case.ways, **good})
            if case.link is not None and case.link.id in given.sessions:
                case = replace(case, link=case.link._replace(given_away=GIVEN_AWAY, same_link=False))
            follows, row = self._what_follows(case, [*good], now=now) if kinds else NO_ADDRESS, case.row
            until = opens_until(case, now) if kinds else None
            foreseen = Corrected(columns, follows, until, warning)
            if row is None:
                return foreseen
            account = "" if case.link is not None and case.link.works(now) else row.account
            return replace(foreseen, again=(account, invitation_channels(row.channel)))

        return self._decided(customer_id, purpose, look, now=now)

    def _change(
        self,
        connection: sa.Connection,
        stored: Details,
        correction: Correction,
        case: Case,
        *,
        another_person: bool,
        by_hand: bool,
        now: datetime,
    ) -> Correction | Refused:
        """What of a correction is to change; or why nothing may."""
        change = correction.of(stored)
        if not change.columns:
            return Refused("that is the customer's address already", "nothing was changed")
        is_another = not by_hand and change.is_of_another(stored)
        if is_another and (not another_person or being_called(connection, [case.customer_id], now=now)):
            problem = IS_CALLED if another_person else ANOTHER_PERSON
            return Refused(problem.problem, problem.hint)
        if is_another and case.row is not None and case.row.entity_id:  # which no report can change
            return Refused("the row has the entity_id of the first person", "put the other person on a list")
        if suppressed(connection, self._keyring, [*change.addresses.items()]):
            then = "`onboard suppress --check` says why, `onboard suppress --remove` lifts it"
            return Refused("the new address is on the do-not-contact list", then)
        return under_way(case, [*change.addresses], to_old_address=True) or self._untexted(case, change) or change

    def _warning(self, change: Correction) -> str:
        phone = change.addresses.get("sms")
        is_silent = phone is not None and "sms" in self._rules.channels and is_landline(phone)
        return f"the phone number is {why_not_texted(phone, None)}" if phone is not None and is_silent else ""

    def _untexted(self, case: Case, change: Correction) -> Refused | None:
        """Why a number cannot be that of a customer who gets texts alone: as a list's row with it is refused."""
        phone, row = change.addresses.get("sms"), case.row
        if phone is None or row is None or row.channel is not Channel.SMS or case.finished is not None:
            return None
        why = why_not_texted(phone, self._rules.contact.countries)
        return Refused(f"the new number gets no texts, and the list asks for nothing else: {why}") if why else None

    def _follow(
        self, connection: sa.Connection, customer: FoundCustomer, case: Case, channels: list[str], *, now: datetime
    ) -> Sent | NewLink | Refused:
        """Ask for another session, or send the present link."""
        follows = self._what_follows(case, channels, now=now)
        if isinstance(follows, NewLink):
            self._renew(connection, case, follows, now=now)
        return self._add(connection, customer, case, follows, now=now) if isinstance(follows, Resend) else follows

    def _what_follows(self, case: Case, channels: list[str], *, now: datetime) -> NewLink | Resend | Refused:
        """Another session, or the present link to the first of these channels that the row uses. `case`: as it is with
        the new address."""
        follows = decide_new_address(self._rules, case, now=now)
        if follows is not None:
            return follows
        own = () if case.row is None else tuple(one for one in channels if case.row.channel in (Channel.BOTH, one))
        if case.row is not None and not own and case.finished is None:
            option = f" --channel {'email' if is_mail(channels[0]) else channels[0]}"
            then = "" if case.ways.get(channels[0]) else f"`onboard customer resend ID{option}`"
            return Refused(f"the list asks for no message by {channels[0]}", then)
        channel = own[0] if own else None
        return decide_resend(self._rules, case, channel, now=now, to_new_address=True, same_link=True)

    def _write(self, connection: sa.Connection, customer: FoundCustomer, corrected: Details, *, now: datetime) -> None:
        customer_id = customer.row.customer_id
        values: dict[str, Any] = {
            "encrypted": encrypt_person(self._keyring, customer_id, corrected.person),
            **{name: getattr(corrected, name) for name in ("country", "locale", "timezone")},
            # An event that is older than this correction must not undo it.
            "details_at": now,
            "changed_at": now,
            **contact_digests(self._keyring, corrected.person),
        }
        connection.execute(sa.update(CustomerRow).where(CustomerRow.customer_id == customer_id).values(values))

    def _add(
        self, connection: sa.Connection, customer: FoundCustomer, case: Case, decided: Resend, *, now: datetime
    ) -> Sent:
        row, link, person = case.row, case.link, customer.person
        assert row is not None and link is not None and person is not None  # noqa: S101, PT018 -- for mypy
        if link.is_given_away:  # the link that an old address has goes to the new one, too
            connection.execute(sa.update(SessionRow).where(SessionRow.id == link.id).values(same_link=True))
        priority = of_a_person(row.priority)
        again = next((one for one in case.of_link if (one.channel, one.kind) == (decided.channel, decided.kind)), None)
        if again is not None:
            # It reached nobody: never handed over, or returned.
            anew = {"state": InvitationState.WAITING, "due_at": decided.due_at, "attempts": 0}
            why = Reason.QUIET_HOURS if decided.due_at > now else ""
            anew |= {"reason": why, "detail": "", "delivery_at": None, "priority": priority}
            connection.execute(sa.update(InvitationRow).where(InvitationRow.id == again.id).values(anew))
        else:
            its = (link.id, row.id, decided.channel, decided.kind)
            values = waiting_message(*its, due_at=decided.due_at, wanted=now, priority=priority, now=now)
            connection.execute(sa.insert(InvitationRow), [values])
        if decided.reopens:
            open_again = {"state": JobState.ISSUED, "due_at": None, "reason": "", "detail": "", "changed_at": now}
            change_jobs(connection, [row.id], open_again)
            checked = sa.update(SessionRow).where(SessionRow.id == link.id, SessionRow.check_at.is_(None))
            connection.execute(checked.values(check_at=check_at(row.channel, link.expires_at)))
        to = masked(decided.channel, address_of(person, decided.channel))
        due = (WakeUp.invite(decided.channel),) if decided.due_at <= now else ()
        return Sent(decided.channel, to, decided.due_at, decided.expires_at, due)

    def _renew(self, connection: sa.Connection, case: Case, decided: NewLink, *, now: datetime) -> None:
        row, link = case.row, case.link
        assert row is not None  # noqa: S101 -- for mypy
        asks = decided.before is Before.ASKED
        why = {"reason": Reason.STATUS_CHECK if asks else Reason.NEW_LINK, "needs_status_check": asks}
        change_jobs(connection, [row.id], waiting_again(now) | why | {"link_requested_at": None})
        if link is not None:
            ends_as = {Before.SUPERSEDED: SessionState.SUPERSEDED, Before.EXPIRED: SessionState.EXPIRED}
            leave_session(connection, link.id, ends_as=ends_as.get(decided.before), now=now)
        usage.count_reissues(connection, {decided.account: 1}, now.astimezone(UTC).date())

    def _decided(
        self,
        customer_id: str,
        purpose: str | None,
        work: Callable[[sa.Connection, FoundCustomer, Case], T | Refused],
        *,
        lock: bool = False,
        now: datetime,
    ) -> T | Refused:
        # Not `read`: what an older key of the ring finds is stored under the newest key (`suppressions.suppressed`).
        with self._database.write() as connection:
            customer = customer_of(connection, self._keyring, customer_id, lock=lock)
            if customer is None:
                return UNKNOWN
            case = case_of(connection, self._keyring, self._rules, customer, purpose, lock=lock, now=now)
            return work(connection, customer, case)

    @staticmethod
    def _note(connection: sa.Connection, customer_id: str, what: str, reason: str, now: datetime) -> None:
        note(connection, f"customer {customer_id}", now=now, reason="; ".join(filter(None, (what, reason))))


def _put_off(connection: sa.Connection, case: Case, channels: list[str], *, now: datetime) -> None:
    """Let messages that wait on these channels leave a moment later. A claim may have begun before this transaction
    ends, and read the old address: it finds the message not due."""
    ids = [one.id for one in case.of_link if one.channel in channels and one.state is InvitationState.WAITING]
    if ids:
        at = now + corrected_addresses.MOMENT
        later = sa.update(InvitationRow).where(InvitationRow.id.in_(ids), InvitationRow.due_at < at)
        connection.execute(later.values(due_at=at))
