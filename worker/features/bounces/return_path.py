"""The return path of each mail (VERP): an address of its own, by which a bounce names the mail, and by which a customer
can ask for no more mails.

The token holds the mail's id and a part of its keyed digest, in base32: mail systems change the case of addresses. So
a report cannot be made up about a mail whose return path its author has not seen, and no token shows who got the mail.
"""

import base64
import binascii
import re
import uuid
from collections.abc import Callable
from hmac import compare_digest

from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.features.bounces.bounce_mails import UNSUBSCRIBE
from onboarding_worker.features.bounces.section import Bounces
from onboarding_worker.senders.contract import Returning
from onboarding_worker.settings.model import Settings
from onboarding_worker.wiring.senders import WayBack

PLACE = "{token}"
_SIGNED_BYTES = 10
_ID_BYTES = 16
TOKEN_LENGTH = 42  # of 26 bytes


class ReturnPath:
    """Makes return paths and reads them. `pattern`: an address with `{token}` in its local part."""

    def __init__(self, pattern: str, keyring: Keyring) -> None:
        self._pattern, self._keyring = pattern, keyring
        before, _, after = pattern.partition(PLACE)
        self._found = re.compile(
            rf"(?<![a-z0-9._+-]){re.escape(before)}([a-z2-7]{{{TOKEN_LENGTH}}}){re.escape(after)}(?![a-z0-9.-])",
            re.IGNORECASE | re.ASCII,
        )

    def of(self, key: str) -> str:
        """The return path of the mail with this key. Raises ValueError for a key that is no id."""
        id_ = uuid.UUID(hex=key)
        token = id_.bytes + self._signatures(id_.hex)[0]
        return self._pattern.replace(PLACE, base64.b32encode(token).decode().rstrip("=").lower())

    def key_in(self, text: str) -> str | None:
        """The key of the mail whose return path is in the text; None: none is, or none that we have signed."""
        for match in self._found.finditer(text):
            try:
                token = base64.b32decode(match[1].upper() + "======")
            except binascii.Error:
                continue
            key = uuid.UUID(bytes=token[:_ID_BYTES]).hex
            if any(compare_digest(token[_ID_BYTES:], one) for one in self._signatures(key)):
                return key
        return None

    def _signatures(self, key: str) -> list[bytes]:
        """By each key of the ring, the present one first. A digest has 8 hex digits of that key's id before it."""
        return [bytes.fromhex(one[8:])[:_SIGNED_BYTES] for one in self._keyring.digests("return path", key)]


def return_path_of(settings: Settings, keyring: Keyring) -> ReturnPath | None:
    """None where the configuration has none."""
    pattern = settings.section(Bounces).return_path
    return ReturnPath(pattern, keyring) if pattern else None


def _returning(settings: Settings, keyring: Keyring) -> Callable[[str], Returning] | None:
    return_path, says_so = return_path_of(settings, keyring), settings.section(Bounces).unsubscribe
    if return_path is None:
        return None

    def returning(key: str) -> Returning:
        address = return_path.of(key)
        return Returning(address, (f"List-Unsubscribe: <mailto:{address}?subject={UNSUBSCRIBE}>",) if says_so else ())

    return returning


def _domain(settings: Settings) -> str:
    return (settings.section(Bounces).return_path or "").rpartition("@")[2].lower()


WAY_BACK = WayBack(mails=_returning, domain=_domain)
