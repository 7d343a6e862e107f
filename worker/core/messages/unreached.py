"""Tries another channel when a message does not reach its customer."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import Erased, read_person
from onboarding_worker.core.database.job_ids import IS_LIVE
from onboarding_worker.core.database.tables import Batch, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.channels import address_of
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.core.rows.message_rows import waiting_message
from onboarding_worker.core.rows.suppressions import suppressed
from onboarding_worker.core.rules.contact import FIRST, ContactPolicy
from onboarding_worker.core.rules.quiet_hours import allowed_at
from onboarding_worker.core.rules.text_numbers import why_not_texted


def fall_back(
    connection: sa.Connection, keyring: Keyring, policy: ContactPolicy, invitations: Collection[UUID], *, now: datetime
) -> set[str]:
    """Add a first message on the other channel for sessions whose message did not reach the customer.

    Adds no message for a customer without an address on that channel, with a suppressed address, with a number that
    gets no texts, or with a message on that channel for this session already; and none once the session or the job has
    ended. Returns the channels on which a message is due at once.
    """
    if not policy.fallbacks or not invitations:
        return set()
    people: dict[UUID, tuple[sa.Row[Any], str, Person]] = {}
    unreached = fetch(connection, _UNREACHED, {"ids": bulk.keys(invitations)})
    for row in unreached:
        channel = policy.fallbacks.get(row.channel)
        if channel is None:
            continue
        try:
            person = read_person(keyring, row.customer_id, row.person)
        except (CannotDecrypt, Erased):
            continue
        address = address_of(person, channel)
        if address and not (channel == Channel.SMS and why_not_texted(address, policy.countries)):
            people[row.session_id] = (row, channel, person)
    wanted = [(channel, address_of(person, channel)) for _, channel, person in people.values()]
    blocked = suppressed(connection, keyring, wanted) if wanted else {}
    rows = [
        _message(row, channel, person, policy, now=now)
        for row, channel, person in people.values()
        if (channel, address_of(person, channel)) not in blocked
    ]
    if not rows:
        return set()
    # Another transaction may have added the message already.
    connection.execute(bulk.insert(InvitationRow, connection.dialect.name).on_conflict_do_nothing(), rows)
    return {row["channel"] for row in rows if row["due_at"] <= now}


_UNREACHED = (
    sa.select(
        InvitationRow.session_id,
        InvitationRow.channel,
        Job.id.label("job_id"),
        Job.priority,
        Job.invite_at,
        CustomerRow.customer_id,
        CustomerRow.encrypted.label("person"),
        CustomerRow.country,
        CustomerRow.timezone,
    )
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .join(Job, Job.id == InvitationRow.job_id)
    .join(Batch, Batch.id == Job.batch_id)
    .join(CustomerRow, CustomerRow.customer_id == SessionRow.customer_id)
    .where(
        bulk.among(InvitationRow.id, "ids"),
        sa.or_(IS_LIVE, SessionRow.state == bulk.fixed(SessionState.DEFERRED)),
        Job.state.in_([JobState.ISSUED, JobState.INVITED]),
        Job.session_id == SessionRow.id,
        sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).is_(None),
    )
)


def _message(row: sa.Row[Any], channel: str, person: Person, policy: ContactPolicy, *, now: datetime) -> dict[str, Any]:
    zones = policy.hours.zones_of(timezone=row.timezone, phone=person.phone, country=row.country)
    wanted = max(row.invite_at or now, now)  # until then the customer has the link in the app
    due_at = allowed_at(zones, policy.hours.quiet.get(channel), wanted)
    return waiting_message(
        row.session_id, row.job_id, channel, FIRST, due_at=due_at, wanted=wanted, priority=row.priority, now=now
    )
