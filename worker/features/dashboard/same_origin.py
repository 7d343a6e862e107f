"""Whether a request that changes something came from a page of our own. Pure.

Browsers say in Sec-Fetch-Site where a request comes from, and no page can change it. They say it to https and to
loopback only; elsewhere Origin is compared with Host.
"""

from collections.abc import Mapping
from hmac import compare_digest, digest
from urllib.parse import urlsplit

from worker.core.foundation.tls import is_loopback


def is_from_here(headers: Mapping[str, str]) -> bool:
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    host = headers.get("Host", "")
    try:
        return bool(host) and urlsplit(headers.get("Origin", "")).netloc.lower() == host.lower()
    except ValueError:  # it is no address
        return False


def form_token(secret: str) -> str:
    """What each form holds that changes something. `secret`: the person's cookie, which another site's page cannot
    read."""
    return digest(secret.encode("utf-8", "surrogateescape"), b"form", "sha256").hex()


def is_form_token(given: str, secret: str) -> bool:
    return compare_digest(given.encode("utf-8", "surrogateescape"), form_token(secret).encode())


def host_and_port(host: str) -> tuple[str, str]:
    """The parts of a Host header."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "", str(parts.port or "")
    except ValueError:
        return "", ""


def needs_tls(host: str) -> bool:
    """Whether a cookie must travel by TLS only: everywhere but on this machine itself."""
    name, _ = host_and_port(host)
    return not name or not is_loopback(name)
