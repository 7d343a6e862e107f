"""One log-in between the browser's leaving and its coming back: all in a cookie, nothing in the process. Pure."""

import base64
import binascii
import secrets
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest
from urllib.parse import urlencode

LONGEST_PATH = 1000
SCOPE = "openid profile"


@dataclass(frozen=True, repr=False)
class Flow:
    """`secret` is random, and in this browser's cookie alone. What the issuer sees of it are hashes, each for one use:
    none of them leads to another. `to`: where the person wanted to go."""

    secret: str
    to: str = "/"

    @property
    def state(self) -> str:
        """Comes back in the address: shows that this browser began the log-in."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """Comes back in the ID token: shows that the token was made for this log-in."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """Goes with the code: shows that the process that redeems it has the browser's cookie (PKCE)."""
        return self._derived("verifier")

    @property
    def cookie(self) -> str:
        return f"{self.secret}.{base64.urlsafe_b64encode(self.to.encode()).decode()}"

    def address(self, endpoint: str, *, client_id: str, redirect_uri: str) -> str:
        """Where the browser goes."""
        challenge = base64.urlsafe_b64encode(sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPE,
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def _derived(self, what: str) -> str:
        return digest(self.secret.encode("utf-8", "surrogateescape"), f"oidc {what}".encode(), "sha256").hex()


def new_flow(to: str) -> Flow:
    return Flow(secrets.token_urlsafe(32), to if len(to) <= LONGEST_PATH else "/")


def flow_of(cookie: str) -> Flow | None:
    """The log-in of a cookie; None for what is none. `to` may be any text."""
    secret, _, to = cookie.partition(".")
    if not secret or not to or len(secret) > 100 or len(to) > 2 * LONGEST_PATH:
        return None
    try:
        return Flow(secret, base64.b64decode(to.encode(), altchars=b"-_", validate=True).decode())
    except (binascii.Error, UnicodeError):
        return None
