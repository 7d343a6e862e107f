"""Addresses and links for people who must recognise one, and must not read it: `j…@example.com`, `+370…01`. Pure."""

from urllib.parse import urlsplit

from worker.core.model.channels import is_mail
from worker.core.model.sessions import Opening

HIDDEN = "•••"


def masked_email(address: str) -> str:
    """The first letter and the domain; "" for no address."""
    local, at, domain = address.rpartition("@")
    if not at:
        return "…" if address else ""
    return f"{local[:1]}…@{domain}"


def masked_phone(number: str) -> str:
    """The country code's first digits and the last two; "" for no number."""
    if not number:
        return ""
    return f"{number[:4]}…{number[-2:]}" if len(number) > 8 else "…"


def masked(channel: str, address: str) -> str:
    return masked_email(address) if is_mail(channel) else masked_phone(address)


def masked_link(link: str) -> str:
    """The link's host: what follows it opens the session. A link of no host is `https://…`."""
    try:
        parts = urlsplit(link)
        return f"{parts.scheme}://{parts.hostname}/…" if parts.hostname else "https://…"
    except ValueError:
        return "https://…"


def masked_opening(opening: Opening) -> Opening:
    """What a customer needs for the session, with nothing in it that opens it."""
    return Opening(
        masked_link(opening.link),
        HIDDEN if opening.digits else "",
        opening.vendor,
        dict.fromkeys(opening.vendor_parameters, HIDDEN),
    )
