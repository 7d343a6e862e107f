"""Classifies an SMTP server's reply, or a missing reply. Facts: RFC 5321, RFC 4954. The same code means different
things at different points: 550 to RCPT TO is about one recipient, 550 to MAIL FROM is about our sender. So every reply
is read together with its phase."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.core.model.stops import About
from onboarding_worker.senders.contract import DeliveryStatus, Said, Stop, mask, ours

GREYLISTING = timedelta(minutes=5)  # a greylisting server accepts a message that comes again, but not at once
ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)\s*")
# What the words of a server mean in a later report.
LONGEST_ADDRESS = 254
IN_TEXT = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


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


# A failure in these phases is not about the message.
BEFORE_MESSAGE = frozenset({Phase.WAIT, Phase.CONNECT, Phase.GREETING, Phase.TLS, Phase.AUTH})
CONNECTING = BEFORE_MESSAGE - {Phase.WAIT}  # the server's address and the log-in are what to look at
MAIL, RCPT = frozenset({Phase.MAIL}), frozenset({Phase.RCPT})
MESSAGE = frozenset({Phase.DATA, Phase.END})
TRANSACTION = MAIL | RCPT | MESSAGE
# RFC 3463's codes about the recipient and its mailbox. 5.1.7 and 5.1.8 are about the sender.
GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
REFUSED = frozenset({"5.1.0", "5.1.4", "5.2.0", "5.2.2", "5.2.3"})
# About our address and our domain: RFC 3463, RFC 7372 and IANA's registry of enhanced status codes.
OURS = {
    "5.1.7": "the address in `from` cannot be an address",
    "5.1.8": "the domain of `from` does not exist",
    **dict.fromkeys(("5.7.20", "5.7.21", "5.7.22"), "no DKIM signature of ours was accepted"),
    **dict.fromkeys(("5.7.23", "5.7.24"), "the SPF record of our domain does not allow the relay"),
    "5.7.25": "the relay's address has no name (reverse DNS)",
    "5.7.26": "the mail failed several checks of its sender (SPF, DKIM, DMARC)",
    "5.7.27": "the domain of `from` accepts no mail (null MX)",
    "5.7.28": "our mails are a flood to the recipient's server",
}
# All that the registry has. Of others, such as 5.7.509, each server makes its own.
DOCUMENTED = re.compile(
    r"5\.(0\.0|1\.([0-9]|10)|2\.[0-4]|3\.[0-6]|4\.[0-7]|5\.[0-6]|6\.([0-9]|10)|7\.([0-9]|1[0-9]|2[0-9]|30))"
)
# Without an enhanced code the text decides, because a blocked sender often gets 550 too.
UNKNOWN_MAILBOX = re.compile(
    r"(user|recipient|mailbox|account|address)\b.{0,40}\b(unknown|not found|invalid|disabled|does ?n[o']t exist)"
    r"|(unknown|no such|invalid) (local )?(user|recipient|mailbox|account|address)"
)


@dataclass(frozen=True)
class Meaning:
    """What a reply means (docs/reference/refusals.md). `status` and `code` are patterns of the SMTP status and of the
    enhanced code, "" if the reply has none. `kind`, `unclear`, `address`: as of a `Problem`."""

    phases: frozenset[Phase]
    status: str
    code: str
    kind: Kind
    address: AddressIs | None = None
    unclear: bool = False
    words: re.Pattern[str] | None = None  # only with these words
    wait: timedelta | None = None

    def holds(self, phase: Phase, status: int, code: str, text: str) -> bool:
        return (
            phase in self.phases
            and re.fullmatch(self.status, str(status)) is not None
            and re.fullmatch(self.code, code) is not None
            and (self.words is None or self.words.search(text.lower()) is not None)
        )


def _one_of(codes: Iterable[str]) -> str:
    return "|".join(re.escape(code) for code in codes)


ANY = ".*"
# The first line that holds. RFC 3463 has the enhanced codes, RFC 5321 and RFC 4954 the statuses.
MEANINGS = (
    Meaning(BEFORE_MESSAGE | TRANSACTION, "530|534|535|538", ANY, Kind.AUTH),
    Meaning(BEFORE_MESSAGE, "4..", ANY, Kind.TRANSIENT),
    Meaning(BEFORE_MESSAGE, "5..", ANY, Kind.AUTH),
    # A limit or a quota of ours is used up. The first two codes are Google's and Microsoft's for the limit of a day.
    Meaning(TRANSACTION, "...", r"5\.4\.5|5\.1\.90", Kind.RATE_LIMITED),
    Meaning(TRANSACTION, "421", r"4\.7\..*", Kind.RATE_LIMITED),
    Meaning(TRANSACTION, "432|454", ANY, Kind.RATE_LIMITED),
    Meaning(MAIL | MESSAGE, "452", ANY, Kind.RATE_LIMITED),
    Meaning(RCPT, "452", r"4\.[35]\..*", Kind.RATE_LIMITED),  # the server's storage, or too many recipients
    Meaning(RCPT, "452", "", Kind.TRANSIENT, unclear=True),  # or a full mailbox
    # Greylisting: the message is accepted when it comes again, but not at once.
    Meaning(RCPT, "45[01]", ANY, Kind.TRANSIENT, wait=GREYLISTING),
    Meaning(MAIL | MESSAGE, "45[01]", r"4\.2\.0|4\.7\.1", Kind.TRANSIENT, wait=GREYLISTING),
    Meaning(MAIL | MESSAGE, "45[01]", ANY, Kind.TRANSIENT, unclear=True, wait=GREYLISTING),
    Meaning(TRANSACTION, "4..", ANY, Kind.TRANSIENT),
    Meaning(MAIL, "5..", ANY, Kind.AUTH),
    Meaning(RCPT | MESSAGE, "5..", _one_of(GONE), Kind.BAD_INPUT, AddressIs.GONE),
    Meaning(RCPT | MESSAGE, "5..", _one_of(REFUSED), Kind.BAD_INPUT, AddressIs.REFUSED),
    # Microsoft 365 says so of a mailbox that it does not have, and of one that accepts no mail from outside.
    Meaning(RCPT, "5..", r"5\.4\.1", Kind.BAD_INPUT, AddressIs.REFUSED),
    # GONE only if the reply is explicit: a suppressed address gets no message of any list, so a mistake is expensive.
    Meaning(RCPT, "55[0-3]", "", Kind.BAD_INPUT, AddressIs.GONE, words=UNKNOWN_MAILBOX),
    Meaning(RCPT, "5..", ANY, Kind.BAD_INPUT, AddressIs.REFUSED, unclear=True),
    Meaning(MESSAGE, "5..", ANY, Kind.BAD_INPUT, unclear=True),
)


def refused(phase: Phase, status: int, text: str, *, personal: tuple[str, ...] = (), utf8: bool = False) -> Problem:
    """The Problem of an unexpected reply. `personal` are values that the detail must not show, the recipient's address
    first. `utf8`: SMTPUTF8 was asked for only because of this address, so a refusal of SMTPUTF8 is about the
    address."""
    found = ENHANCED.match(text)
    code = found[1] if found else None
    masked = mask(text[found.end() :] if found else text, personal)
    numbers = f"{status} {code}" if code else str(status)
    # Before the recipient is named the server knows of no customer: its words are about our connection and sender.
    shown = masked if phase in BEFORE_MESSAGE | MAIL else ""
    detail = f"SMTP {numbers} at {phase.value}" + (f": {shown}" if shown else "")
    if not 400 <= status <= 599:  # not SMTP, or the reply to another command
        return broken(phase, f"unexpected reply {status}" if 100 <= status <= 999 else "malformed reply")
    if utf8 and phase not in BEFORE_MESSAGE and (status == 555 or code == "5.6.7"):
        meaning = Meaning(TRANSACTION, ANY, ANY, Kind.BAD_INPUT)
    else:
        meaning = next(one for one in MEANINGS if one.holds(phase, status, code or "", text))
    return Problem(
        meaning.kind,
        detail,
        code=code,
        status=status,
        retry_after=meaning.wait,
        unreachable=meaning.kind is Kind.TRANSIENT and phase in BEFORE_MESSAGE,
        address=meaning.address,
        unclear=meaning.unclear,
        words="" if shown else masked,
    )


def broken(phase: Phase, failure: str) -> Problem:
    """The Problem if no usable reply came. `failure` names the failure ("timed out") without any value."""
    kind = Kind.UNKNOWN if phase is Phase.END else Kind.TRANSIENT
    return Problem(kind, f"SMTP {failure} at {phase.value}", unreachable=phase in BEFORE_MESSAGE)


def of_permanent_failure(code: str, text: str) -> Said:
    """Only a plain statement that there is no such mailbox ends the address (docs/reference/coming-back.md)."""
    if code in GONE if code else UNKNOWN_MAILBOX.search(text[:2_000].lower()):
        return Said(DeliveryStatus.BOUNCED, Stop.BOUNCED, About.ADDRESS, code)
    if code in OURS:
        return ours(OURS[code], code)
    about = About.UNKNOWN if code and not DOCUMENTED.fullmatch(code) else About.CUSTOMER
    return Said(DeliveryStatus.BLOCKED, about=About.ADDRESS if code in REFUSED else about, code=code)


def enhanced_code(*texts: object) -> str:
    """The first status code of RFC 3463 in these texts; "" if there is none."""
    for text in texts:
        if isinstance(text, str) and (match := IN_TEXT.search(text[:2_000])):
            return match[0]
    return ""


def usable_address(given: object) -> str:
    """The value, if it may be a mail address; else ""."""
    usable = isinstance(given, str) and len(given) <= LONGEST_ADDRESS and given.count("@") == 1 and given.isprintable()
    return str(given).strip() if usable else ""
