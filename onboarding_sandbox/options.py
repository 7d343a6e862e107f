"""The options of a sandbox; and what the simulated customers do, how often, and what goes wrong with their webhooks."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from onboarding_sandbox.faults import RETRY_AFTER, Fault, Latency, RateLimit, SmtpFault, drawn

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # in seconds
NEVER = "never"
CUSTOMERS = {
    "finish": "opens the link, finishes, and is approved",
    "deny": "the same, and is denied",
    "suspect": "the same, and is suspected",
    "review": "the same; a person reviews it for a while, and approves",
    "review-deny": "the same; a person reviews it for a while, and denies",
    "ask": "the same; the provider asks a company for more (else as review), and approves",
    "fail": "opens the link and breaks off: cancelled, or failed at the provider",
    "open": "opens the link and does nothing more, until it expires",
    "expire": "does not open the link; the provider reports when it has expired",
    NEVER: "does not open the link, and the provider reports nothing",
}
STAY_AWAY = (NEVER, "expire")
TEXTS = {
    "delivered": "",
    "undelivered": "30003",  # the phone is off, perhaps reachable later
    "unreachable": "30005",  # no such number
    "landline": "30006",
    "filtered": "30007",
    "unregistered": "30034",  # the sender's number is not registered with the carriers
    "not-on-whatsapp": "63024",  # of WhatsApp messages; a text to the number arrives
    "stop": "",  # it arrives, and the person answers STOP
}
MAILS = ("delivered", "bounced", "deferred", "complained")
TROUBLES = ("late", "twice", "swapped", "forged")


def span(text: str) -> timedelta:
    """Read `80ms`, `10s`, `5m`, `2h` or `7d`. Raises ValueError with what is expected."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s?(ms|s|m|h|d)", text.strip(), re.ASCII)
    if not match:
        raise ValueError('expected a time such as "10s", "5m", "2h" or "7d"')
    return timedelta(seconds=float(match[1]) * UNITS[match[2]])


def span_or_range(text: str) -> tuple[timedelta, timedelta]:
    """Read `10s` or `10s..2h`: the least and the most. Raises ValueError with what is expected."""
    first, _, last = text.partition("..")
    found = span(first), span(last or first)
    if found[0] > found[1]:
        raise ValueError("expected the shorter time first")
    return found


@dataclass(frozen=True)
class Share:
    """A share of all customers, texts or mails does this, or of all sessions has this trouble, of which one session may
    have several. `share` is from 0 to 1. `by`: how late a webhook is."""

    does: str
    share: float
    by: timedelta = timedelta(hours=1)


def shares(text: str, known: Sequence[str]) -> tuple[Share, ...]:
    """Read `finish:0.6,deny:0.1`. Raises ValueError with what is expected."""
    found = []
    for part in text.split(","):
        does, colon, share = part.strip().partition(":")
        if does not in known or not colon or not re.fullmatch(r"\d+(\.\d+)?|\.\d+", share, re.ASCII):
            raise ValueError(f'expected shares such as "{known[0]}:0.6,{known[1]}:0.1"; known are {", ".join(known)}')
        found.append(Share(does, float(share)))
    if sum(one.share for one in found) > 1 + 1e-9:
        raise ValueError("the shares add up to more than 1")
    return tuple(found)


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with the webhooks of one session. `late`: how much later than planned they are sent. `swapped`:
    the last event of the session is sent first. `forged`: before each genuine webhook one with a wrong signature is
    sent."""

    late: timedelta = timedelta(0)
    twice: bool = False
    swapped: bool = False
    forged: bool = False

    @property
    def word(self) -> str | None:
        """The names of the troubles, for the log; None: none."""
        return ",".join(name for name in TROUBLES if getattr(self, name)) or None


NO_TROUBLE = Trouble()


def trouble_share(text: str) -> Share:
    """Read `late:0.1,by=1h` or `twice:0.05`. Raises ValueError with what is expected."""
    head, comma, by = text.strip().partition(",by=")
    one = shares(head, TROUBLES)[0]
    if "," in head or (comma and one.does != "late"):
        raise ValueError('expected "late:0.1,by=1h", "twice:0.05", "swapped:0.05" or "forged:0.01"')
    return replace(one, by=span(by)) if comma else one


class Chance:
    """Draws for one customer or one message: by its name, so that the order of arrival does not matter."""

    def __init__(self, seed: int | None, *name: object) -> None:
        self._random = random.Random(None if seed is None else "/".join(map(str, (seed, *name))))

    def of(self, among: Sequence[Share], otherwise: str) -> str:
        found = drawn(among, self._random.random())
        return otherwise if found is None else found.does

    def between(self, first: timedelta, last: timedelta) -> timedelta:
        return first + (last - first) * self._random.random()

    def trouble(self, among: Sequence[Share]) -> Trouble:
        drawn = [(one, self._random.random() < one.share) for one in among]
        kinds = {one.does: one for one, happens in drawn if happens}
        late = kinds["late"].by if "late" in kinds else timedelta(0)
        return Trouble(late, "twice" in kinds, "swapped" in kinds, "forged" in kinds)


Clock = Callable[[], datetime]

FASTEST = 1_000_000_000


def utc_now() -> datetime:
    """Aware UTC."""
    # The sandbox imports nothing of the worker, not even its clock, so that it is an independent check.
    return datetime.now(UTC)  # noqa: TID251


@dataclass(frozen=True)
class SandboxOptions:
    """Everything has a default. Port 0 takes any free port. The credentials are invented and no secret."""

    host: str = "127.0.0.1"
    port: int = 0
    smtp_port: int = 0
    faults: tuple[Fault, ...] = ()
    smtp_faults: tuple[SmtpFault, ...] = ()
    latencies: tuple[Latency, ...] = ()
    limits: tuple[RateLimit, ...] = ()
    limit_retry_after: str = "seconds"  # the form of Retry-After on a 429 of a limit: seconds, date, garbage, none
    seed: int | None = None  # the same seed gives the same faults; None: different faults each time
    conflict: bool = False  # iDenfy: 409 for a second live session of a clientId
    credits: int | None = None  # iDenfy: sessions until it answers "token limit"; None: no limit
    idenfy_key: str = "sandbox-key"
    idenfy_secret: str = field(default="sandbox-secret", repr=False)
    frankieone_key: str = field(default="sandbox-key", repr=False)
    frankieone_customer: str = "11111111-1111-4111-8111-111111111111"
    # A week, though real vendors often give less: a link in a mail should still work when the mail is read.
    frankieone_lifetime: timedelta = timedelta(days=7)
    frankieone_unknown: frozenset[str] = frozenset()  # entity ids that are answered 404
    frankieone_sms_sent: bool = False  # FrankieOne answers that it has sent the person a text itself
    twilio_account: str = "AC00000000000000000000000000000001"
    twilio_token: str = field(default="sandbox-token", repr=False)
    # The numbers and messaging services that may send; the number is Twilio's number for tests.
    twilio_senders: frozenset[str] = frozenset({"+15005550006", "MG00000000000000000000000000000001"})
    twilio_opted_out: frozenset[str] = frozenset()  # numbers that have answered STOP: error 21610
    smtp_user: str | None = None  # None: the mailbox needs no login
    smtp_password: str = field(default="", repr=False)
    smtp_refused: frozenset[str] = frozenset()  # addresses refused with 550, compared without case
    customers: tuple[Share, ...] = ()  # what customers do by themselves; the rest does nothing
    customers_keep: bool = False  # what a customer does is drawn once, for all of its sessions
    customers_after: tuple[timedelta, timedelta] = (
        timedelta(seconds=10),
        timedelta(minutes=2),
    )  # drawn between the two
    # The worker's web application: customers come by the worker's own link in a message, and act in the session that
    # its page leads to. None: they act by the session's own link.
    page: str | None = None
    # They act after a message with the session's link has arrived; False: after their session was opened, also where
    # the sandbox sees no message, as of a row of channel `none`.
    customers_by_message: bool = False
    # The codes of refusals of persons: each session that is denied has one of them, drawn by its reference.
    deny_reasons: tuple[str, ...] = ("DOC_NOT_FULLY_VISIBLE",)
    review_after: timedelta = timedelta(minutes=5)  # how long a review takes
    time_scale: float = 1.0  # how many seconds of the customers' time pass in one real second
    # By endpoint, the address of its webhooks. "" is for all other endpoints: the endpoint's name is appended to it.
    webhooks: Mapping[str, str] = field(default_factory=dict, repr=False)
    webhook_troubles: tuple[Share, ...] = ()
    webhook_key: str = field(default="sandbox-webhook-key", repr=False)  # iDenfy's
    webhook_jwt_key: str = field(default="", repr=False)  # FrankieOne's: an RSA private key, PEM; "": no token
    texts: tuple[Share, ...] = ()  # what happens to texts; the rest is delivered; (): nothing is reported
    mails: tuple[Share, ...] = ()  # what is reported about mails; nothing about the rest
    mail_webhook: str | None = field(default=None, repr=False)
    mail_webhook_key: str = field(default="sandbox-mail-key", repr=False)
    log_file: Path | None = None  # the log is also written there, as JSON lines; it contains tokens
    clock: Clock = utc_now

    def __post_init__(self) -> None:
        if self.limit_retry_after not in RETRY_AFTER:
            raise ValueError(f"limit_retry_after is one of {', '.join(RETRY_AFTER)}")
        if not 0 < self.time_scale <= FASTEST:
            raise ValueError(f"time_scale is more than 0, and at most {FASTEST:,}")
