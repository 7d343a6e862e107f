"""The codes of a link's page, by the digest key: every web process has the same."""

from datetime import datetime

from worker.domain.links.page_code import PURPOSE, code_of, texts
from worker.foundation.keyring import Keyring


def codes_of(keyring: Keyring, secret: str, now: datetime) -> list[str]:
    """The codes that a page may show: of this window first, then of the one before; of older digest keys too."""
    found = [code_of(digest) for text in texts(secret, now) for digest in keyring.digests(PURPOSE, text)]
    return list(dict.fromkeys(found))
