"""The key ring of a configuration."""

from worker.core.foundation.keyring import Keyring
from worker.settings.model import Encryption


def keyring_of(encryption: Encryption) -> Keyring:
    """Raises SettingsError for a key that is missing."""
    return Keyring(
        [key.reveal() for key in encryption.keys],
        [key.reveal() for key in encryption.digest_key],
    )
