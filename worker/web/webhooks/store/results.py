"""What became of a webhook when it was processed, and how that is written."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.audit_entries import Entry, note_all
from worker.core.database.database import fetch
from worker.core.database.tables import InvitationRow, Job, SessionRow, Webhook
from worker.core.database.tables.types import DETAIL_LENGTH
from worker.core.model.endings import Backoff
from worker.core.model.states import LISTED_WEBHOOKS, WebhookState
from worker.core.model.wakeups import WakeUp

# When an unmatched webhook is processed again. It may have arrived some seconds before our own commit; or the workers
# that open sessions could not reach the database for longer. About a day in all.
UNMATCHED_BACKOFF = Backoff.steps(5, 30, 2 * 60, 10 * 60, 3600, 6 * 3600, 17 * 3600)
# After a bug in this software: a corrected release, or a key that is put back, finds the webhook within the hour.
BROKEN_BACKOFF = Backoff.steps(5, 60, 10 * 60, 3600)
ACCOUNT, SENDER = "account/", "sender/"
EMAIL = f"{SENDER}email"
UNMATCHED = "no session here matches it"  # the detail of a provider's webhook


@dataclass(frozen=True)
class WebhookResult:
    """The result of one webhook. `again_after`: the webhook came too early; try it again after this time. `keeps`: its
    update stays stored, so that an operator can have it applied. `changed`: what it changed, in words of ours for the
    audit log; "" if nothing. `customers`: whom that is about, where it names no session and no message."""

    state: WebhookState
    detail: str = ""
    session_id: uuid.UUID | None = None
    invitation_id: uuid.UUID | None = None
    again_after: timedelta | None = None
    keeps: bool = False
    changed: str = ""
    customers: tuple[str, ...] = ()


@dataclass
class Processed:
    """The result of one run: how many webhooks were processed, what is due, and what became of those that are not tried
    again, each by its source and event."""

    count: int = 0
    due: set[WakeUp] = field(default_factory=set)
    done: list[tuple[str, str, WebhookResult]] = field(default_factory=list)

    @property
    def listed(self) -> list[tuple[str, str, WebhookState, str]]:
        """Those that an operator should see: source, event, state, detail."""
        listed = (each for each in self.done if each[2].state in LISTED_WEBHOOKS)
        return [(source, event, one.state, one.detail) for source, event, one in listed]

    def add(self, more: "Processed") -> None:
        self.count += more.count
        self.due |= more.due
        self.done += more.done

    def note(
        self,
        connection: sa.Connection,
        rows: Sequence[sa.Row[Any]],
        results: Mapping[uuid.UUID, WebhookResult],
        *,
        now: datetime,
    ) -> None:
        """Write what became of these webhooks."""
        done, later = [], []
        for row in rows:
            # A kind that this release does not apply counts as unmatched.
            one = results.get(row.id, WebhookResult(WebhookState.UNKNOWN, "this release does not apply its kind"))
            wait = one.again_after
            if one.state is WebhookState.UNKNOWN and wait is None:
                wait = UNMATCHED_BACKOFF.after(row.attempts + 1)
            values = {"id_": row.id, "new_detail": one.detail[:DETAIL_LENGTH]}
            if wait is not None:
                later.append(values | {"new_due_at": now + wait})
            else:
                # An operator may retry an unmatched webhook of a provider; a sender's update may hold an address.
                keeps = one.keeps or (one.state is WebhookState.UNKNOWN and row.source.startswith(ACCOUNT))
                values |= {"new_session_id": one.session_id, "new_invitation_id": one.invitation_id}
                done.append(values | {"new_state": one.state.value, "new_encrypted": row.encrypted if keeps else None})
                self.done.append((row.source, row.event, one))
        _DONE.run(connection, done)
        _LATER.run(connection, later)
        _audit(connection, [(row.source, results[row.id]) for row in rows if row.id in results], now=now)
        self.count += len(rows)

    def note_broken(self, connection: sa.Connection, row: sa.Row[Any], error: str, *, now: datetime) -> None:
        """Write that processing this webhook raised an exception of type `error`."""
        detail = f"processing it ended with {error}"
        self.count += 1
        wait = BROKEN_BACKOFF.after(row.attempts + 1)
        if wait is not None:
            _LATER.run(connection, [{"id_": row.id, "new_due_at": now + wait, "new_detail": detail}])
            return
        over: dict[str, Any] = {"state": WebhookState.BROKEN.value, "due_at": None, "detail": detail}
        if not row.source.startswith(ACCOUNT):
            over["encrypted"] = None
        connection.execute(sa.update(Webhook).where(Webhook.id == row.id).values(over))
        self.done.append((row.source, row.event, WebhookResult(WebhookState.BROKEN, detail)))


def given_of(update: Any) -> dict[str, Any]:
    """What an update says, as JSON, to be stored until it is applied; without what it does not say."""
    given = {name: value for name, value in vars(update).items() if value}
    return given | ({"happened_at": update.happened_at.isoformat()} if update.happened_at else {})


def read_given(given: Mapping[str, Any], **read: Callable[[Any], Any]) -> dict[str, Any]:
    """The values of `given_of`, those with such a name `read`. Raises ValueError for what it has not written."""
    read["happened_at"] = datetime.fromisoformat
    return {name: read[name](value) if name in read else value for name, value in given.items()}


def _audit(connection: sa.Connection, results: Sequence[tuple[str, WebhookResult]], *, now: datetime) -> None:
    """Add an entry to the audit log for each webhook that changed something."""
    changes = [(source, one) for source, one in results if one.changed]
    if not changes:
        return
    sessions = {"ids": bulk.keys(one.session_id for _, one in changes if one.session_id)}
    messages = {"ids": bulk.keys(one.invitation_id for _, one in changes if one.invitation_id)}
    customers = {row.id: row.customer_id for row in fetch(connection, _SESSION_CUSTOMERS, sessions)}
    customers |= {row.id: row.customer_id for row in fetch(connection, _MESSAGE_CUSTOMERS, messages)}
    entries = []
    for source, one in changes:
        customer = customers.get(one.session_id or one.invitation_id)
        about = one.customers if customer is None else (customer,)
        subjects = [f"customer {customer_id}" for customer_id in about] or ["an address of no customer"]
        entries += [Entry(now, source, "webhook", subject, reason=one.changed) for subject in subjects]
    note_all(connection, entries)


_SESSION_CUSTOMERS = sa.select(SessionRow.id, SessionRow.customer_id).where(bulk.among(SessionRow.id, "ids"))
_MESSAGE_CUSTOMERS = (
    sa.select(InvitationRow.id, Job.customer_id)
    .join(Job, Job.id == InvitationRow.job_id)
    .where(bulk.among(InvitationRow.id, "ids"))
)
_DONE = bulk.Change(
    Webhook.id,
    bulk.new("state", "detail", "encrypted", "session_id", "invitation_id")
    | {"due_at": None, "attempts": Webhook.attempts + 1},
    by="id_",
)
_LATER = bulk.Change(
    Webhook.id,
    bulk.new("due_at", "detail") | {"attempts": Webhook.attempts + 1},
    by="id_",
)
