"""Why a value is refused, in words; also one that a program has written in another form than it had. And addresses and
links for people who must recognise one, and must not read it: `j…@example.com`, `+370…01`. Pure.
"""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from worker.core.customers.customers import FieldProblem
from worker.core.model.channels import is_mail
from worker.core.model.sessions import Opening


class Refusal(NamedTuple):
    """Why a rule refuses a cell, and what to do. The text describes the value and never repeats it."""

    problem: str
    hint: str = ""

    def at(self, column: str) -> FieldProblem:
        return FieldProblem(column, self.problem, self.hint, unread=True)


def characters(text: str) -> str:
    """The length in words, to describe a value without repeating it."""
    return "1 character" if len(text) == 1 else f"{len(text):,} characters"


AS_TEXT = "format the column as text in the spreadsheet, and enter the value again"
# As a spreadsheet writes a long number into a CSV file, or as text. Ids such as 12E5 are no such number.
_SHORTENED = re.compile(r"[+-]?[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]{1,3}")
_LOST = Refusal("a number that a spreadsheet has shortened, such as 4.4791E+11: digits are lost", AS_TEXT)


# As a program writes a whole number that it has kept as a float: 1001.0. Neither 1.000 nor 10.1.0 is one for sure.
_FLOAT = re.compile(r"[+-]?(?:(\d{4,})[.,]0+|(\d{1,3})[.,](?:0{1,2}|0{4,}))")


def unless_rewritten(text: str) -> Refusal | None:
    """Why a number or an id is not used that a program has written in another form than it had; None for all others.

    1001.0 and 1001 are one customer, and 4915112345678.0 without its dot is the number of another person."""
    if _SHORTENED.fullmatch(text):
        return _LOST
    found = _FLOAT.fullmatch(text)
    return written_as_float(found[1] or found[2]) if found else None


def written_as_float(digits: str) -> Refusal:
    """Why a number with a fraction of zeros is not used. `digits`: those before the fraction."""
    shown = digits if len(digits) <= _FEW_DIGITS else masked_phone(digits)
    return Refusal("a whole number that a program has written with .0", f"write the digits alone: {shown}")


_FEW_DIGITS = 6  # that name no person: no phone number is as short


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
