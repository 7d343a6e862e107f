"""Tries the configured encryption keys on the database, before anything is worked with them."""

from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.settings import SettingsError
from worker.store.base.database import Database
from worker.store.base.encrypted_values import decrypt_person
from worker.store.messages.do_not_contact import DoNotContact
from worker.store.operators.report_rows import Facts


def check_keys(database: Database, keyring: Keyring) -> None:
    """Raise SettingsError when the keys do not decrypt the newest customer, or a key of suppressed addresses is gone.

    A single row that cannot be decrypted is held; keys that decrypt nothing would hold all rows. An address that was
    hashed with a key that is gone would be written to again, though its owner asked for the opposite.
    """
    newest = Facts(database, keyring).any_encrypted()
    try:
        if newest is not None:
            decrypt_person(keyring, *newest)
        forgotten = DoNotContact(database, keyring).keys_gone()
    except CannotDecrypt as error:
        raise SettingsError([f"encryption.keys: {error}"]) from None
    if forgotten:
        raise SettingsError(
            [
                f"encryption.digest_key: {forgotten:,} suppressed addresses are known by a key that is not in the"
                " ring, and would be written to; put it back at the end of the list, or give them up with"
                " `onboard suppress --forget-unknown` (without digest_key it is derived from the key in"
                " encryption.keys)"
            ]
        )
