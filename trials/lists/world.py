"""Three customers whom several lists, events and people want at once, over a real store, and what is under way."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tests.conftest import SetClock
from tests.store.reconciling import AFTER
from tests.store.service_desk.desks import desk_of
from tests.store.shelf import WEEK, Shelf
from tests.store.webhook_feed import WebhookFeed, update
from trials.lists import setting
from trials.lists.addresses import Addresses
from trials.lists.killed import MortalDatabase
from trials.lists.setting import Setting
from trials.lists.texts import Texts
from trials.simulation.setting import KEY
from worker.domain.contact.wording import REACHED
from worker.domain.links.door import DoorRules
from worker.domain.model.sessions import Session
from worker.domain.model.states import LIVE_SESSIONS, JobState, SessionState
from worker.domain.routing import Rule
from worker.domain.verification.session_updates import Key as By
from worker.domain.verification.session_updates import Result
from worker.engine.maintenance.takeover import Takeovers
from worker.foundation.keyring import Keyring, new_key
from worker.store.inbox.inbox import Inboxes
from worker.store.issuing.job_context import JobPolicy
from worker.store.issuing.open_attempts import OpenedJob
from worker.store.limits.standstill import Standstills
from worker.store.links.doors import DoorPolicy, Doors
from worker.store.links.not_me import NotMe
from worker.store.maintenance.expired_sessions import Expiring, ExpiryPolicy
from worker.store.maintenance.takeover import Failover
from worker.store.messages.delivery_reports import Reported
from worker.store.messages.fallback import DeliveryPolicy
from worker.store.messages.handovers import OpenedInvitation
from worker.store.messages.message_context import ClaimedInvitation
from worker.store.messages.quiet_hours_check import leaves_at
from worker.store.onboarding.details.released import ReleasedDetails
from worker.store.onboarding.sessions import FIRST
from worker.store.onboarding.stable_links import StableLinks
from worker.store.operators.decisions import Decisions
from worker.store.operators.pilots import Pilots
from worker.store.privacy.erasure import Erasing
from worker.store.privacy.purge import Purging
from worker.store.tables import Attempt, Batch, InvitationRow, Job, SessionRow

NAMES = ("Ona", "Jonas", "Rasa")
DAY = timedelta(days=1)
MOST_JOBS = 10_000  # that a look at expired sessions takes
_STORE: Any = Shelf  # the tests' helpers have no types
_FEED: Any = WebhookFeed
_UPDATE: Any = update

Key = tuple[str, str]  # a customer and a purpose


class World:
    def __init__(self, seed: int, url: str) -> None:
        self.chance = random.Random(seed)
        self.setting = given = setting.drawn(self.chance)
        self.database = MortalDatabase(url)
        self.clock = SetClock()
        self.links = StableLinks("https://verify.test", timedelta(days=60))
        self.decisions = Decisions(self.database)
        self.pilots = Pilots(self.database)
        self.purging = Purging(self.database)
        self.erasing = Erasing(self.database)
        self.standstills = Standstills(self.database)
        self.keys, self.digest_keys = [KEY], [new_key()]
        self.start(given)
        self.batches: list[int] = []
        self.calls: list[tuple[str, OpenedJob]] = []  # under way, with their accounts
        self.messages: list[tuple[str, OpenedInvitation]] = []  # under way, with their channels
        # Attempts that may have opened a session nobody knows of, by whom they were for.
        self.in_doubt: dict[Key, set[UUID]] = defaultdict(set)
        self.reports: list[Reported] = []  # on messages under way: they come again
        self.texts, self.addresses = Texts(), Addresses()
        self.looked_up: set[UUID] = set()  # attempts that a look-up has settled: no answer of theirs arrives any more
        self.lines: list[str] = []
        self.note("with", given)
        self.complaints: list[str] = []  # about what a step did, where the rows do not show it later
        self._number = 0

    def start(self, given: Setting) -> None:
        """Start all processes, with this configuration and the keys of now. What is under way stays so."""
        self.setting = given
        self.keyring = Keyring(self.keys, self.digest_keys)
        self.shelf = _STORE(self.database, self.keyring, self.clock)
        self.delivery = DeliveryPolicy(given.fallbacks, given.hours)
        self.shelf.message_policy = replace(
            self.shelf.message_policy,
            caps=given.caps,
            most_reissues=given.caps.reissues,
            reminders=(2 * DAY, 5 * DAY),
            reconcile_after=None,
            hours=given.hours,
            delivery=self.delivery,
            stable=self.links if given.own_links else None,
        )
        self.shelf.policy = replace(
            self.shelf.policy,
            hours=given.hours,
            lifetime=WEEK,
            fallbacks=given.fallbacks,
            reconcile_after=AFTER if given.lists_sessions else None,
            any_age=given.own_links,
            on_click=self.links if given.on_click else None,
        )
        self.feed = _FEED(self.shelf)
        self.inboxes = Inboxes(self.database, self.keyring)
        self.expiring = Expiring(self.database, self.keyring)
        self.released_details = ReleasedDetails(self.database, self.keyring)
        self.lists = given.accounts if given.lists_sessions else ()
        ends = dict.fromkeys(given.accounts, _at_its_end)
        self.expiry_policy = ExpiryPolicy(
            given.caps,
            DAY,
            MOST_JOBS,
            dict.fromkeys(given.accounts, WEEK),
            ends,
            self.lists,
            lambda: self.lists,
            hours=given.hours,
            fallbacks=given.fallbacks,
            stable=given.own_links,
        )
        self.desk = desk_of(self.shelf, given.hours, caps=given.caps, allowed_from=ends)
        rules = DoorRules(given.caps.reissues, MOST_JOBS)
        self.doors = Doors(self.database, self.keyring, DoorPolicy(rules, ends))
        self.not_me = NotMe(self.database, self.keyring)
        budgets = self.shelf.budgets
        budgets.ensure(given.accounts)
        rules_of = {account: self.policy(account).rule for account in given.accounts}
        self.takeovers = Takeovers(
            routes=[Rule({}, given.accounts)],
            rules=rules_of,
            lifetimes=dict.fromkeys(given.accounts, WEEK),
            budgets=budgets,
            failover=Failover(self.database),
        )

    def close(self) -> None:
        self.database.close()

    def policy(self, account: str) -> JobPolicy:
        policy: JobPolicy = self.shelf.policy
        return replace(policy, account=account, rule=replace(policy.rule, name=account))

    def now(self) -> datetime:
        return self.clock()

    def number(self) -> int:
        self._number += 1
        return self._number

    def note(self, *words: object) -> None:
        self.lines.append(" ".join((f"{self.now():%m-%d %H:%M:%S}", *map(str, words))))

    def rows(self, table: Any, **values: Any) -> list[sa.Row[Any]]:
        found: list[sa.Row[Any]] = self.shelf.rows(table, **values)
        return found

    def session(self) -> Session:
        """The next session that a provider opens."""
        number = self.number()
        link, reference = f"https://verify.test/token-{number}", f"scan-{number}"
        opened: Session = self.shelf.session(token=f"token-{number}", link=link, reference=reference)
        return opened

    def hear(self, session: sa.Row[Any], state: SessionState, result: Result | None) -> None:
        """The provider's webhook about this session comes, and is applied."""
        said = _UPDATE(state, result, match=((By.SCAN_REF, session.reference),))
        self.feed.receive(said, account=session.account, body=str(self.number()).encode())

    def batch(self, batch_id: int) -> sa.Row[Any]:
        (row,) = self.rows(Batch, id=batch_id)
        return row

    def link_of(self, customer: str, purpose: str) -> str | None:
        """The secret of this customer's own link; None: no link can be made."""
        with self.database.write() as connection:
            made = self.links.ensure(connection, self.keyring, [(customer, purpose)], now=self.now())
        (link,) = made.values()
        address = getattr(link, "address", None)
        return None if address is None else str(address).rpartition("/")[2]

    def settle(self) -> None:
        """Who has a session is in doubt no more: its calls are over."""
        for job in self.rows(Job, joins=None):
            if job.state in (JobState.ISSUED, JobState.INVITED, JobState.COMPLETED):
                self.in_doubt[key_of(job)].clear()

    def lost(self, call: OpenedJob) -> None:
        """The worker of this call dies: its answer never comes."""
        if not call.job.looks_up:
            self.in_doubt[key_of_call(call)].add(call.attempt_id)

    def opened(self, account: str, calls: Sequence[OpenedJob]) -> None:
        """These calls leave now. A complaint for each that must not."""
        self._complain_of_standstill(calls)
        for call in calls:
            key = key_of_call(call)
            words = [account] * (account != "kyc") + ["look-up"] * call.job.looks_up
            self.note("  call for", *key, "batch", call.job.batch_id, *words)
            if not call.job.looks_up:
                self._complain(key)
            self.calls.append((account, call))

    def _complain_of_standstill(self, opened: Sequence[object]) -> None:
        if opened and self.standstills.is_there():
            self.complaints.append(f"{len(opened)} calls or messages leave, and everything is stopped")

    def _complain(self, key: Key) -> None:
        sessions = self.rows(SessionRow, customer_id=key[0], purpose=key[1])
        opened = {one.opened_at for one in self.rows(Attempt) if one.id in self.in_doubt[key]}
        # A session that came after a call, or in the same moment, leaves no doubt about the call.
        if any(not any(one.issued_at >= at for one in sessions) for at in opened):
            self.complaints.append(f"{key[0]}: a call leaves, and the outcome of an earlier one is not known")
        usable = [one for one in sessions if one.state in LIVE_SESSIONS and one.expires_at > self.now()]
        if any(one.same_link or not one.given_away for one in usable):
            self.complaints.append(f"{key[0]}: a call leaves, and there is a session that could be used")
        calls = [one for _, one in self.calls if key_of_call(one) == key and not one.job.looks_up]
        if any(one.job.lease_until > self.now() for one in calls):
            self.complaints.append(f"{key[0]}: a call leaves beside another one")

    def opened_messages(self, channel: str, messages: Sequence[OpenedInvitation]) -> None:
        """These messages leave now. A complaint for each whose link opens nothing."""
        self._complain_of_standstill(messages)
        for message in messages:
            item = message.invitation
            words = ["look-up"] if item.unknown_call else []
            self.note("  message to", item.customer.customer_id, channel, item.kind, "batch", item.batch_id, *words)
            states = [one.state for one in self.rows(SessionRow, id=item.session_id)]
            if item.unknown_call is None:
                self.complaints += self.texts.leaves(channel, item)
            # Our own link leads on, whatever its session has become.
            if item.unknown_call is None and not self.setting.own_links and not LIVE_SESSIONS.issuperset(states):
                self.complaints.append(
                    f"{item.customer.customer_id}: a message leaves, its session is {states[0].value}"
                )
            if item.unknown_call is None and not self.setting.own_links:
                same_link = any(one.same_link for one in self.rows(SessionRow, id=item.session_id))
                self.complaints += self.addresses.leaves(channel, item, same_link=same_link)
            if item.kind == FIRST and states == [SessionState.UNBOUGHT] and self._has_link(channel, item):
                self.complaints.append(f"{item.customer.customer_id}: the same link leaves a second time")
            if item.unknown_call is None and leaves_at(self.shelf.on(channel), item, self.now()) > self.now():
                self.complaints.append(f"{item.customer.customer_id}: a message leaves in quiet hours")
            follows = any(job.joins is not None for job in self.rows(Job, id=item.job_id))
            if item.unknown_call is None and item.kind == FIRST and follows:
                self.complaints.append(f"{item.customer.customer_id}: a message leaves for a row that follows another")
            if not states:
                self.complaints.append(f"{item.customer.customer_id}: a message leaves without a session")
            self.messages.append((channel, message))

    def _has_link(self, channel: str, item: ClaimedInvitation) -> bool:
        """Whether a first message of another row has brought this customer's link, and it still leads on."""
        key = {"customer_id": item.customer.customer_id, "purpose": item.customer.purpose}
        others = [
            one.id
            for one in self.rows(SessionRow, state=SessionState.UNBOUGHT, **key)
            if one.id != item.session_id and one.check_at is not None and one.expires_at > self.now()
        ]
        firsts = (one for other in others for one in self.rows(InvitationRow, session_id=other, kind=FIRST))
        return any(one.channel == channel and one.state in REACHED for one in firsts)


def _at_its_end(expires_at: datetime) -> datetime:
    return expires_at


def key_of(row: Any) -> Key:
    return row.customer_id, row.purpose


def key_of_call(call: OpenedJob) -> Key:
    return call.job.request.customer.customer_id, call.job.purpose
