"""Brings back what a journal has noted and an older copy of the database does not know: who was erased, and which
addresses get no messages. Safe to repeat."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.encrypted_values import CUSTOMER
from onboarding_worker.core.database.journal import LEAVES_ALONE, Happened, Note
from onboarding_worker.core.database.tables import CustomerRow, Inbox
from onboarding_worker.core.foundation.keyring import Keyring, key_id_of
from onboarding_worker.core.rows.suppressions import suppress_again
from onboarding_worker.events.standing import EarlierEvents
from onboarding_worker.events.store.event_customers import erase_customer
from onboarding_worker.events.store.refused_events import remove_about
from onboarding_worker.lists.decisions.store.do_not_contact import LIST
from onboarding_worker.lists.store.admission import lock_customers
from onboarding_worker.lists.store.new_rows import bury_again

CHUNK = 500
WHY = "from the journal"
# Customers, and those who are known from updates alone: the inbox keeps these until the customer is requested.
_STORED = sa.union(
    sa.select(CustomerRow.customer_id.label("id")).where(CustomerRow.encrypted.is_not(None)),
    sa.select(Inbox.customer_id.label("id")).where(sa.func.length(Inbox.encrypted) > 0),
).subquery()


@dataclass
class Reapplied:
    """How many customers were erased again, and how many addresses suppressed again. `unknown`: by key, how many notes
    are by digest keys that are not in the ring: nothing can be done with them."""

    erased: int = 0
    suppressed: int = 0
    unknown: Counter[str] = field(default_factory=Counter)


def reapply(database: Database, keyring: Keyring, notes: Sequence[Note], *, now: datetime) -> Reapplied:
    """Carry out again what these notes, of all journals, say in the end."""
    done, last = Reapplied(), _last_of_each(notes)
    done.unknown.update(key_id for one in last if (key_id := key_id_of(one.digest)) not in keyring.digest_ids)
    known = [one for one in last if key_id_of(one.digest) in keyring.digest_ids]
    for start in range(0, len(known), CHUNK):
        some = known[start : start + CHUNK]
        with database.write() as connection:
            number = suppress_again(connection, [one for one in some if one.what is Happened.SUPPRESSED])
            erased_again = bury_again(connection, [one for one in some if one.what is Happened.ERASED])
            remove_about(connection, keyring, erased_again)
            if number:
                note(connection, LIST, now=now, count=number, reason=f"added {WHY}")
        done.suppressed += number
    erased = {one.digest: one for one in known if one.what is Happened.ERASED}
    done.erased = _erase_again(database, keyring, erased, now=now) if erased else 0
    return done


def _last_of_each(notes: Sequence[Note]) -> list[Note]:
    """What was noted last of each address and customer, where it leaves them alone. A person's erasure stays final."""
    found: dict[str, Note] = {}
    for one in sorted(notes, key=lambda each: (each.at, each.what in LEAVES_ALONE)):
        before = found.get(one.digest)
        if before is None or not (one.what is before.what is Happened.ERASED and before.final):
            found[one.digest] = one
    return [one for one in found.values() if one.what in LEAVES_ALONE]


def _erase_again(database: Database, keyring: Keyring, erased: dict[str, Note], *, now: datetime) -> int:
    """Erase those of the stored customers whose digests are among these; returns how many had anything left."""
    number, after = 0, ""
    while True:
        with database.write() as connection:
            query = sa.select(_STORED.c.id).where(_STORED.c.id > after).order_by(_STORED.c.id).limit(CHUNK)
            ids = list(connection.execute(query).scalars())
            if not ids:
                return number
            notes = {id_: erased[one] for id_ in ids for one in keyring.digests(CUSTOMER, id_) if one in erased}
            lock_customers(connection, sorted(notes))
            for customer_id, one in notes.items():
                # What came after an erasure by an event was stored rightly.
                at = now if one.final or one.as_of is None else one.as_of
                counts = erase_customer(connection, keyring, customer_id, at, EarlierEvents(), final=one.final, now=now)
                if any(counts.values()):
                    note(connection, f"customer {customer_id}", now=now, reason=f"erased again {WHY}")
                    number += 1
        after = ids[-1]
