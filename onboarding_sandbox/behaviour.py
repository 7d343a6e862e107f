"""What the simulated customers do, how often, and what goes wrong with their webhooks."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol, TypeVar

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


class Shared(Protocol):
    @property
    def share(self) -> float: ...


S = TypeVar("S", bound=Shared)


def drawn(among: Iterable[S], point: float) -> S | None:
    """The one in whose share the point lies, from 0 to 1; None: beyond all."""
    for one in among:
        point -= one.share
        if point < 0:
            return one
    return None


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with the webhooks of one session. `late`: how much later than planned they are sent.

    `swapped`: the last event of the session is sent first. `forged`: before each genuine webhook one with a wrong
    signature is sent.
    """

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
