"""The places of addresses: taken before a session is paid for, and again as a message leaves.

Several workers may ask for the same address at once. Each reads the places, decides, and takes one only if no other
transaction has taken it meanwhile; else it asks again a little later.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import aliased

from worker.core.database import binary_rows, bulk
from worker.core.database.database import Database, fetch
from worker.core.database.encrypted_values import ADDRESS
from worker.core.database.tables import AddressPlace, InvitationRow, Job
from worker.core.foundation.keyring import Keyring
from worker.core.messages.caps import AddressCap, Place, Wish, give_places, text_of_mailbox
from worker.core.messages.store.message_cap_check import no_more
from worker.core.messages.store.message_context import ClaimedInvitation, MessageClaim
from worker.core.model.channels import address_of
from worker.core.model.endings import Later, NotNow
from worker.core.model.reasons import Reason
from worker.core.work.store.sessions import FIRST

# Another transaction took the place at the same moment. By then it has ended.
ASK_AGAIN = timedelta(seconds=1)
CHUNK = 5000

_IN_DOUBT = sa.case((InvitationRow.unknown_attempt.is_not(None), 1), else_=0)
_PLACES = (
    sa.select(
        AddressPlace.digest,
        AddressPlace.number,
        AddressPlace.job_id,
        AddressPlace.invitation_id,
        AddressPlace.taken_at,
        AddressPlace.version,
        sa.select(Job.state).where(Job.id == AddressPlace.job_id).scalar_subquery().label("job"),
        sa.select(InvitationRow.state)
        .where(InvitationRow.id == AddressPlace.invitation_id)
        .scalar_subquery()
        .label("invitation"),
        sa.func.coalesce(
            # One that was given up before its outcome was known may have arrived, too.
            sa.select(InvitationRow.unknown_handovers + _IN_DOUBT)
            .where(InvitationRow.id == AddressPlace.invitation_id)
            .scalar_subquery(),
            0,
        ).label("unknown_handovers"),
    )
    .where(bulk.among(AddressPlace.digest, "digests"))
    .order_by(AddressPlace.digest, AddressPlace.number)
)


_GIVEN = {name: AddressPlace.__table__.c[name].type for name in ("digest", "job_id", "invitation_id", "taken_at")}


def _take_only() -> str:
    """The statement of `_only_places`, over all rows."""
    new, other = binary_rows.given(_GIVEN), aliased(AddressPlace)
    rows = sa.select(new, sa.literal_column("0"), sa.literal_column("1")).where(
        ~sa.exists().where(other.digest == new.c.digest, other.number != sa.literal_column("0"))
    )
    insert = postgresql.insert(AddressPlace).from_select([*_GIVEN, "number", "version"], rows, include_defaults=False)
    mine = insert.excluded
    own = (AddressPlace.job_id == mine.job_id) & AddressPlace.invitation_id.is_(None)
    return binary_rows.text(
        insert.on_conflict_do_update(
            index_elements=[AddressPlace.digest, AddressPlace.number],
            set_={
                "invitation_id": mine.invitation_id,
                "taken_at": mine.taken_at,
                "version": AddressPlace.version + 1,
            },
            where=own | (AddressPlace.invitation_id == mine.invitation_id),
        ).returning(AddressPlace.digest)
    )


_TAKE_ONLY = _take_only()


@dataclass(frozen=True, repr=False)
class Wanted:
    """A place at an address (personal) that a job or one of its messages needs."""

    channel: str
    address: str
    wish: Wish


def take(
    connection: sa.Connection, keyring: Keyring, cap: AddressCap, wanted: Sequence[Wanted], *, now: datetime
) -> list[datetime | None]:
    """Take a place for each; None where it has one now, else the time at which to ask again."""
    if not wanted:
        return []
    digests = {
        address: keyring.digests(ADDRESS, text_of_mailbox(*address))
        for address in {(one.channel, one.address) for one in wanted}
    }
    asked: dict[tuple[str, ...], list[int]] = {}  # the positions in `wanted`, by the address's digests
    for index, one in enumerate(wanted):
        asked.setdefault(digests[one.channel, one.address], []).append(index)
    for digest in _only_places(connection, wanted, asked, now=now):
        del asked[(digest,)]
    found: list[datetime | None] = [None] * len(wanted)
    if not asked:
        return found
    by_digest: dict[str, list[sa.Row[Any]]] = {}
    given = {"digests": bulk.keys(sorted({each for of in asked for each in of}))}
    for row in fetch(connection, _PLACES, given):
        by_digest.setdefault(row.digest, []).append(row)
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    places: dict[tuple[str, int], int] = {}
    for of, indexes in asked.items():
        known = [row for digest in of for row in by_digest.get(digest, ())]
        versions = {row.number: row.version for row in by_digest.get(of[0], ())}
        answers = give_places(cap, _places(known, of[0]), [wanted[index].wish for index in indexes], now=now)
        for index, answer in zip(indexes, answers, strict=True):
            if isinstance(answer, datetime):
                found[index] = answer
            if isinstance(answer, datetime) or answer < 0:  # it has a place under an older key
                continue
            wish = wanted[index].wish
            places[of[0], answer] = index
            rows[of[0], answer] = {
                "digest": of[0],
                "number": answer,
                "job_id": wish.job_id,
                "invitation_id": wish.invitation_id,
                "taken_at": now,
                "version": versions.get(answer, 0) + 1,
            }
    # Always in the same order, so that two transactions with the same addresses cannot deadlock.
    written = bulk.put(
        connection, AddressPlace, [rows[key] for key in sorted(rows)], key=("digest", "number"), version="version"
    )
    for key, index in places.items():
        if key not in written:
            found[index] = now + ASK_AGAIN
    return found


def _only_places(
    connection: sa.Connection,
    wanted: Sequence[Wanted],
    asked: Mapping[tuple[str, ...], Sequence[int]],
    *,
    now: datetime,
) -> list[str]:
    """Take the first place of each address that has no other. Returns the digests of these addresses.

    Most addresses are one customer's, so that nothing else need be read of them. The answers are those of
    `give_places`: no one has had a place of the address, or the one who wants it has its only place.
    """
    alone = all(len(of) == len(indexes) == 1 for of, indexes in asked.items())
    # Only if no address needs more than this: then the places are taken in one order, and two transactions with the
    # same addresses cannot deadlock.
    if connection.dialect.name == "sqlite" or not alone or any(one.wish.unknown_handovers for one in wanted):
        return []
    rows = [
        {"digest": digest, "job_id": wish.job_id, "invitation_id": wish.invitation_id, "taken_at": now}
        for (digest,), (index,) in sorted(asked.items())
        for wish in [wanted[index].wish]
    ]
    return [digest for (digest,) in connection.exec_driver_sql(_TAKE_ONLY, binary_rows.arrays(_GIVEN, rows))]


def _places(rows: Sequence[sa.Row[Any]], newest: str) -> list[Place]:
    """The places of an address. Those under an older key count too, under numbers that no one takes."""
    return [
        Place(
            row.number if row.digest == newest else -1 - index,
            row.job_id,
            row.invitation_id,
            row.taken_at,
            row.job,
            row.invitation,
            row.unknown_handovers,
        )
        for index, row in enumerate(rows)
    ]


def without_place(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Mapping[uuid.UUID, NotNow]:
    """The messages whose addresses have had all the messages that they may get for now; the others take their places.

    A message whose link would be too old by the time that its address has a place again never leaves; but an event's
    waits, because its sender may have given the customer the link.
    """
    cap, channel = claim.policy.contact.address_cap, claim.policy.channel
    if cap is None:
        return {}
    wanted = [
        Wanted(
            channel,
            address_of(one.customer.person, channel),
            Wish(one.job_id, one.id, one.unknown_handovers),
        )
        for one in messages
    ]
    times = take(claim.connection, claim.keyring, cap, wanted, now=claim.now)
    return {one.id: _not_now(one, at) for one, at in zip(messages, times, strict=True) if at is not None}


def _not_now(one: ClaimedInvitation, at: datetime) -> NotNow:
    if at < one.expires_at - one.floor or (one.is_event and one.kind == FIRST):
        return Later(at, Reason.ADDRESS_SPENT)
    return no_more(one, Reason.ADDRESS_SPENT)


def remove(database: Database, *, since: datetime) -> int:
    """Remove the next places that were taken until `since`; returns how many."""
    old = sa.select(AddressPlace.digest, AddressPlace.number).where(AddressPlace.taken_at <= since)
    keys = old.order_by(AddressPlace.taken_at).limit(CHUNK)
    gone = sa.delete(AddressPlace).where(sa.tuple_(AddressPlace.digest, AddressPlace.number).in_(keys))
    with database.write() as connection:
        return connection.execute(gone).rowcount
