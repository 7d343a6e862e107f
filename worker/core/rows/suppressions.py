"""The do-not-contact list: addresses as keyed hashes, so that the table does not show which addresses it holds.

Only the key that made a hash can find it again. So an address that a look-up finds by an older key of the ring is
stored under the newest key from then on. The hashed text is in the row too, encrypted, so that all rows can be hashed
anew (`onboard keys rotate`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import (
    ADDRESS,
    EMAIL,
    ERASED,
    PHONE,
    context_of_address,
    email_text,
)
from onboarding_worker.core.database.journal import Happened, Note, note
from onboarding_worker.core.database.tables import CustomerRow, Suppression
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.channels import (
    CHANNELS,
    SuppressionReason,
    address_of,
    is_mail,
    listed_as,
    stronger,
    text_of,
)
from onboarding_worker.core.model.customers import Channel, Person

Address = tuple[str, str]  # channel and address, as intake gives it: personal

# Whether any address at all is suppressed, for a claim's statement. If none is, no further query is made.
ANY_SUPPRESSED: sa.ScalarSelect[bool] = sa.select(
    sa.exists(sa.select(sa.literal(1)).select_from(Suppression))
).scalar_subquery()
_AMONG = bulk.among(Suppression.digest, "digests")
_FOUND = sa.select(Suppression.digest, Suppression.reason, (Suppression.encrypted == ERASED).label("bare")).where(
    _AMONG
)
ALL_OF_IT = sa.select(*Suppression.__table__.columns).where(_AMONG)
# Always in the same order, so that two transactions with the same address cannot deadlock.
_KEPT = ALL_OF_IT.order_by(Suppression.digest).with_for_update()
_KEPT_AND_FREE = _KEPT.with_for_update(skip_locked=True)
NO_MANUAL: dict[str, Any] = {"manual_by": None, "manual_at": None}
_DELETE = sa.delete(Suppression).where(_AMONG)
_SEAL = (
    sa.update(Suppression)
    .where(Suppression.digest == sa.bindparam("digest_"))
    .values(encrypted=sa.bindparam("encrypted_"))
)


def suppress(
    connection: sa.Connection,
    keyring: Keyring,
    channel: str,
    address: str,
    reason: SuppressionReason,
    source: str,
    *,
    now: datetime,
) -> SuppressionReason:
    """Suppress the address; returns the reason that is stored: the strongest of several. A manual entry is stored in
    the same row beneath a stronger reason.

    `source` is where the reason comes from: `sender/sms`, or a person's name. Raises ValueError, without the address in
    its text, on an address that `channels.text_of` cannot read.
    """
    text = text_of(channel, address)
    digests = keyring.digests(ADDRESS, text)
    newest = {"digest": digests[0], "encrypted": _encrypted(keyring, digests[0], text)}
    for row in fetch(connection, _KEPT, {"digests": bulk.keys(digests)}):
        if row.digest != digests[0]:
            _keep(connection, row._asdict() | newest)
            note(connection, Happened.LIFTED, [row.digest])  # the newest has it: a journal needs that key no more
    connection.execute(_DELETE, {"digests": bulk.keys(digests[1:])})
    entry = {"channel": listed_as(channel), "reason": reason.value, "source": source[:80], "created_at": now}
    return _keep(connection, entry | NO_MANUAL | newest)


def _encrypted(keyring: Keyring, digest: str, text: str) -> bytes:
    """The text of `text_of`, so that it can be hashed by another key."""
    return keyring.encrypt({"text": text}, context=context_of_address(digest))


def release(
    connection: sa.Connection,
    keyring: Keyring,
    channel: str,
    address: str,
    *,
    only: Collection[SuppressionReason] | None = None,
) -> SuppressionReason | None:
    """Lift the suppression of the address, with `only` for one of these reasons; returns the reason, or None.

    A manual entry beneath that reason stays and applies from then on, unless `only` names MANUAL too.

    Raises ValueError as `suppress` does.
    """
    digests = keyring.digests(ADDRESS, text_of(channel, address))
    rows = fetch(connection, _KEPT, {"digests": bulk.keys(digests)})
    reasons: list[SuppressionReason] = [row.reason for row in rows]
    if not reasons or (only is not None and any(reason not in only for reason in reasons)):
        return None
    connection.execute(_DELETE, {"digests": bulk.keys(digests)})
    note(connection, Happened.LIFTED, digests)
    if only is not None and SuppressionReason.MANUAL not in only:
        for row in rows:
            if row.manual_by is not None:
                manual = {"reason": SuppressionReason.MANUAL.value, "source": row.manual_by}
                _keep(connection, row._asdict() | manual | {"created_at": row.manual_at} | NO_MANUAL)
    return reduce(stronger, reasons)


def suppressed(
    connection: sa.Connection, keyring: Keyring, addresses: Iterable[Address], *, renew: bool = True
) -> dict[Address, SuppressionReason]:
    """The suppressed ones of these addresses, with the reason; one statement for all addresses.

    Text that is not an address is never suppressed: its sender refuses it. What an older key of the ring finds is
    stored under the newest key, and what came without its text from a journal gets it; this writes, if `renew`.
    """
    by_digest: dict[str, list[Address]] = {}  # one number may be asked about on two channels
    texts: dict[Address, str] = {}
    newest: dict[Address, str] = {}
    for address in set(addresses):
        try:
            texts[address] = text_of(*address)
        except ValueError:
            continue
        digests = keyring.digests(ADDRESS, texts[address])
        for digest in digests:
            by_digest.setdefault(digest, []).append(address)
        newest[address] = digests[0]
    if not by_digest:
        return {}
    found: dict[Address, SuppressionReason] = {}
    old: dict[str, str] = {}
    for row in fetch(connection, _FOUND, {"digests": bulk.keys(by_digest)}):
        for address in by_digest[row.digest]:
            found[address] = stronger(found.get(address, row.reason), row.reason)
            if row.digest != newest[address] or row.bare:
                old[row.digest] = texts[address]
    if old and renew:
        _renew(connection, keyring, old)
    return found


def _renew(connection: sa.Connection, keyring: Keyring, old: Mapping[str, str]) -> None:
    """Store these rows under the newest keys. `old` maps each old digest to its text.

    A row that another transaction is changing is left for the next time: the caller holds rows for which that
    transaction may wait.
    """
    for row in fetch(connection, _KEPT_AND_FREE, {"digests": bulk.keys(old)}):
        digest = keyring.digests(ADDRESS, old[row.digest])[0]
        encrypted = _encrypted(keyring, digest, old[row.digest])
        if digest == row.digest:
            connection.execute(_SEAL, {"digest_": digest, "encrypted_": encrypted})
            continue
        _keep(connection, row._asdict() | {"digest": digest, "encrypted": encrypted})
        note(connection, Happened.LIFTED, [row.digest])
        connection.execute(_DELETE, {"digests": bulk.keys([row.digest])})


def hash_anew(connection: sa.Connection, keyring: Keyring, digests: Collection[str]) -> tuple[int, int]:
    """Store these rows under the first keys; returns how many were stored, and how many are unreadable.

    A row that another transaction is changing is left for the next time.
    """
    texts, unreadable = {}, 0
    for row in fetch(connection, _KEPT_AND_FREE, {"digests": bulk.keys(digests)}):
        try:
            texts[row.digest] = keyring.decrypt(row.encrypted, context=context_of_address(row.digest))["text"]
        except CannotDecrypt:
            unreadable += 1
    _renew(connection, keyring, texts)
    return len(texts), unreadable


def suppress_again(connection: sa.Connection, noted: Sequence[Note]) -> int:
    """Add those of these addresses that are not there; returns how many. A row gets its text when its address is looked
    up for the first time: until then it needs its digest key."""
    there = {row.digest for row in fetch(connection, _FOUND, {"digests": bulk.keys(one.digest for one in noted)})}
    new = [one for one in noted if one.digest not in there]
    for one in new:
        facts = {"channel": one.channel, "reason": one.reason, "source": "journal", "created_at": one.at}
        _keep(connection, facts | {"digest": one.digest, "encrypted": ERASED} | NO_MANUAL)
    return len(new)


def _keep(connection: sa.Connection, row: Mapping[str, Any]) -> SuppressionReason:
    """Add the row. If the address has a row, the stronger reason stays; a manual entry of either stays beneath it."""
    statement = bulk.insert(Suppression, connection.dialect.name).values(row)
    new, old = statement.excluded, Suppression.__table__.c
    outranks = _rank(new.reason) > _rank(old.reason)
    changed = {name: sa.case((outranks, new[name]), else_=old[name]) for name in ("reason", "source", "created_at")}
    manual = {"manual_by": "source", "manual_at": "created_at"}
    # Where neither reason is stronger than a manual entry, the reason that stays is the manual entry itself.
    is_it = sa.and_(
        *(_rank(each.reason) <= list(SuppressionReason).index(SuppressionReason.MANUAL) for each in (new, old))
    )
    for name, of_it in manual.items():
        entered = [
            sa.case((each.reason == SuppressionReason.MANUAL.value, each[of_it]), else_=each[name])
            for each in (old, new)
        ]
        changed[name] = sa.case((is_it, None), else_=sa.func.coalesce(*entered))
    connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=changed))
    kept = sa.select(Suppression.reason).where(Suppression.digest == row["digest"])
    stored: SuppressionReason = connection.execute(kept).scalar_one()
    note(connection, Happened.SUPPRESSED, [row["digest"]], channel=Channel(row["channel"]), reason=stored)
    return stored


def _rank(reason: Any) -> sa.ColumnElement[int]:
    known = {each.value: rank for rank, each in enumerate(SuppressionReason)}
    return sa.case(known, value=reason, else_=len(known))  # as `stronger`


def has_address(keyring: Keyring, channel: str, address: str) -> sa.ColumnElement[bool]:
    """Whether a customer has this address."""
    if is_mail(channel):
        return CustomerRow.email_digest.in_(keyring.digests(EMAIL, email_text({"email": address})))
    return CustomerRow.phone_digest.in_(keyring.digests(PHONE, address))


def reachable(
    connection: sa.Connection, keyring: Keyring, people: Mapping[str, Person], channels: Collection[str] = CHANNELS
) -> dict[str, dict[str, SuppressionReason | None]]:
    """For each person, by customer, the channels with an address, each with the reason why the address is suppressed,
    or None. One statement for all people."""
    addresses = {
        (customer_id, channel): address
        for customer_id, person in people.items()
        for channel in channels
        if (address := address_of(person, channel))
    }
    found = suppressed(connection, keyring, [(channel, address) for (_, channel), address in addresses.items()])
    ways: dict[str, dict[str, SuppressionReason | None]] = {customer_id: {} for customer_id in people}
    for (customer_id, channel), address in addresses.items():
        ways[customer_id][channel] = found.get((channel, address))
    return ways
