"""All columns with encrypted values or digests: for rights, the rotation of keys, and a start with a retired key.

A test compares the list with the tables: a column that is missing here would keep a retired key alive unseen.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import encrypted_values as values
from onboarding_worker.core.database import tables
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.keyring import KEY_ID_BYTES, KEY_ID_DIGITS, key_id_of_value

Column = sa.Column[Any]


class Hashed(NamedTuple):
    """The column with a digest, for a `purpose`, of a part of an encrypted value; `text` reads that part. `once`: no
    two rows have the same digest, and a row may be without one."""

    column: Column
    purpose: str
    text: Callable[[Mapping[str, Any]], str]
    once: bool = False


class EncryptedColumn(NamedTuple):
    """The column `encrypted` of a table. `name` says in the plural what its values are of.

    `context` makes the context of a value from the columns of `named_by`: those in `by`, or the primary key. `hashed`:
    the digests of parts of the value.
    """

    name: str
    of: type[tables.Base]
    context: Callable[..., str]
    hashed: Sequence[Hashed] = ()
    by: Sequence[Column] = ()

    @property
    def id(self) -> Column:
        """The primary key."""
        return self.of.__table__.primary_key.columns[0]

    @property
    def value(self) -> Column:
        return self.of.__table__.c.encrypted

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
    tables.Suppression,
    values.context_of_address,
    (Hashed(tables.Suppression.digest, values.ADDRESS, itemgetter("text")),),
)
_OF_CUSTOMERS = (
    Hashed(tables.CustomerRow.email_digest, values.EMAIL, values.email_text),
    Hashed(tables.CustomerRow.phone_digest, values.PHONE, itemgetter("phone")),
)
_OF_TOKENS = (Hashed(tables.SessionRow.token_digest, values.TOKEN, itemgetter("token"), once=True),)
_OF_SECRETS = (Hashed(tables.StableLink.digest, values.STABLE, itemgetter("secret")),)
_OF_REFUSED = (Hashed(tables.RefusedEvent.customer_digest, values.CUSTOMER, itemgetter("customer_id")),)
# Signed of columns that are not encrypted, also where the row's value is erased.
VERDICTS = EncryptedColumn(
    "results",
    tables.SessionRow,
    values.context_of_session,
    (Hashed(tables.SessionRow.verdict_digest, "verdict", itemgetter("result")),),
)
_PART = (tables.UploadedPart.list_id, tables.UploadedPart.what, tables.UploadedPart.number)
ENCRYPTED = (
    ADDRESSES,
    EncryptedColumn("customers", tables.CustomerRow, values.context_of_person, _OF_CUSTOMERS),
    EncryptedColumn(
        "details that wait", tables.PendingDetails, values.context_of_person, by=(tables.PendingDetails.customer_id,)
    ),
    EncryptedColumn("lines of lists", tables.Job, values.context_of_line, by=(tables.Job.batch_id, tables.Job.row)),
    EncryptedColumn("sessions", tables.SessionRow, values.context_of_session, _OF_TOKENS),
    EncryptedColumn("stable links", tables.StableLink, values.context_of_stable_link, _OF_SECRETS),
    EncryptedColumn("words of providers and senders", tables.Attempt, values.context_of_attempt),
    EncryptedColumn("events", tables.Inbox, values.context_of_update),
    EncryptedColumn("refused events", tables.RefusedEvent, values.context_of_refused, _OF_REFUSED),
    EncryptedColumn("webhooks", tables.Webhook, values.context_of_webhook),
    EncryptedColumn("uploaded lists", tables.UploadedList, values.context_of_uploaded_list),
    EncryptedColumn("parts of uploaded lists", tables.UploadedPart, values.context_of_uploaded_part, by=_PART),
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
    DigestColumn("suppressed addresses", tables.Suppression.digest, lasts=True),
    DigestColumn("emails of customers", tables.CustomerRow.email_digest, lasts=True),
    DigestColumn("phones of customers", tables.CustomerRow.phone_digest, lasts=True),
    DigestColumn("tokens of sessions", tables.SessionRow.token_digest, lasts=True),
    DigestColumn("results", tables.SessionRow.verdict_digest, lasts=True),
    DigestColumn("stable links", tables.StableLink.digest, lasts=True),
    # The feature `audit` signs it again when it seals an entry, at the end of the next command at the latest.
    DigestColumn("the audit log's head", tables.AuditHead.digest, lasts=True),
    DigestColumn("events", tables.Inbox.digest, lasts=False),
    # Only the digest of an erased customer's id is kept, so it cannot be hashed anew: its key stays.
    DigestColumn("erased customers", tables.Tombstone.digest, lasts=True),
    # The digest of an event whose message is not kept cannot be made again.
    DigestColumn("refused events", tables.RefusedEvent.customer_digest, lasts=False),
    DigestColumn("webhooks", tables.Webhook.digest, lasts=False),
    DigestColumn("places of addresses", tables.AddressPlace.digest, lasts=False),
)

Uses = Mapping[str, Mapping[str, int]]  # by key id: how many values of each column need the key


def uses_of_keys(connection: sa.Connection) -> Uses:
    """How many encrypted values need each key. Reads every row. An empty id: values with no key's id."""
    columns = ((one.name, one.start, sa.func.length(one.value) > 0) for one in ENCRYPTED)
    return _uses(connection, columns, lambda start: key_id_of_value(bytes(start)))


def uses_of_digest_keys(connection: sa.Connection) -> Uses:
    """How many digests need each key. Reads every row."""
    return _uses(connection, ((one.name, one.start, sa.func.length(one.digest) > 0) for one in DIGESTS), str)


def retired_keys(database: Database) -> dict[str, datetime]:
    """When each was retired: no process that encrypts or hashes with one of them starts."""
    rows = database.rows(sa.select(tables.RetiredKey.key_id, tables.RetiredKey.at))
    return {row.key_id: row.at for row in rows}


def _uses(connection: sa.Connection, columns: Iterable[tuple[str, Any, Any]], key_of: Callable[[Any], str]) -> Uses:
    """`columns`: names, the starts of values, and which rows have one. `key_of`: the key's id in such a start."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, start, is_there in columns:
        labelled = start.label("start")
        query = sa.select(labelled, sa.func.count()).where(is_there).group_by(labelled)
        for its_start, number in connection.execute(query):
            found[key_of(its_start)][name] += number
    return found


def newest_person(database: Database) -> tuple[str, bytes] | None:
    """The id and the encrypted person of the newest customer, to test the keys; None: there is none."""
    of = tables.CustomerRow
    query = sa.select(of.customer_id, of.encrypted).where(of.encrypted.is_not(None))
    row = database.first(query.order_by(of.changed_at.desc()).limit(1))
    return (row.customer_id, row.encrypted) if row is not None and row.encrypted is not None else None


def newest_digest_key(database: Database) -> str:
    """The id of the key that the newest customer with an address is hashed by; "": there is none."""
    of = tables.CustomerRow
    digest = sa.func.coalesce(of.email_digest, of.phone_digest)
    query = sa.select(digest).where(digest.is_not(None)).order_by(of.changed_at.desc()).limit(1)
    return (database.value(query) or "")[:KEY_ID_DIGITS]
