"""The columns that hold encrypted values and digests, and the keys that these need.

A test compares this list with the tables: a column that is missing here would keep a retired key alive unseen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from worker.foundation.keyring import KEY_ID_BYTES, KEY_ID_DIGITS, OF_CUSTOMER, context_of_customer_key, key_id_of_value
from worker.store.base.encrypted_values import (
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
    context_of_webhook,
    email_text,
)
from worker.store.tables import (
    AddressPlace,
    Attempt,
    AuditHead,
    CustomerKey,
    CustomerRow,
    Inbox,
    Job,
    PendingDetails,
    RefusedEvent,
    SessionRow,
    StableLink,
    Suppression,
    Tombstone,
    Webhook,
)

CUSTOMER_KEYS = "keys of customers"
Column = InstrumentedAttribute[Any]


@dataclass(frozen=True)
class Hashed:
    """The column with a digest, for a `purpose`, of a part of an encrypted value; `text` reads that part.

    `once`: no two rows have the same digest, and a row may be without one.
    """

    column: Column
    purpose: str
    text: Callable[[Mapping[str, Any]], str]
    once: bool = False


@dataclass(frozen=True)
class EncryptedColumn:
    """A column of encrypted values. `name` says in the plural what they are of; `id` is the table's primary key.

    `context` makes the context of a value from the columns of `named_by`. `hashed`: the digests of parts of the value.
    `owner`: the customer to whom a value belongs, and whose key encrypts it if customers have keys.
    """

    name: str
    id: Column
    value: Column
    named_by: Sequence[Column]
    context: Callable[..., str]
    hashed: Sequence[Hashed] = ()
    owner: sa.ColumnElement[str] | Column | None = None
    own_keys: bool = False  # each row has a key of its own, with the row's id

    @property
    def start(self) -> sa.ColumnElement[bytes]:
        """The bytes that say which key of the ring the value needs, or OF_CUSTOMER: a key of its customer's."""
        version = sa.func.substr(self.value, 1, 1, type_=sa.LargeBinary())
        whole = sa.func.substr(self.value, 1, KEY_ID_BYTES, type_=sa.LargeBinary())
        return sa.case((version == OF_CUSTOMER, version), else_=whole)

    @property
    def is_customers(self) -> bool:
        """True if a value belongs to one customer."""
        return self.owner is not None or self.own_keys


# Its digest is its key, so that it changes in another way than the others.
ADDRESSES = EncryptedColumn(
    "suppressed addresses",
    id=Suppression.digest,
    value=Suppression.encrypted,
    named_by=(Suppression.digest,),
    context=context_of_address,
    hashed=(Hashed(Suppression.digest, ADDRESS, itemgetter("text")),),
)
ENCRYPTED = (
    ADDRESSES,
    EncryptedColumn(
        "customers",
        id=CustomerRow.customer_id,
        value=CustomerRow.encrypted,
        named_by=(CustomerRow.customer_id,),
        context=context_of_person,
        owner=CustomerRow.customer_id,
        hashed=(
            Hashed(CustomerRow.email_digest, EMAIL, email_text),
            Hashed(CustomerRow.phone_digest, PHONE, itemgetter("phone")),
        ),
    ),
    EncryptedColumn(
        "details that wait",
        id=PendingDetails.job_id,
        value=PendingDetails.encrypted,
        named_by=(PendingDetails.customer_id,),
        context=context_of_person,
        owner=PendingDetails.customer_id,
    ),
    EncryptedColumn(
        "lines of lists",
        id=Job.id,
        value=Job.encrypted,
        named_by=(Job.batch_id, Job.row),
        context=context_of_line,
        owner=Job.customer_id,
    ),
    EncryptedColumn(
        "sessions",
        id=SessionRow.id,
        value=SessionRow.encrypted,
        named_by=(SessionRow.id,),
        context=context_of_session,
        hashed=(Hashed(SessionRow.token_digest, TOKEN, itemgetter("token"), once=True),),
        owner=SessionRow.customer_id,
    ),
    EncryptedColumn(
        "stable links",
        id=StableLink.id,
        value=StableLink.encrypted,
        named_by=(StableLink.id,),
        context=context_of_stable_link,
        hashed=(Hashed(StableLink.digest, STABLE, itemgetter("secret")),),
        owner=StableLink.customer_id,
    ),
    EncryptedColumn(
        "words of providers and senders",
        id=Attempt.id,
        value=Attempt.encrypted,
        named_by=(Attempt.id,),
        context=context_of_attempt,
        owner=sa.select(Job.customer_id).where(Job.id == Attempt.job_id).correlate(Attempt).scalar_subquery(),
    ),
    EncryptedColumn(
        "events",
        id=Inbox.id,
        value=Inbox.encrypted,
        named_by=(Inbox.id,),
        context=context_of_update,
        owner=Inbox.customer_id,
    ),
    EncryptedColumn(
        "refused events",
        id=RefusedEvent.id,
        value=RefusedEvent.encrypted,
        named_by=(RefusedEvent.id,),
        context=context_of_refused,
        hashed=(Hashed(RefusedEvent.customer_digest, CUSTOMER, itemgetter("customer_id")),),
        own_keys=True,
    ),
    EncryptedColumn(
        CUSTOMER_KEYS,
        id=CustomerKey.id,
        value=CustomerKey.wrapped,
        named_by=(CustomerKey.id,),
        context=context_of_customer_key,
    ),
    EncryptedColumn(
        "webhooks", id=Webhook.id, value=Webhook.encrypted, named_by=(Webhook.id,), context=context_of_webhook
    ),
)


@dataclass(frozen=True)
class DigestColumn:
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
    # `store.audit.sealing` signs it again when it seals an entry, at the end of the next command at the latest.
    DigestColumn("the audit log's head", AuditHead.digest, lasts=True),
    DigestColumn("events", Inbox.digest, lasts=False),
    # Only the digest of an erased customer's id is kept, so it cannot be hashed anew: its key stays.
    DigestColumn("erased customers", Tombstone.digest, lasts=True),
    # The digest of an event whose message is not kept cannot be made again.
    DigestColumn("refused events", RefusedEvent.customer_digest, lasts=False),
    DigestColumn("webhooks", Webhook.digest, lasts=False),
    DigestColumn("places of addresses", AddressPlace.digest, lasts=False),
)

BY_CUSTOMER = "customers"
Uses = Mapping[str, Mapping[str, int]]  # by key id: how many values of each column need the key


def uses_of_keys(connection: sa.Connection) -> Uses:
    """How many encrypted values need each key. Reads every row. An empty id: values with no key's id. BY_CUSTOMER:
    values that need a key of their customer's."""
    counted = (
        (column.name, BY_CUSTOMER if bytes(start) == OF_CUSTOMER else key_id_of_value(bytes(start)), number)
        for column in ENCRYPTED
        for start, number in _by_start(connection, column.start, sa.func.length(column.value) > 0)
    )
    return _by_key(counted)


def without_key(connection: sa.Connection) -> dict[str, int]:
    """How many values of each column need a customer's key that is gone: they count as erased. Reads every row."""
    found = {}
    for column in ENCRYPTED:
        if column.is_customers:
            id_ = sa.func.substr(column.value, 2, 16, type_=sa.LargeBinary())
            hex_: Any = sa.func.lower(sa.func.hex(id_)) if connection.dialect.name == "sqlite" else _hex(id_)
            gone = sa.select(sa.func.count()).where(
                sa.func.substr(column.value, 1, 1, type_=sa.LargeBinary()) == OF_CUSTOMER,
                ~sa.exists().where(sa.type_coerce(CustomerKey.id, sa.Uuid()) == hex_),
            )
            found[column.name] = connection.execute(gone.select_from(column.id.class_)).scalar_one()
    return {name: number for name, number in found.items() if number}


def _hex(value: Any) -> Any:
    return sa.cast(sa.func.encode(value, "hex"), sa.Uuid())


def uses_of_digest_keys(connection: sa.Connection) -> Uses:
    """How many digests need each key. Reads every row."""
    counted = (
        (column.name, start, number)
        for column in DIGESTS
        for start, number in _by_start(connection, column.start, column.digest.is_not(None))
    )
    return _by_key(counted)


def _by_start(connection: sa.Connection, start: Any, where: sa.ColumnElement[bool]) -> Sequence[Any]:
    labelled = start.label("start")
    return connection.execute(sa.select(labelled, sa.func.count()).where(where).group_by(labelled)).all()


def _by_key(counted: Any) -> Uses:
    found: dict[str, dict[str, int]] = {}
    for name, key_id, number in counted:
        uses = found.setdefault(key_id, {})
        uses[name] = uses.get(name, 0) + number
    return found
