"""Which links may be sent to a customer, and how one is made from a template.

A link is what our message asks a customer to trust, so its host is checked against the account's list
however well the answer that it came in was authenticated.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

# A template filled with the longest token; mail programs and browsers take it.
LONGEST_LINK = 8192
# Everything that RFC 3986 allows in a URL, and nothing else: no space, control, quote, backslash or letter
# beyond ASCII that looks like another.
URL_TEXT = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&()*+,;=%']+")
PLACEHOLDERS = re.compile(r"\{(token|customer_id|reference)\}")


def https_link(text: object, hosts: Iterable[str]) -> str | None:
    """`text` if it may be sent: https (http for loopback only), to one of `hosts`, without a user name; else None.

    A host may carry a port ("verify.example.com:8443"); without one, any port is accepted.
    """
    if not isinstance(text, str) or len(text) > LONGEST_LINK or not URL_TEXT.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or "@" in parts.netloc:
        return None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        return None
    allowed = {entry.lower() for entry in hosts}
    return text if host in allowed or (port is not None and f"{host}:{port}" in allowed) else None


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: the only place to which plain http may go."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def filled(template: str, values: Mapping[str, str]) -> str:
    """`template` with {token}, {customer_id} and {reference} replaced, each quoted; other braces stay."""
    return PLACEHOLDERS.sub(lambda match: quote(values.get(match[1], ""), safe=""), template)


def template_problem(template: str, hosts: Iterable[str]) -> str | None:
    """Why links made from `template` could not be sent, found at the start rather than after a paid call."""
    authority = re.match(r"[^/?#]*//[^/?#]*", template)
    if not PLACEHOLDERS.search(template):
        return "names none of {token}, {customer_id} and {reference}: every customer would get the same link"
    if authority and PLACEHOLDERS.search(authority[0]):
        return "has a placeholder in its host"
    if https_link(filled(template, {"token": "t", "customer_id": "c", "reference": "r"}), hosts) is None:
        return "is not an https address of a host in link_hosts"
    return None
