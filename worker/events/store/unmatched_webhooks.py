"""Providers' webhooks that match no session here: which of them name a customer by an id of ours. A provider's own id
alone names nobody whom we know."""

import uuid
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import Erased, context_of_webhook, decrypt_line
from onboarding_worker.core.database.tables import CustomerRow, Job, Webhook
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.incoming import ACCOUNT
from onboarding_worker.core.model.states import WebhookState
from onboarding_worker.lists.store.new_rows import erased_among
from onboarding_worker.providers.webhooks.contract import Key

OF_ERASED = "its customer was erased"
_IS_UNMATCHED = (
    Webhook.source.startswith(ACCOUNT),
    Webhook.encrypted.is_not(None),
    Webhook.session_id.is_(None),
    Webhook.invitation_id.is_(None),
)
_KNOWN = sa.select(CustomerRow.customer_id).where(
    bulk.among(CustomerRow.customer_id, "customers"), CustomerRow.encrypted.is_not(None)
)


def customer_of(match: Collection[tuple[Key, str]]) -> str:
    """The customer whom a webhook names by your own id; "": it names none so."""
    return next((value for key, value in match if key in (Key.CLIENT_ID, Key.CUSTOMER_REFERENCE)), "")


def erased_of(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> Collection[str]:
    """Those of these customers who were erased, and are not known again."""
    erased = erased_among(connection, keyring, customer_ids).keys()
    again = connection.execute(_KNOWN, {"customers": bulk.keys(erased)}).scalars() if erased else ()
    return erased - set(again)


def about(connection: sa.Connection, keyring: Keyring, customer_id: str) -> list[uuid.UUID]:
    """Those that name this customer, by your id or by what was sent to the provider for a row. Read before the rows
    are erased."""
    names: set[str] = set()
    for job in fetch(connection, sa.select(Job.__table__).where(Job.customer_id == customer_id)):
        with suppress(CannotDecrypt, Erased):
            names |= {str(job.id), decrypt_line(keyring, job.batch_id, job.row, job.encrypted).external_ref}
    found = []
    for row in fetch(connection, sa.select(Webhook.id, Webhook.encrypted).where(*_IS_UNMATCHED)):
        with suppress(CannotDecrypt):
            kept = keyring.decrypt(row.encrypted, context=context_of_webhook(row.id))
            match = [(Key(key), value) for key, value in kept["match"]]
            refs = {value for key, value in match if key is Key.EXTERNAL_REF and value}
            named = customer_of(match)
            if named == customer_id or (not named and not refs.isdisjoint(names)):
                found.append(row.id)
    return found


def erase_unmatched(connection: sa.Connection, keyring: Keyring, customer_id: str, *, until: datetime) -> int:
    """Erase what webhooks say that match no session, came until `until` and name this customer; returns how many.

    Before the customer's rows are locked: who applies webhooks locks these first.
    """
    theirs = sa.update(Webhook).where(Webhook.id.in_(about(connection, keyring, customer_id)), *_IS_UNMATCHED)
    gone = {"encrypted": None, "due_at": None, "state": WebhookState.IGNORED.value, "detail": OF_ERASED}
    return connection.execute(theirs.where(Webhook.received_at <= until).values(gone)).rowcount
