"""All columns with encrypted values or digests: for rights, the rotation of keys, and a start with a retired key.

A test compares the list with the tables: a column that is missing here would keep a retired key alive unseen.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.encrypted_values import (
    ADDRESS,
    CUSTOMER,
    EMAIL,
    PHONE,
    STABLE,
    TOKEN,
    context_of_address,
    context_of_attempt,
    context_of_line,
    context_of_person,
    context_of_refused,
    context_of_session,
    context_of_stable_link,
    context_of_update,
    context_of_uploaded_list,
    context_of_uploaded_part,
    context_of_webhook,
    email_text,
)
from worker.core.database.tables import (
    AddressPlace,
    Attempt,
    AuditHead,
    CustomerRow,
    Inbox,
    Job,
    PendingDetails,
    RefusedEvent,
    RetiredKey,
    SessionRow,
    StableLink,
    Suppression,
    Tombstone,
    UploadedList,
    UploadedPart,
    Webhook,
)
from worker.core.foundation.keyring import KEY_ID_BYTES, KEY_ID_DIGITS, key_id_of_value

Column = sa.Column[Any]


class Hashed(NamedTuple):
    """The column with a digest, for a `purpose`, of a part of an encrypted value; `text` reads that part.

    `once`: no two rows have the same digest, and a row may be without one.
    """

    column: Column
    purpose: str
    text: Callable[[Mapping[str, Any]], str]
    once: bool = False


class EncryptedColumn(NamedTuple):
    """A column of encrypted values. `name` says in the plural what they are of; `id` is the table's primary key.

    `context` makes the context of a value from the columns of `named_by`: those in `by`, or the primary key. `hashed`:
    the digests of parts of the value.
    """

    name: str
    id: Column
    value: Column
    context: Callable[..., str]
    hashed: Sequence[Hashed] = ()
    by: Sequence[Column] = ()

    @property
    def named_by(self) -> Sequence[Column]:
        return self.by or (self.id,)

    @property
    def start(self) -> sa.ColumnElement[bytes]:
        """The bytes that say which key the value needs."""
        return sa.func.substr(self.value, 1, KEY_ID_BYTES, type_=sa.LargeBinary())


# Its digest is its key, so that it changes in another way than the others.
ADDRESSES = EncryptedColumn(
    "suppressed addresses",
    Suppression.digest,
    Suppression.encrypted,
    context_of_address,
    hashed=(Hashed(Suppression.digest, ADDRESS, itemgetter("text")),),
)
ENCRYPTED = (
    ADDRESSES,
    EncryptedColumn(
        "customers",
        CustomerRow.customer_id,
        CustomerRow.encrypted,
        context_of_person,
        hashed=(
            Hashed(CustomerRow.email_digest, EMAIL, email_text),
            Hashed(CustomerRow.phone_digest, PHONE, itemgetter("phone")),
        ),
    ),
    EncryptedColumn(
        "details that wait",
        PendingDetails.job_id,
        PendingDetails.encrypted,
        context_of_person,
        by=(PendingDetails.customer_id,),
    ),
    EncryptedColumn("lines of lists", Job.id, Job.encrypted, context_of_line, by=(Job.batch_id, Job.row)),
    EncryptedColumn(
        "sessions",
        SessionRow.id,
        SessionRow.encrypted,
        context_of_session,
        hashed=(Hashed(SessionRow.token_digest, TOKEN, itemgetter("token"), once=True),),
    ),
    EncryptedColumn(
        "stable links",
        StableLink.id,
        StableLink.encrypted,
        context_of_stable_link,
        hashed=(Hashed(StableLink.digest, STABLE, itemgetter("secret")),),
    ),
    EncryptedColumn("words of providers and senders", Attempt.id, Attempt.encrypted, context_of_attempt),
    EncryptedColumn("events", Inbox.id, Inbox.encrypted, context_of_update),
    EncryptedColumn(
        "refused events",
        RefusedEvent.id,
        RefusedEvent.encrypted,
        context_of_refused,
        hashed=(Hashed(RefusedEvent.customer_digest, CUSTOMER, itemgetter("customer_id")),),
    ),
    EncryptedColumn("webhooks", Webhook.id, Webhook.encrypted, context_of_webhook),
    EncryptedColumn("uploaded lists", UploadedList.id, UploadedList.encrypted, context_of_uploaded_list),
    EncryptedColumn(
        "parts of uploaded lists",
        UploadedPart.id,
        UploadedPart.encrypted,
        context_of_uploaded_part,
        by=(UploadedPart.list_id, UploadedPart.what, UploadedPart.number),
    ),
)


class DigestColumn(NamedTuple):
    """A column of digests. `lasts`: its texts are kept, so it can be hashed anew; else its rows go by themselves."""

    name: str
    digest: Column
    lasts: bool

    @property
    def start(self) -> sa.ColumnElement[str]:
        return sa.func.substr(self.digest, 1, KEY_ID_DIGITS)


DIGESTS = (
    DigestColumn("suppressed addresses", Suppression.digest, lasts=True),
    DigestColumn("emails of customers", CustomerRow.email_digest, lasts=True),
    DigestColumn("phones of customers", CustomerRow.phone_digest, lasts=True),
    DigestColumn("tokens of sessions", SessionRow.token_digest, lasts=True),
    DigestColumn("stable links", StableLink.digest, lasts=True),
    # The feature `audit` signs it again when it seals an entry, at the end of the next command at the latest.
    DigestColumn("the audit log's head", AuditHead.digest, lasts=True),
    DigestColumn("events", Inbox.digest, lasts=False),
    # Only the digest of an erased customer's id is kept, so it cannot be hashed anew: its key stays.
    DigestColumn("erased customers", Tombstone.digest, lasts=True),
    # The digest of an event whose message is not kept cannot be made again.
    DigestColumn("refused events", RefusedEvent.customer_digest, lasts=False),
    DigestColumn("webhooks", Webhook.digest, lasts=False),
    DigestColumn("places of addresses", AddressPlace.digest, lasts=False),
)

Uses = Mapping[str, Mapping[str, int]]  # by key id: how many values of each column need the key


def uses_of_keys(connection: sa.Connection) -> Uses:
    """How many encrypted values need each key. Reads every row. An empty id: values with no key's id."""
    counted = (
        (column.name, key_id_of_value(bytes(start)), number)
        for column in ENCRYPTED
        for start, number in _by_start(connection, column.start, sa.func.length(column.value) > 0)
    )
    return _by_key(counted)


def uses_of_digest_keys(connection: sa.Connection) -> Uses:
    """How many digests need each key. Reads every row."""
    counted = (
        (column.name, start, number)
        for column in DIGESTS
        for start, number in _by_start(connection, column.start, column.digest.is_not(None))
    )
    return _by_key(counted)


def retired_keys(database: Database) -> dict[str, datetime]:
    """When each was retired: no process that encrypts or hashes with one of them starts."""
    with database.read() as connection:
        return {row.key_id: row.at for row in connection.execute(sa.select(RetiredKey.key_id, RetiredKey.at))}


def _by_start(connection: sa.Connection, start: Any, where: sa.ColumnElement[bool]) -> Sequence[Any]:
    labelled = start.label("start")
    return connection.execute(sa.select(labelled, sa.func.count()).where(where).group_by(labelled)).all()


def _by_key(counted: Any) -> Uses:
    found: dict[str, dict[str, int]] = {}
    for name, key_id, number in counted:
        uses = found.setdefault(key_id, {})
        uses[name] = uses.get(name, 0) + number
    return found


def newest_person(database: Database) -> tuple[str, bytes] | None:
    """The id and the encrypted person of the newest customer, to test the keys; None: there is none."""
    query = sa.select(CustomerRow.customer_id, CustomerRow.encrypted).where(CustomerRow.encrypted.is_not(None))
    with database.read() as connection:
        row = connection.execute(query.order_by(CustomerRow.changed_at.desc()).limit(1)).first()
    return (row.customer_id, row.encrypted) if row is not None and row.encrypted is not None else None
