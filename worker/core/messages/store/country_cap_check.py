"""Checks whether a country has had its texts of this hour, and counts those that leave (`messages.text_numbers`).

The last of the gates: only a text that leaves is counted. A text that is handed over again counts again. One that is
not handed over after all is not counted any more.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.database import bulk
from worker.core.database.database import fetch, insert
from worker.core.database.tables import TextCount
from worker.core.limits.store import budgets
from worker.core.messages.send_decision import Later, NotNow
from worker.core.messages.store.message_context import Candidate, Claim, ClaimedInvitation, InvitationPolicy
from worker.core.messages.text_numbers import HOUR, country_of, hour_of, may_go
from worker.core.model.reasons import Reason

KEPT = timedelta(days=2)
_LOCKED = (
    sa.select(TextCount.country, TextCount.count.label("number"))
    .where(bulk.among(TextCount.country, "countries"), TextCount.hour == sa.bindparam("hour"))
    .order_by(TextCount.country)
    .with_for_update()
)
_COUNT = (
    sa.update(TextCount)
    .where(TextCount.country == sa.bindparam("of_country"), TextCount.hour == sa.bindparam("of_hour"))
    .values(
        count=TextCount.count + sa.bindparam("more"),
        refused=TextCount.refused + sa.bindparam("more_refused"),
    )
)


def is_capped(policy: InvitationPolicy) -> bool:
    """Whether the policy's messages are texts, of which a country gets so many an hour."""
    return policy.channel == Channel.SMS and policy.delivery.texts_per_country is not None


def spent(claim: Claim, messages: Sequence[Candidate]) -> Mapping[uuid.UUID, NotNow]:
    """The texts that wait for the next hour, because their country has had its texts of this one."""
    cap, connection = claim.policy.delivery.texts_per_country, claim.connection
    if cap is None or not is_capped(claim.policy):
        return {}
    hour = hour_of(claim.now)
    by_country: dict[str, list[uuid.UUID]] = {}
    for one in messages:
        by_country.setdefault(country_of(one.item.customer.person.phone), []).append(one.item.id)
    # Always in the same order: two transactions must not deadlock.
    rows = [{"country": name, "hour": hour, "count": 0, "refused": 0} for name in sorted(by_country)]
    connection.execute(insert(TextCount, connection.dialect.name).on_conflict_do_nothing(), rows)
    had = {
        row.country: row.number
        for row in fetch(connection, _LOCKED, {"countries": bulk.keys(sorted(by_country)), "hour": hour})
    }
    found: dict[uuid.UUID, NotNow] = {}
    counts = []
    for country, ids in sorted(by_country.items()):
        going = may_go(cap, had[country], len(ids))
        found |= {id_: Later(hour + HOUR, Reason.COUNTRY_SPENT) for id_ in ids[going:]}
        counts.append(
            {"of_country": country, "of_hour": hour, "more": going, "more_refused": len(ids) - going},
        )
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
