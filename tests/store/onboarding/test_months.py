"""Ten customers of the month model, with the store's rows only, end as the model predicts for each.

The test writes the updates of providers and senders into the rows. Other tests check how updates are received.
"""

from dataclasses import replace
from datetime import datetime, time, timedelta

import pytest
import sqlalchemy as sa

from tests.store.shelf import Shelf, customer
from tests.trials.month.model import (
    AFTER_A_REMINDER,
    DAY,
    ENDPOINTS,
    UNTIL_STOP,
    Behaviour,
    Rules,
    done_at,
    population,
    story_of,
)
from worker.domain.contact.caps import Caps
from worker.domain.contact.contact_times import Hours
from worker.domain.contact.quiet_hours import QuietHours
from worker.domain.contact.suppression import SuppressionReason
from worker.domain.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState
from worker.store.maintenance.expired_sessions import Expiring, ExpiryPolicy
from worker.store.messages.suppressions import suppress
from worker.store.tables import InvitationRow, Job, SessionRow

START = datetime.fromisoformat("2026-11-20T12:00:00+00:00")
UNTIL = START + 30 * DAY
PLAYED = (
    Behaviour.AT_ONCE,
    Behaviour.AFTER_REMINDER,
    Behaviour.SECOND_LINK,
    Behaviour.LAST_DAY,
    Behaviour.NEVER,
    Behaviour.STOPS,
)
RULES = Rules()


def ten():
    """All endpoints, and all behaviours that need no webhook of their own."""
    everyone = list(population(450))
    return [
        next(who for who in everyone if who.endpoint == ENDPOINTS[number % 5] and who.behaviour is PLAYED[number % 6])
        for number in range(10)
    ]


class Month:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.customers = {f"C{who.number}": who for who in ten()}
        self.acts: list[tuple[datetime, str, str]] = []
        quiet = Hours({"email": QuietHours(*(time(hour) for hour in RULES.quiet))})
        caps = Caps(RULES.reissues, RULES.messages)
        shelf.policy = replace(shelf.policy, hours=quiet)
        shelf.message_policy = replace(shelf.message_policy, hours=quiet, caps=caps, reminders=RULES.reminders)
        self.scan = Expiring(shelf.database, shelf.keyring)
        # As with providers that open another session at any time: the job waits only for the end of the old session.
        self.policy = ExpiryPolicy(caps, RULES.spacing, None, {}, {}, hours=quiet)

    def live(self) -> None:
        shelf = self.shelf
        shelf.clock.now = START
        for row, (name, who) in enumerate(self.customers.items(), 2):
            shelf.add(customer(name, timezone=who.timezone), first_row=row, floor=who.endpoint.floor)
        while shelf.clock.now < UNTIL:
            self.act()
            self.work()
            shelf.clock.now = max(self.next(), shelf.clock.now + timedelta(seconds=1))

    def work(self) -> None:
        shelf = self.shelf
        self.scan.check(self.policy, now=shelf.clock())
        opened = shelf.open(shelf.claim())
        names = [item.job.request.customer.customer_id for item in opened]
        lifetimes = [self.customers[name].endpoint.lifetime for name in names]
        shelf.finish(
            *(shelf.got(item, shelf.session(lifetime=life)) for item, life in zip(opened, lifetimes, strict=True))
        )
        for message in shelf.send():
            self.received(message)

    def received(self, message) -> None:
        """The customer's reaction to a message."""
        name, now = message.customer.customer_id, self.shelf.clock()
        who = self.customers[name]
        sessions = len(self.shelf.rows(SessionRow, customer_id=name))
        if message.kind == "invitation":
            done = done_at(who, now, message.expires_at, sessions)
            if who.behaviour is Behaviour.STOPS and sessions == 1:
                self.acts.append((now + UNTIL_STOP, name, "stop"))
            if who.endpoint.reports_expiry:
                self.acts.append((message.expires_at, name, "ended"))
        else:
            done = now + AFTER_A_REMINDER if who.behaviour is Behaviour.AFTER_REMINDER else None
        if done is not None:
            self.acts.append((done, name, "done"))

    def act(self) -> None:
        shelf, now = self.shelf, self.shelf.clock()
        for act in [act for act in self.acts if act[0] <= now]:
            self.acts.remove(act)
            _, name, what = act
            of = SessionRow.customer_id == name, SessionRow.state.in_(LIVE_SESSIONS)
            if what == "done":
                shelf.set(SessionRow, *of, state=SessionState.COMPLETED, check_at=None)
                shelf.set(Job, Job.customer_id == name, state=JobState.COMPLETED, result="approved", due_at=None)
            elif what == "ended":
                shelf.set(SessionRow, *of, state=SessionState.EXPIRED, check_at=now)
            else:
                address = f"{name.lower()}@example.org"
                with shelf.database.write() as connection:
                    suppress(
                        connection, shelf.keyring, "email", address, SuppressionReason.STOP, "sender/email", now=now
                    )

    def next(self) -> datetime:
        waiting = (Job.state == JobState.WAITING, InvitationRow.state == InvitationState.WAITING)
        dues = [sa.select(sa.func.min(Job.due_at)).where(waiting[0])]
        dues += [sa.select(sa.func.min(InvitationRow.due_at)).where(waiting[1])]
        dues += [sa.select(sa.func.min(SessionRow.check_at))]
        with self.shelf.database.read() as connection:
            times = [connection.execute(query).scalar() for query in dues]
        return min([*(at for at in times if at is not None), *(at for at, _, _ in self.acts), UNTIL])

    def came_to(self, name: str) -> tuple[list[datetime], list[datetime], list[datetime], str]:
        """The times of sessions, invitations and reminders; and how the job ended."""
        sessions = self.shelf.rows(SessionRow, customer_id=name)
        sent = [
            (row.sent_at, row.kind)
            for session in sessions
            for row in self.shelf.rows(InvitationRow, session_id=session.id)
            if row.sent_at is not None
        ]
        invitations = sorted(at for at, kind in sent if kind == "invitation")
        reminders = sorted(at for at, kind in sent if kind != "invitation")
        job = self.shelf.job(name)
        ended = job.state in (JobState.COMPLETED, JobState.LAPSED)
        why = f"{job.state} {job.result or job.reason}" if ended else "open"
        return sorted(session.issued_at for session in sessions), invitations, reminders, why


def about(times: list[datetime]) -> list[datetime]:
    return [at.replace(second=0, microsecond=0) for at in times]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_ten_customers_end_a_month_as_the_model_predicts(shelf):
    month = Month(shelf)
    assert len({who.endpoint.name for who in month.customers.values()}) == 5
    month.live()
    for name, who in month.customers.items():
        story = story_of(who, RULES, start=START, until=UNTIL)
        why = f"{story.ending} {story.why}" if story.ending != "open" else "open"
        *times, ended = month.came_to(name)
        predicted = [about(at) for at in (story.sessions, story.invitations, story.reminders)]
        assert ([about(at) for at in times], ended) == (predicted, why), who
