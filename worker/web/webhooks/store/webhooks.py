"""Webhooks of providers and senders: each is stored once and processed afterwards, and what became of it is written.

Only the update that was read from a webhook is stored: ids, a state, a result, a time. It is stored encrypted, as long
as it may be needed.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import Entry, note_all
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.encrypted_values import context_of_webhook
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow, Webhook
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.endings import Backoff
from onboarding_worker.core.model.incoming import ACCOUNT, SENDER
from onboarding_worker.core.model.metrics import PROCESSED, Meters
from onboarding_worker.core.model.states import LISTED_WEBHOOKS, Result, SessionState, WebhookState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rules.reconciliation import Listed
from onboarding_worker.lists.traces import NO_TRACES, Step, Traces
from onboarding_worker.providers.webhooks.contract import Key, SessionUpdate, update_of_listed

log = logging.getLogger(__name__)

CHUNK = 100
# When an unmatched webhook is processed again. It may have arrived some seconds before our own commit; or the workers
# that open sessions could not reach the database for longer. About a day in all.
UNMATCHED_BACKOFF = Backoff.steps(5, 30, 2 * 60, 10 * 60, 3600, 6 * 3600, 17 * 3600)
# After a bug in this software: a corrected release, or a key that is put back, finds the webhook within the hour.
BROKEN_BACKOFF = Backoff.steps(5, 60, 10 * 60, 3600)
EMAIL = f"{SENDER}email"
UNMATCHED = "no session here matches it"  # the detail of a provider's webhook


def given_of(update: Any) -> dict[str, Any]:
    """What an update says, as JSON, to be stored until it is applied; without what it does not say."""
    given = {name: value for name, value in vars(update).items() if value}
    return given | ({"happened_at": update.happened_at.isoformat()} if update.happened_at else {})


def read_given(given: Mapping[str, Any], **read: Callable[[Any], Any]) -> dict[str, Any]:
    """The values of `given_of`, those with such a name `read`. Raises ValueError for what it has not written."""
    read["happened_at"] = datetime.fromisoformat
    return {name: read[name](value) if name in read else value for name, value in given.items()}


def update_as_json(update: SessionUpdate) -> dict[str, Any]:
    """The whole update as JSON, to be stored until it is applied; `session_update` reads it."""
    return given_of(update) | {"match": [[key.value, value] for key, value in update.match]}


def session_update(kept: Mapping[str, Any]) -> SessionUpdate:
    """The update from the output of `update_as_json`. Raises KeyError or ValueError for anything else."""
    match = tuple((Key(key), value) for key, value in kept["match"])
    given = {name: value for name, value in kept.items() if name != "match"}
    return SessionUpdate(**read_given(given, state=SessionState, result=Result, reasons=tuple), match=match)


@dataclass(frozen=True, repr=False)
class Arrived:
    """A genuine webhook. `digests` are of its bytes, by each key of the ring. `update` is what was read from it, as
    JSON; None: it changes nothing, and `detail` may say why."""

    source: str
    digests: tuple[str, ...]
    event: str
    update: Mapping[str, Any] | None
    detail: str = ""


@dataclass(frozen=True, repr=False)
class KeptWebhook:
    id: uuid.UUID
    source: str
    received_at: datetime
    attempts: int  # how often it came too early
    update: dict[str, Any]


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

    @property
    def about(self) -> uuid.UUID | None:
        """The session, or the message, that it is about; None: neither is known."""
        return self.session_id or self.invitation_id


Results = Mapping[uuid.UUID, WebhookResult]  # by the webhook's id


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

    def note(self, connection: sa.Connection, rows: Sequence[Any], results: Results, *, now: datetime) -> None:
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


# Applies several webhooks within the transaction; returns the result of each. Adds to the set what is due now.
Apply = Callable[[sa.Connection, Sequence[KeptWebhook], set[WakeUp], datetime], Results]


class Webhooks:
    def __init__(self, database: Database, keyring: Keyring, apply: Mapping[str, Apply]) -> None:
        """`apply`: by the prefix of the sources, `ACCOUNT` or `SENDER`."""
        self._database = database
        self._keyring = keyring
        self._apply = apply

    def keep(self, arrived: Sequence[Arrived], *, now: datetime) -> list[bool]:
        """Store the webhooks that are new, in one transaction. Returns whether each was."""
        rows = [self._row(one, now=now) for one in arrived]
        with self._database.write() as connection:
            known = self._known(connection, arrived)
            fresh = [
                row
                for one, row in zip(arrived, rows, strict=True)
                if not any((one.source, digest) in known for digest in one.digests[1:])
            ]
            kept: set[uuid.UUID] = set()
            if fresh:
                statement = bulk.insert(Webhook, connection.dialect.name).on_conflict_do_nothing().returning(Webhook.id)
                # Always in the same order, so that two transactions with the same webhooks cannot deadlock.
                ordered = sorted(fresh, key=lambda row: (row["source"], row["digest"]))
                kept = set(connection.execute(statement, ordered).scalars())
        return [row["id"] in kept for row in rows]

    def keep_news(self, account: str, news: Sequence[Listed], now: datetime) -> None:
        """Store what a provider's list says about sessions. It is applied as webhooks are, the same news once."""
        kept = [
            Arrived(
                f"{ACCOUNT}{account}",
                self._keyring.digests(
                    "news", f"{update.event} {account} {update.match} {update.state} {update.result}"
                ),
                update.event,
                update_as_json(update),
            )
            for entry in news
            if (update := update_of_listed(entry)) is not None
        ]
        if kept:
            self.keep(kept, now=now)

    def _row(self, one: Arrived, *, now: datetime) -> dict[str, Any]:
        id_ = new_id(now)
        waits = one.update is not None
        return {
            "id": id_,
            "source": one.source,
            "digest": one.digests[0],
            "event": one.event[:64],
            "received_at": now,
            "state": WebhookState.WAITING if waits else WebhookState.IGNORED,
            "due_at": now if waits else None,
            "attempts": 0,
            "detail": one.detail[:DETAIL_LENGTH],
            "encrypted": self._keyring.encrypt(dict(one.update), context=context_of_webhook(id_))
            if one.update is not None
            else None,
        }

    def _known(self, connection: sa.Connection, arrived: Sequence[Arrived]) -> Collection[tuple[str, str]]:
        """The webhooks stored under the digest of an older key; the unique index finds those of the newest key."""
        older = [digest for one in arrived for digest in one.digests[1:]]
        if not older:
            return ()
        given = {"sources": bulk.keys({one.source for one in arrived}), "digests": bulk.keys(older)}
        return {(row.source, row.digest) for row in fetch(connection, _KNOWN, given)}

    def any_due(self, *, now: datetime) -> bool:
        return self._database.first(_ANY, {"now": now}) is not None

    def process(self, *, now: datetime) -> Processed:
        """Process the next due webhooks, at most one chunk of each kind. Skips rows that another process has locked.

        Each kind has its own transaction: providers' updates lock jobs before messages, senders' updates the other way
        round. A webhook that uncovers a bug does not block the rest: then each is processed alone, and the failing one
        again later, until it is `broken`.
        """
        processed = Processed()
        for kind in (ACCOUNT, SENDER):
            processed.add(self._process_kind(kind, now=now))
        return processed

    def _process_kind(self, kind: str, *, now: datetime) -> Processed:
        try:
            return outlive_deadlocks(partial(self._chunk, kind, None, now=now))
        except sa.exc.OperationalError:
            raise
        except Exception as error:
            log.warning("a chunk of webhooks failed with %s; they are processed one by one", type(error).__name__)
            ids = [row.id for row in self._database.rows(_DUE, {"now": now, "kind": kind})]
        processed = Processed()
        for id_ in ids:
            try:
                one = outlive_deadlocks(partial(self._chunk, kind, id_, now=now))
            except sa.exc.OperationalError:
                raise
            except Exception as error:
                log.exception("processing a webhook failed because of a bug; the webhook is tried again later")
                one = outlive_deadlocks(partial(self._chunk, kind, id_, now=now, broke_with=type(error).__name__))
            processed.add(one)
        return processed

    def _chunk(self, kind: str, id_: uuid.UUID | None, *, now: datetime, broke_with: str = "") -> Processed:
        """The next of this kind, or one. `broke_with`: processing it has raised such an exception."""
        processed = Processed()
        with self._database.write() as connection:
            query = _DUE if id_ is None else _DUE.where(Webhook.id == id_)
            rows = fetch(connection, query.with_for_update(skip_locked=True), {"now": now, "kind": kind})
            if broke_with:
                for row in rows:
                    processed.note_broken(connection, row, broke_with, now=now)
                return processed
            webhooks = [
                made_of(
                    KeptWebhook, row, update=self._keyring.decrypt(row.encrypted, context=context_of_webhook(row.id))
                )
                for row in rows
            ]
            apply = self._apply.get(kind)
            results = apply(connection, webhooks, processed.due, now) if webhooks and apply else {}
            processed.note(connection, rows, results, now=now)
        return processed

    def traced(self, done: Sequence[tuple[str, str, WebhookResult]]) -> list[tuple[str, WebhookResult, str]]:
        """Those about a job that is traced, by their sources, with the `traceparent` of the span that took it in."""
        with self._database.read() as connection:
            found = _concerned(connection, (one for *_, one in done))
        traces = ((source, one, found.get(one.about)) for source, _, one in done)
        return [(source, one, row.traceparent) for source, one, row in traces if row is not None and row.traceparent]


def _concerned(connection: sa.Connection, results: Iterable[WebhookResult]) -> dict[uuid.UUID | None, sa.Row[Any]]:
    """The customers of sessions and messages, and the traces of their jobs, by `WebhookResult.about`."""
    results = list(results)
    sessions = {"ids": bulk.keys({one.session_id for one in results if one.session_id})}
    messages = {"ids": bulk.keys({one.invitation_id for one in results if one.invitation_id})}
    return {row.id: row for row in [*fetch(connection, _SESSIONS, sessions), *fetch(connection, _MESSAGES, messages)]}


def _audit(connection: sa.Connection, results: Sequence[tuple[str, WebhookResult]], *, now: datetime) -> None:
    """Add an entry to the audit log for each webhook that changed something."""
    changes = [(source, one) for source, one in results if one.changed]
    if not changes:
        return
    rows = _concerned(connection, (one for _, one in changes))
    entries = []
    for source, one in changes:
        row = rows.get(one.about)
        about = one.customers if row is None else (row.customer_id,)
        subjects = [f"customer {customer_id}" for customer_id in about] or ["an address of no customer"]
        entries += [Entry(now, source, "webhook", subject, reason=one.changed) for subject in subjects]
    note_all(connection, entries)


_SESSIONS = (
    sa.select(SessionRow.id, SessionRow.customer_id, Job.traceparent)
    .join(Job, Job.id == SessionRow.job_id, isouter=True)
    .where(bulk.among(SessionRow.id, "ids"))
)
_MESSAGES = (
    sa.select(InvitationRow.id, Job.customer_id, Job.traceparent)
    .join(Job, Job.id == InvitationRow.job_id)
    .where(bulk.among(InvitationRow.id, "ids"))
)
_DONE = bulk.Change(
    Webhook.id,
    bulk.new("state", "detail", "encrypted", "session_id", "invitation_id")
    | {"due_at": None, "attempts": Webhook.attempts + 1},
    by="id_",
)
_LATER = bulk.Change(Webhook.id, bulk.new("due_at", "detail") | {"attempts": Webhook.attempts + 1}, by="id_")
_KNOWN = sa.select(Webhook.source, Webhook.digest).where(
    bulk.among(Webhook.source, "sources"), bulk.among(Webhook.digest, "digests")
)
_ANY = sa.select(Webhook.id).where(Webhook.due_at <= sa.bindparam("now")).limit(1)
_DUE = (
    sa.select(Webhook.id, Webhook.source, Webhook.event, Webhook.received_at, Webhook.attempts, Webhook.encrypted)
    .where(Webhook.due_at <= sa.bindparam("now"), Webhook.source.startswith(sa.bindparam("kind")))
    .order_by(Webhook.due_at, Webhook.id)
    .limit(CHUNK)
)


LOGGED_AT_ONCE = 5  # log lines for each chunk of webhooks
PROCESSED_AT_ONCE = 20  # chunks of webhooks in a tick: other due work must not wait for all webhooks of an outage


def process_webhooks(webhooks: Webhooks, clock: Clock, meters: Meters, traces: Traces = NO_TRACES) -> set[WakeUp]:
    """Process the webhooks that are due; returns the wake-ups for what became due by that.

    The log and the metrics say what became of them. The process that takes webhooks in processes them at once. The
    sweep finds those that were left, and those that are tried again.
    """
    due: set[WakeUp] = set()
    for _ in range(PROCESSED_AT_ONCE):
        now = clock()
        if not webhooks.any_due(now=now):
            break
        processed = webhooks.process(now=now)
        due |= processed.due
        if traces.on:
            ended_at = clock()
            for source, one, traceparent in webhooks.traced(processed.done):
                failed, became = one.state in LISTED_WEBHOOKS, one.state.value
                step = Step("apply webhook", now, ended_at, became, {"source": source}, failed=failed)
                traces.step(traceparent, step)
        for source, _, one in processed.done:
            meters.add(PROCESSED, source, one.state.value)
        listed = processed.listed
        for source, event, state, detail in listed[:LOGGED_AT_ONCE]:
            level = logging.ERROR if state is WebhookState.BROKEN else logging.WARNING
            named = {"account" if source.startswith(ACCOUNT) else "channel": source.partition("/")[2]}
            words = (event, source, state.value, detail)
            log.log(level, "%s of %s is %s: %s; see `onboard events webhooks list`", *words, extra=named)
        if (more := len(listed) - LOGGED_AT_ONCE) > 0:
            log.warning("%d more webhooks need a look; see `onboard events webhooks list`", more)
        if processed.count < CHUNK:
            break
    return due
