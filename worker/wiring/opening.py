"""Opens the parts on a database that can be used, or says why it cannot be used: its schema, or keys that do not
decrypt it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.encrypted_values import context_of_person
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring, key_id_of_value
from onboarding_worker.http import event_loop
from onboarding_worker.lists.decisions.store.do_not_contact import DoNotContact
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.store.encrypted_columns import newest_digest_key, newest_person, retired_keys


def check_keys(database: Database, keyring: Keyring) -> None:
    """Raise SettingsError when the keys do not decrypt the newest customer, when the digest key of suppressed addresses
    or erased customers is gone, or of the newest customer, or when a first key was retired.

    A single row that cannot be decrypted is held; keys that decrypt nothing would hold all rows. Who was
    hashed with a key that is gone would be written to again, and asked for the opposite. Of whom a wrong key hashes,
    nothing would know that once the right one is back.
    """
    retired = check_first_keys(database, keyring)
    newest = newest_person(database)
    try:
        # A key that was given up is no reason to stop: the rows that need it are held one by one.
        if newest is not None and key_id_of_value(newest[1]) not in retired:
            customer_id, encrypted = newest
            keyring.decrypt(encrypted, context=context_of_person(customer_id))
        gone = DoNotContact(database, keyring).keys_gone()
    except CannotDecrypt as error:
        raise SettingsError([f"encryption.keys: {error.for_logs}"]) from None
    anew = hint("keys", "; `onboard keys rotate` hashes them anew")
    forgotten = ((gone.addresses, "suppressed addresses", anew), (gone.customers, "erased customers", ""))
    if any(gone):
        raise SettingsError(
            [
                f"encryption.digest_key: {number:,} {what} are known by a key that is not in the ring, and would be"
                f" written to{way_out} (`onboard suppress --forget-unknown` gives them up)"
                for number, what, way_out in forgotten
                if number
            ]
        )
    known_by = newest_digest_key(database)
    if known_by and known_by not in keyring.digest_ids and known_by not in retired:
        lost = hint("keys", "; if it is lost, `onboard keys rotate` hashes them anew")
        why = f"the customers are known by the key {known_by}, which is not in the ring: put it back{lost}"
        raise SettingsError([f"encryption.digest_key: {why}"])


def check_first_keys(database: Database, keyring: Keyring) -> dict[str, datetime]:
    """Raise SettingsError when a key that encrypts or hashes was retired. Returns the retired keys."""
    retired = retired_keys(database)
    for name, key_id in (("keys", keyring.ids[0]), ("digest_key", keyring.digest_ids[0])):
        if key_id in retired:
            why = f"the first key, {key_id}, was retired on {retired[key_id]:%Y-%m-%d}; put another key before it"
            raise SettingsError([f"encryption.{name}: {why}"])
    return retired


def check_ready(database: Database) -> None:
    """Raises NotReady."""
    try:
        not_ready = schema.why_not_ready(database)
        if not_ready:
            raise (schema.Outdated if schema.outdated(database) else schema.NotReady)(not_ready)
    except sa.exc.OperationalError as error:
        raise _unreachable(error) from None


def _unreachable(error: sa.exc.OperationalError) -> schema.NotReady:
    return schema.NotReady("the database cannot be used", reason(error))


def check_configuration(settings: Settings) -> None:
    """Raise SettingsError for a configuration, or an aiohttp, that cannot work. Opens no connection."""
    Parts(settings).close()
    from onboarding_worker.http.client import check_aiohttp  # imported here: aiohttp, which few commands need

    event_loop.run(check_aiohttp())


@contextmanager
def opened(settings: Settings, *, prepare: Callable[[Parts], None] = Parts.ready) -> Iterator[Parts]:
    """Open the parts on a database that can be used, and close them at the end. Raises NotReady, SettingsError."""
    parts = Parts(settings)
    parts.database.give_up_after(settings.worker.lease / 2)
    try:
        check_ready(parts.database)
        try:
            prepare(parts)
            check_keys(parts.database, parts.keyring)
        except sa.exc.OperationalError as error:
            raise _unreachable(error) from None
        yield parts
    finally:
        parts.close()
