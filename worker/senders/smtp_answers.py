"""What an SMTP server's answer, or its silence, means. Facts: providers.md 8.1; RFC 5321, RFC 4954.

The same code means different things at different points: 550 to a recipient is about one address, 550 to
the sender is about all of us. So every answer is read with the phase that it came in.
"""

import re
from datetime import timedelta
from enum import StrEnum

from worker.endings import Kind, Problem
from worker.senders.masking import mask

GREYLISTING = timedelta(minutes=5)  # a greylisting server wants to see that we come back, not at once
ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)\s*")


class Phase(StrEnum):
    """How far a hand-over has come. Up to and with DATA, the server cannot have taken the message."""

    WAIT = "waiting for a free connection"
    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    END = "end of message"  # the final dot is written


CREDENTIALS = frozenset({530, 534, 535, 538})
# A refusal here concerns the relay's set-up or our sender: every message would be refused.
OURS = frozenset({Phase.GREETING, Phase.TLS, Phase.AUTH, Phase.MAIL})
# A failure up to here says nothing about the message that happened to be next.
BEFORE_MESSAGE = frozenset({Phase.WAIT, Phase.CONNECT, Phase.GREETING, Phase.TLS, Phase.AUTH})
THEIRS = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.END})


def refused(phase: Phase, status: int, text: str, *, personal: tuple[str, ...] = (), utf8: bool = False) -> Problem:
    """The problem in a reply that was not the expected one.

    `personal` are values that must not show in the detail, the recipient's address first. `utf8`: this
    address alone made us ask for SMTPUTF8, so a refusal of that is about the address.
    """
    found = ENHANCED.match(text)
    code = found[1] if found else None
    said = mask(text[found.end() :] if found else text, personal)
    numbers = f"{status} {code}" if code else str(status)
    detail = f"SMTP {numbers} at {phase.value}" + (f": {said}" if said else "")
    if not 400 <= status <= 599:  # no SMTP, or another command's reply
        return broken(phase, f"unexpected reply {status}" if 100 <= status <= 999 else "malformed reply")
    kind = _kind(phase, status, code, utf8=utf8)
    wait = GREYLISTING if status in (450, 451) and phase in THEIRS else None
    unreachable = kind is Kind.TRANSIENT and phase in BEFORE_MESSAGE
    return Problem(kind, detail, code=code, status=status, retry_after=wait, unreachable=unreachable)


def broken(phase: Phase, failure: str) -> Problem:
    """The problem when no usable reply came. `failure` names it ("timed out") without any value."""
    kind = Kind.UNKNOWN if phase is Phase.END else Kind.TRANSIENT
    return Problem(kind, f"SMTP {failure} at {phase.value}", unreachable=phase in BEFORE_MESSAGE)


def _kind(phase: Phase, status: int, code: str | None, *, utf8: bool) -> Kind:
    if status < 500:
        return Kind.TRANSIENT
    if status in CREDENTIALS:
        return Kind.AUTH
    if utf8 and (status == 555 or code == "5.6.7"):
        return Kind.BAD_INPUT
    return Kind.AUTH if phase in OURS else Kind.BAD_INPUT
