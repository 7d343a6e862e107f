"""Texts that a browser keeps for us in a cookie. They are signed with the digest key, so that every web process knows
them, and say when they were made."""

from datetime import UTC, datetime, timedelta
from hmac import compare_digest

from onboarding_worker.core.foundation.keyring import Keyring


class Signed:
    """Those of one purpose, which count for so long."""

    def __init__(self, keyring: Keyring, purpose: str, lasts: timedelta) -> None:
        self._keyring, self._purpose, self.lasts = keyring, purpose, lasts

    def text(self, shown: str, *, now: datetime, of: str = "") -> str:
        """`shown` can be read in it. `of` cannot, and must be the same when it comes back."""
        dated = f"{shown}.{int(now.timestamp())}"
        return f"{dated}.{self._digests(dated, of)[0]}"

    def read(self, text: str, *, now: datetime, of: str = "") -> tuple[str, datetime] | None:
        """What is shown in it, and when it was made; None: it is not ours, or too old."""
        dated, _, signature = text.rpartition(".")
        if not text.isascii() or not any(compare_digest(one, signature) for one in self._digests(dated, of)):
            return None
        shown, _, seconds = dated.rpartition(".")
        at = datetime.fromtimestamp(int(seconds), UTC)
        return (shown, at) if at <= now < at + self.lasts else None

    def _digests(self, dated: str, of: str) -> tuple[str, ...]:
        return self._keyring.digests(self._purpose, f"{of} {dated}")
