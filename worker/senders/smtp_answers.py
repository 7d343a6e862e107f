"""Classifies an SMTP server's reply, or a missing reply. Facts: RFC 5321, RFC 4954.

The same code means different things at different points: 550 to RCPT TO is about one recipient, 550 to MAIL FROM is
about our sender. So every reply is read together with its phase.
"""

import re
from datetime import timedelta
from enum import StrEnum

from worker.domain.model.endings import AddressIs, Kind, Problem
from worker.senders.masking import mask

GREYLISTING = timedelta(minutes=5)  # a greylisting server accepts a message that comes again, but not at once
ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)\s*")


class Phase(StrEnum):
    """How far a hand-over has come. Up to and including DATA, the server cannot have accepted the message."""

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
# A refusal in these phases is about the relay's set-up or our sender: every message would be refused.
OURS = frozenset({Phase.GREETING, Phase.TLS, Phase.AUTH, Phase.MAIL})
# A failure in these phases is not about the message.
BEFORE_MESSAGE = frozenset({Phase.WAIT, Phase.CONNECT, Phase.GREETING, Phase.TLS, Phase.AUTH})
CONNECTING = BEFORE_MESSAGE - {Phase.WAIT}  # the server's address and the log-in are what to look at
THEIRS = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.END})
# RFC 3463's codes about the recipient and its mailbox. 5.1.7 and 5.1.8 are about the sender; 5.7.x about permissions.
GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
REFUSED = frozenset({"5.1.0", "5.1.4", "5.2.0", "5.2.2", "5.2.3"})
# Without an enhanced code the text decides, because a blocked sender often gets 550 too.
UNKNOWN_MAILBOX = re.compile(
    r"(user|recipient|mailbox|account|address)\b.{0,40}\b(unknown|not found|invalid|disabled|does ?n[o']t exist)"
    r"|(unknown|no such|invalid) (local )?(user|recipient|mailbox|account|address)"
)


def refused(phase: Phase, status: int, text: str, *, personal: tuple[str, ...] = (), utf8: bool = False) -> Problem:
    """The Problem of an unexpected reply.

    `personal` are values that the detail must not show, the recipient's address first. `utf8`: SMTPUTF8 was asked for
    only because of this address, so a refusal of SMTPUTF8 is about the address.
    """
    found = ENHANCED.match(text)
    code = found[1] if found else None
    masked = mask(text[found.end() :] if found else text, personal)
    numbers = f"{status} {code}" if code else str(status)
    # Before the message the server knows of no customer, so its words can only be about our connection and log-in.
    shown = masked if phase in BEFORE_MESSAGE else ""
    detail = f"SMTP {numbers} at {phase.value}" + (f": {shown}" if shown else "")
    if not 400 <= status <= 599:  # not SMTP, or the reply to another command
        return broken(phase, f"unexpected reply {status}" if 100 <= status <= 999 else "malformed reply")
    kind = _kind(phase, status, code, utf8=utf8)
    wait = GREYLISTING if status in (450, 451) and phase in THEIRS else None
    unreachable = kind is Kind.TRANSIENT and phase in BEFORE_MESSAGE
    address = _address(phase, status, code, text) if kind is Kind.BAD_INPUT else None
    return Problem(
        kind,
        detail,
        code=code,
        status=status,
        retry_after=wait,
        unreachable=unreachable,
        address=address,
        words="" if shown else masked,
    )


def broken(phase: Phase, failure: str) -> Problem:
    """The Problem if no usable reply came. `failure` names the failure ("timed out") without any value."""
    kind = Kind.UNKNOWN if phase is Phase.END else Kind.TRANSIENT
    return Problem(kind, f"SMTP {failure} at {phase.value}", unreachable=phase in BEFORE_MESSAGE)


def _address(phase: Phase, status: int, code: str | None, text: str) -> AddressIs | None:
    if code is not None:
        return AddressIs.GONE if code in GONE else AddressIs.REFUSED if code in REFUSED else None
    if phase is not Phase.RCPT or status not in (550, 551, 552, 553):
        return None
    # GONE only if the reply is explicit: a suppressed address gets no message of any list, so a mistake is expensive.
    return AddressIs.GONE if UNKNOWN_MAILBOX.search(text.lower()) else AddressIs.REFUSED


def _kind(phase: Phase, status: int, code: str | None, *, utf8: bool) -> Kind:
    if status < 500:
        return Kind.TRANSIENT
    if status in CREDENTIALS:
        return Kind.AUTH
    if utf8 and (status == 555 or code == "5.6.7"):
        return Kind.BAD_INPUT
    return Kind.AUTH if phase in OURS else Kind.BAD_INPUT
