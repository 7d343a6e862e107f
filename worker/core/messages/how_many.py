"""Decides how many messages may leave: to a customer, to an address, and to a country in an hour.

A customer's messages are counted with those in flight. Two dispatchers, for email and for SMS, may each be about to
send the last allowed message: the dispatcher that would use up the cap locks the customer and counts again. Of two
messages that are due at once the email goes, whichever dispatcher is faster.

An address has places: one is taken before a session is paid for, and again as a message leaves. Several workers may ask
for the same address at once. Each reads the places, decides (`rules.contact`), and takes one only if no other
transaction has taken it meanwhile; else it asks again a little later.

A country's texts are counted last of all: only a text that leaves is counted. A text that is handed over again counts
again. One that is not handed over after all is not counted any more.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch, made_of
from onboarding_worker.core.database.encrypted_values import ADDRESS
from onboarding_worker.core.database.fast import many_rows
from onboarding_worker.core.database.tables import AddressPlace, CustomerRow, InvitationRow, Job, TextCount
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.messages.message_context import ClaimedInvitation, InvitationPolicy, MessageClaim
from onboarding_worker.core.model.channels import CHANNELS, address_of
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Later, Never, NotNow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.core.rows.usage import messages_of
from onboarding_worker.core.rules.contact import FIRST, AddressCap, Place, Wish, give_places, may_send, text_of_mailbox
from onboarding_worker.core.rules.reconciliation import unknown_in_words
from onboarding_worker.core.rules.text_numbers import HOUR, KEPT, country_of, hour_of

# A message in flight may bounce, and then does not count: wait until its result is known.
LAST_ASKS_AGAIN = timedelta(minutes=1)
# So long the last message waits for one that goes first; a sender that stands still must not keep it for ever.
GOES_FIRST = timedelta(minutes=5)
# Another transaction took the place at the same moment. By then it has ended.
ASK_AGAIN = timedelta(seconds=1)

_WAITING = InvitationState.WAITING
_LOCKED = (
    sa.select(CustomerRow.customer_id)
    .where(bulk.among(CustomerRow.customer_id, "customers"))
    .order_by(CustomerRow.customer_id)
    # Skips locked rows: an import that holds a customer's lock may wait for rows that this transaction holds.
    .with_for_update(key_share=True, skip_locked=True)
)


def spent(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Mapping[uuid.UUID, NotNow]:
    """The messages that would exceed their customer's cap. The counts include these messages themselves.

    Most customers have one message: nothing is counted for them, if a cap allows more than one.
    """
    connection, caps = claim.connection, claim.policy.contact.caps
    if caps.messages > 1:
        messages = [one for one in messages if not one.leased.alone or one.earlier_handovers]
        if not messages:
            return {}
    ours = Counter(one.customer.customer_id for one in messages)
    had = messages_of(connection, ours)
    last = [customer_id for customer_id in ours if had[customer_id].sent < caps.messages <= had[customer_id].all]
    locked = set(ours) - set(last)
    if last:
        locked |= {row.customer_id for row in fetch(connection, _LOCKED, {"customers": bulk.keys(last)})}
        had |= messages_of(connection, last)
    going_first = _going_first(claim, [one for one in messages if one.customer.customer_id in last])
    found: dict[uuid.UUID, NotNow] = {}
    leaving: Counter[str] = Counter()
    for one in messages:
        customer_id = one.customer.customer_id
        other_messages = had[customer_id].all - ours[customer_id]
        if not may_send(caps, had[customer_id].sent):
            found[one.id] = no_more(one, Reason.MESSAGES_SPENT)
        elif (
            customer_id not in locked
            or one.session_id in going_first
            or not may_send(caps, other_messages + leaving[customer_id])
        ):
            found[one.id] = Later(claim.now + LAST_ASKS_AGAIN, Reason.LAST_MESSAGE_UNDER_WAY)
        else:
            leaving[customer_id] += 1
    return found


def _going_first(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> set[uuid.UUID]:
    """The sessions of these messages that have one due, too, on a channel that goes first."""
    before = list(CHANNELS)[: list(CHANNELS).index(claim.policy.channel)]
    if not before or not messages:
        return set()
    of_sessions = InvitationRow.session_id.in_({one.session_id for one in messages})
    waits = of_sessions & (InvitationRow.state == _WAITING) & InvitationRow.channel.in_(before)
    due = InvitationRow.due_at.between(claim.now - GOES_FIRST, claim.now)
    return {row.session_id for row in fetch(claim.connection, sa.select(InvitationRow.session_id).where(waits & due))}


def end_waits(
    connection: sa.Connection, policy: InvitationPolicy, repeats: Mapping[uuid.UUID, str], *, now: datetime
) -> None:
    """Make repeats due that their customer's cap lets leave no more, so that the check before they leave ends them.

    `repeats` are messages whose last hand-over has an unknown outcome, with their customers. A wait of half an hour
    would only keep the row from the person who must decide about it.
    """
    if not repeats:
        return
    had = messages_of(connection, set(repeats.values()))
    ended = [id_ for id_, customer_id in repeats.items() if not may_send(policy.contact.caps, had[customer_id].sent)]
    if ended:
        waiting = sa.update(InvitationRow).where(InvitationRow.id.in_(ended), InvitationRow.state == _WAITING)
        connection.execute(waiting.values(due_at=now))


def no_more(item: ClaimedInvitation, cap: Reason) -> Never:
    """The end of a message that a cap lets leave no more. A first message that may have arrived waits for a person."""
    if item.kind != FIRST:
        return Never(InvitationState.SUPERSEDED, cap, cap.meaning)
    if item.unknown_handovers:
        return Never(InvitationState.HELD, Reason.UNKNOWN, f"{unknown_in_words(item.unknown_handovers)}; {cap.meaning}")
    return Never(InvitationState.SUPPRESSED, cap, cap.meaning)


_LOCKED_TEXTS = (
    sa.select(TextCount.country, TextCount.count.label("number"))
    .where(bulk.among(TextCount.country, "countries"), TextCount.hour == sa.bindparam("hour"))
    .order_by(TextCount.country)
    .with_for_update()
)
_COUNT = (
    sa.update(TextCount)
    .where(TextCount.country == sa.bindparam("of_country"), TextCount.hour == sa.bindparam("of_hour"))
    .values(count=TextCount.count + sa.bindparam("more"), refused=TextCount.refused + sa.bindparam("more_refused"))
)


def is_capped(policy: InvitationPolicy) -> bool:
    """Whether the policy's messages are texts, of which a country gets so many an hour."""
    return policy.channel == Channel.SMS and policy.contact.texts_per_country is not None


def countries_spent(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Mapping[uuid.UUID, NotNow]:
    """The texts that wait for the next hour, because their country has had its texts of this one."""
    cap, connection = claim.policy.contact.texts_per_country, claim.connection
    if cap is None:
        return {}
    hour = hour_of(claim.now)
    by_country: dict[str, list[uuid.UUID]] = {}
    for one in messages:
        by_country.setdefault(country_of(one.customer.person.phone), []).append(one.id)
    # Always in the same order: two transactions must not deadlock.
    rows = [{"country": name, "hour": hour, "count": 0, "refused": 0} for name in sorted(by_country)]
    connection.execute(bulk.insert(TextCount, connection.dialect.name).on_conflict_do_nothing(), rows)
    had = {
        row.country: row.number
        for row in fetch(connection, _LOCKED_TEXTS, {"countries": bulk.keys(sorted(by_country)), "hour": hour})
    }
    found: dict[uuid.UUID, NotNow] = {}
    counts = []
    for country, ids in sorted(by_country.items()):
        going = max(0, min(len(ids), cap - had[country]))
        found |= {id_: Later(hour + HOUR, Reason.COUNTRY_SPENT) for id_ in ids[going:]}
        counts.append({"of_country": country, "of_hour": hour, "more": going, "more_refused": len(ids) - going})
    connection.execute(_COUNT, counts)
    if 0 in had.values():  # now and then: an hour's first text to a country
        connection.execute(sa.delete(TextCount).where(TextCount.hour < hour - KEPT))
    return found


def take_back(connection: sa.Connection, policy: InvitationPolicy, items: Iterable[ClaimedInvitation]) -> None:
    """Count no more the texts that were claimed to leave, and did not: they are due as before."""
    if not is_capped(policy):
        return
    stay = Counter(
        (country_of(item.customer.person.phone), hour_of(item.lease_until - policy.lease))  # when they were claimed
        for item in items
        if item.unknown_call is None
    )
    counts = [
        {"of_country": country, "of_hour": hour, "more": -number, "more_refused": 0}
        for (country, hour), number in sorted(stay.items())
    ]
    if counts:
        budgets.lock(connection, policy.rule)  # before the counts, as in a claim
        connection.execute(_COUNT, counts)


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
            sa.select(InvitationRow.unknown_handovers + InvitationRow.lost_handovers + _IN_DOUBT)
            .where(InvitationRow.id == AddressPlace.invitation_id)
            .scalar_subquery(),
            0,
        ).label("unknown_handovers"),
    )
    .where(bulk.among(AddressPlace.digest, "digests"))
    .order_by(AddressPlace.digest, AddressPlace.number)
)


_GIVEN = {name: AddressPlace.__table__.c[name].type for name in ("digest", "job_id", "invitation_id", "taken_at")}


@cache
def _take_only() -> sa.Insert:
    """The statement of `_only_places`, over all rows."""
    new, other = many_rows.given(_GIVEN), aliased(AddressPlace)
    rows = sa.select(new, sa.literal_column("0"), sa.literal_column("1")).where(
        ~sa.exists().where(other.digest == new.c.digest, other.number != sa.literal_column("0"))
    )
    insert = bulk.insert(AddressPlace, "postgresql").from_select(
        [*_GIVEN, "number", "version"], rows, include_defaults=False
    )
    mine = insert.excluded
    own = (AddressPlace.job_id == mine.job_id) & AddressPlace.invitation_id.is_(None)
    return insert.on_conflict_do_update(
        index_elements=[AddressPlace.digest, AddressPlace.number],
        set_={"invitation_id": mine.invitation_id, "taken_at": mine.taken_at, "version": AddressPlace.version + 1},
        where=own | (AddressPlace.invitation_id == mine.invitation_id),
    ).returning(AddressPlace.digest)


def take(
    connection: sa.Connection, keyring: Keyring, cap: AddressCap, wanted: Sequence[Wish], *, now: datetime
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
    if many_rows.takes_arrays(connection):
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
        had = [row for digest in of for row in by_digest.get(digest, ())]
        versions = {row.number: row.version for row in by_digest.get(of[0], ())}
        known = [
            # Those under an older key count too, under numbers that no one takes.
            made_of(Place, row, number=row.number if row.digest == of[0] else -1 - index)
            for index, row in enumerate(had)
        ]
        answers = give_places(cap, known, [wanted[index] for index in indexes], now=now)
        for index, answer in zip(indexes, answers, strict=True):
            if isinstance(answer, datetime):
                found[index] = answer
            if isinstance(answer, datetime) or answer < 0:  # it has a place under an older key
                continue
            wish = wanted[index]
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
    connection: sa.Connection, wanted: Sequence[Wish], asked: Mapping[tuple[str, ...], Sequence[int]], *, now: datetime
) -> list[str]:
    """Take the first place of each address that has no other. Returns the digests of these addresses.

    Most addresses are one customer's, so that nothing else need be read of them. The answers are those of
    `give_places`: no one has had a place of the address, or the one who wants it has its only place.
    """
    alone = all(len(of) == len(indexes) == 1 for of, indexes in asked.items())
    # Only if no address needs more than this: then the places are taken in one order, and two transactions with the
    # same addresses cannot deadlock.
    if not alone or any(one.unknown_handovers for one in wanted):
        return []
    rows = [
        {"digest": digest, "job_id": wish.job_id, "invitation_id": wish.invitation_id, "taken_at": now}
        for (digest,), (index,) in sorted(asked.items())
        for wish in [wanted[index]]
    ]
    return list(connection.execute(_take_only(), many_rows.sent(_GIVEN, bulk.columns_of(rows))).scalars())


def without_place(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Mapping[uuid.UUID, NotNow]:
    """The messages whose addresses have had all the messages that they may get for now; the others take their places.

    A message whose link would be too old by the time that its address has a place again never leaves; but an event's
    waits, because its sender may have given the customer the link.
    """
    cap, channel = claim.policy.contact.address_cap, claim.policy.channel
    if cap is None:
        return {}
    # A customer whose details were replaced may have no such address any more: its sender refuses the message.
    asked = [(one, address) for one in messages if (address := address_of(one.customer.person, channel))]
    wanted = [Wish(one.job_id, one.id, one.earlier_handovers, channel, address) for one, address in asked]
    times = take(claim.connection, claim.keyring, cap, wanted, now=claim.now)
    return {one.id: _not_now(one, at) for (one, _), at in zip(asked, times, strict=True) if at is not None}


def _not_now(one: ClaimedInvitation, at: datetime) -> NotNow:
    if at < one.expires_at - one.floor or (one.is_event and one.kind == FIRST):
        return Later(at, Reason.ADDRESS_SPENT)
    return no_more(one, Reason.ADDRESS_SPENT)
