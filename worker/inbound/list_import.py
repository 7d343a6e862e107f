"""Brings a list into the database: each line is routed, and becomes a job or a refusal."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.contact_times import Hours, issue_at
from worker.domain.intake import (
    Accepted,
    Content,
    CustomerList,
    Duplicate,
    Line,
    ListOptions,
    Rejected,
    content_digest,
    open_list,
)
from worker.domain.model.customers import Customer, FieldProblem, invitation_channels
from worker.domain.model.sessions import floor_of, max_age_of
from worker.domain.routing import Unroutable, choose_account
from worker.engine.intake import Intake
from worker.foundation.clock import Clock, monotonic
from worker.foundation.outage_log import Outage
from worker.providers.parameters import parse_cell, unknown_parameter
from worker.store.base.database import reason
from worker.store.base.priorities import BATCH
from worker.store.onboarding.batches import Batches, BatchFacts
from worker.store.onboarding.new_rows import AcceptedLine, RefusedLine

log = logging.getLogger(__name__)
# How long an import that has begun waits for a database that restarts, and how often it looks.
DATABASE_PATIENCE = timedelta(seconds=60)
DATABASE_RETRY = timedelta(seconds=1)
CHUNK = 1000  # lines in one transaction: what a kill in the middle of an import has to do again
Progress = Callable[[int], None]


@dataclass
class Judged:
    """What a list comes to before anything is sent."""

    total: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    routes: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    # Of channels with quiet hours, how many of the customers may be in the same zones.
    nights: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    stand_ins: dict[str, int] = field(default_factory=dict)  # rows with an address on a channel that is not theirs
    # Rows by their channels, and those beside them where they have an address.
    reach: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=Counter)


class TooManyRefused(Exception):
    """A list with refused lines, under --strict: nothing of it is taken."""


class CutOff(Exception):
    """The database stayed away in the middle of a list. What is in stays in; the same list again goes on."""


def options_of(intake: Intake, *, mapping: Mapping[str, str] | None = None, **how: Any) -> ListOptions:
    """How this configuration has rows read, of lists and of events; `how` and more of `mapping` are the command's."""
    return ListOptions(
        today=intake.clock().date(),
        mapping={**intake.columns, **(mapping or {})},
        check_parameter=parse_cell,
        known_parameter=unknown_parameter,
        **how,
    )


def judge(intake: Intake, line: Line) -> AcceptedLine | RefusedLine:
    """Route an accepted line; refuse one that no account or sender of this configuration can serve."""
    match line:
        case Rejected():
            return RefusedLine(line.row, line.customer_id, line.problems)
        case Duplicate():
            return RefusedLine(line.row, line.customer_id, (), duplicate_of=line.of_row)
        case Accepted():
            chosen = choose_account(line.customer, intake.routes, able=intake.able, known=intake.providers.keys())
            problems = list(chosen.problems) if isinstance(chosen, Unroutable) else []
            problems += intake.unsendable(line.customer)
            if problems or isinstance(chosen, Unroutable):
                return RefusedLine(line.row, line.customer.customer_id, tuple(problems))
            lifetime = intake.lifetime(chosen.account)
            floor = floor_of(chosen.freshness, lifetime=lifetime)
            asked = None if chosen.freshness is None else int(chosen.freshness.total_seconds())
            channels = invitation_channels(line.customer.channel)
            quiet = intake.hours.concern(channels)
            return AcceptedLine(
                row=line.row,
                customer=line.customer,
                account=chosen.account,
                route=chosen.reason,
                floor_seconds=int(floor.total_seconds()),
                fallback_accounts=chosen.fallback_accounts,
                freshness_seconds=asked,
                quiet_until=_quiet_until(intake, line.customer, channels, max_age_of(lifetime, floor=floor))
                if quiet
                else None,
            )


def _quiet_until(intake: Intake, customer: Customer, channels: Sequence[str], max_age: timedelta) -> datetime | None:
    """Until when the session is not asked for, since its message could not leave before; None: it may be now."""
    zones = intake.hours.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)
    now = intake.clock()
    at = issue_at(channels, zones, intake.hours.quiet, invite_at=None, max_age=max_age, now=now)
    return at if at > now else None


def judge_list(intake: Intake, content: Content, options: ListOptions) -> Iterator[AcceptedLine | RefusedLine]:
    """Each line of the list, judged. Raises intake.ListRefused when it cannot be read as one."""
    for line in open_list(content, options):
        yield judge(intake, line)


def count(judged: Judged, line: AcceptedLine | RefusedLine, hours: Hours | None = None) -> None:
    """Count a line; with `hours`, for a forecast, also whose nights its messages have to get by."""
    judged.total += 1
    match line:
        case AcceptedLine():
            judged.accepted += 1
            judged.routes[line.account] = judged.routes.get(line.account, 0) + 1
            channels = invitation_channels(line.customer.channel)
            for channel in channels:
                judged.messages[channel] = judged.messages.get(channel, 0) + 1
                if hours is not None and hours.concern((channel,)):
                    who = line.customer
                    zones = hours.zones_of(timezone=who.timezone, phone=who.person.phone, country=who.country)
                    judged.nights[channel, zones] += 1
            addresses = (("email", line.customer.person.email), ("sms", line.customer.person.phone))
            beside = tuple(name for name, address in addresses if channels and address and name not in channels)
            for channel in beside:
                judged.stand_ins[channel] = judged.stand_ins.get(channel, 0) + 1
            judged.reach[tuple(channels), beside] += 1
        case RefusedLine(duplicate_of=None):
            judged.rejected += 1
        case _:
            judged.duplicate += 1


def problems_of(line: RefusedLine) -> list[FieldProblem]:
    """What `check` says of a refused line."""
    if line.duplicate_of is not None:
        hint = "remove one of the two; the first is used"
        return [FieldProblem("customer_id", f"the same customer as row {line.duplicate_of}", hint)]
    return list(line.problems)


@dataclass(frozen=True)
class Imported:
    """The list's batch; `new` is False when the same list was imported, or begun, before."""

    batch: BatchFacts
    new: bool


def import_list(
    intake: Intake,
    batches: Batches,
    content: Content,
    options: ListOptions,
    *,
    name: str,
    again: bool = False,
    strict: bool = False,
    progress: Progress = lambda _rows: None,
    pause: Callable[[float], None] = time.sleep,
) -> Imported:
    """Bring the list in as `name`; one that was cut off goes on where it stopped.

    One that is complete, or was cancelled, is left as it is.

    Raises intake.ListRefused, and TooManyRefused under `strict` before anything is written. A database that goes away
    in the middle is waited for, `pause` seconds at a time; raises CutOff when it stays away.
    """
    reading = open_list(content, options)  # before anything is written: an unreadable list makes no batch
    digest = content_digest(content)
    if strict:
        _nothing_refused(intake, reading)
    batch, new = batches.open(name=name, digest=digest, again=again, now=intake.clock())
    if batch.imported_at is not None or batch.cancelled_at is not None:
        return Imported(batch, new)
    after = batches.last_row(batch.id)
    accepted: list[AcceptedLine] = []
    refused: list[RefusedLine] = []
    done = 0

    def write() -> None:
        # Lines that are in already are passed over: a chunk may be added again whose commit nobody confirmed.
        patiently(lambda: batches.add(batch.id, accepted, refused, priority=BATCH, now=intake.clock()))
        accepted.clear()
        refused.clear()

    def patiently(step: Callable[[], None]) -> None:
        _outlasting(step, intake.clock, pause)

    for line in reading:
        done += 1
        if line.row > after:
            judged = judge(intake, line)
            if isinstance(judged, AcceptedLine):
                accepted.append(judged)
            else:
                refused.append(judged)
        if len(accepted) + len(refused) >= CHUNK:
            write()
            progress(done)
    write()
    progress(done)
    patiently(lambda: batches.imported(batch.id, now=intake.clock()))
    return Imported(batch, new)


def _outlasting(step: Callable[[], None], clock: Clock, pause: Callable[[float], None]) -> None:
    """Make a step that may be made twice, waiting for a database that is away. Raises CutOff."""
    away = Outage(log, logging.WARNING)
    began = clock()
    while True:
        try:
            step()
        except sa.exc.OperationalError as error:
            if clock() - began > DATABASE_PATIENCE:
                raise CutOff(reason(error)) from None
            away.lasts(f"the database is away, the import waits for it: {reason(error)}", monotonic())
            pause(DATABASE_RETRY.total_seconds())
        else:
            return away.over("the database is there again: the import goes on")


def _nothing_refused(intake: Intake, reading: CustomerList) -> None:
    judged = Judged()
    for line in reading:
        count(judged, judge(intake, line))
    if judged.rejected:
        raise TooManyRefused(f"{judged.rejected} of {judged.total} rows are refused; `onboard check` names them")


def list_age(batch: BatchFacts, *, now: datetime) -> str:
    """How long ago the batch was made, for people."""
    seconds = max((now - batch.created_at).total_seconds(), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a minute"
