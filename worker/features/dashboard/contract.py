"""What a page, an action and a file are, what they work with, and an action's address. `__init__` says how to add
one."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlencode

from onboarding_worker.core.database.audit_entries import Act
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.features.dashboard.users import Person, Role
from onboarding_worker.features.outbox.outbox_targets import OutboxTargets
from onboarding_worker.reporting.batch_report import Reporting
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.stores import Stores


class Sources:
    """Blocking: pages and actions call it in a thread, where the site runs them."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @cached_property
    def reporting(self) -> Reporting:
        """Made once: what the forecasts of all batches have in common is kept there for a moment."""
        return self.parts.reporting

    @property
    def outbox(self) -> OutboxTargets:
        return OutboxTargets(self.parts.settings, self.parts.database, self.parts.clock)

    def acting(self, asked: "Asked", action: str, reason: str) -> Stores:
        """The store's objects, whose changes the audit log ascribes to this person, action and reason. Raises Refused
        where the person has not asked for it on a page of ours: any link could write there in the person's name."""
        if asked.led_here:
            refused = Refused("A link led here, and the audit log will say that you have looked. Go on if you mean to.")
            refused.title, refused.back, refused.button = "Not yet", asked.led_here, "Go on"
            raise refused
        return self.parts.acting(Act(asked.person.actor, action, reason))


class NotThere(Exception):
    """What the address names is not there. The text is for the person."""


class Elsewhere(Exception):
    """What was asked for is on another page, whose path this is."""


class Refused(Exception):
    """It cannot be done, or not as it was asked. The text says why, for the person. `back`: the page to go on from."""

    title, back, button = "Not possible", "/", "Back"


@dataclass(frozen=True)
class Asked:
    """A request as pages and actions see it. `values`: the parts of the path and of the query, or of the form. Each may
    be any text. `posted`: it is a form of ours. Anything else may be a link of a stranger, and changes nothing.
    `led_here`: the request's own address, unless the person has asked for it on a page of ours."""

    values: Mapping[str, str]
    person: Person
    now: datetime
    posted: bool = False
    led_here: str = ""

    @property
    def seen_at(self) -> datetime:
        """When the person was shown the confirmation that is agreed to: what came later was not seen. `now` for any
        other request."""
        try:
            return min(datetime.fromisoformat(self.values["seen_at"]), self.now)
        except (KeyError, ValueError, TypeError):  # of a time without a zone, too
            return self.now

    def text(self, name: str, *, most: int = 200) -> str:
        """The value on one line, without invisible characters, cut to `most`; "" if it is missing. What is copied from
        a page or a spreadsheet may have other spaces in it. It must not read like an empty field: that may stand for
        all rows."""
        return plain(self.values.get(name, ""), most=most)

    def number(self, name: str, *, least: int = 0, most: int = 2**53) -> int | None:
        """The value as a whole number within the bounds; None if it is none."""
        given = self.text(name, most=20)
        if not (given.isascii() and given.isdecimal()):
            return None
        return int(given) if least <= int(given) <= most else None


Read = Callable[[Sources, Asked], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Page:
    path: str  # with parts in braces, which are in Asked.values too: /dashboard/batches/{batch}
    template: str = "live.html"  # which shows the live part alone
    read: Read  # blocking; what the template shows, besides `read_at`; raises NotThere or Refused
    title: str
    navigation: str = ""  # its word in the navigation; "": it is not there
    least: Role = Role.VIEWER
    live: str = ""  # the template of its part that is asked for again and again; "": it has none
    # What is read is the same for all persons, who then share it. False: `read` uses Asked.person, or writes the audit
    # log.
    shared: bool = True
    # Its form is posted, because what is typed into it must not stand in an address, which servers and browsers keep.
    posted: bool = False
    # Forgets what `read` keeps for longer than a moment: after an action the person who acted sees what became of it.
    forget: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class File:
    """What is downloaded: its name, its media type, and its bytes from the start, which the site closes."""

    name: str
    kind: str
    body: BinaryIO


@dataclass(frozen=True, kw_only=True)
class Download:
    path: str
    least: Role
    read: Callable[[Sources, Asked], File]  # blocking; raises NotThere or Refused


class Sink(Protocol):
    """Takes the bytes of a file that a person gives. Each call blocks."""

    def add(self, content: bytes) -> None: ...

    def end(self) -> str:
        """All of it has come. Returns the page that the person sees next."""

    def give_up(self) -> None:
        """It broke off, or is too large."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A form with one file, `file`. `most`: bytes."""

    path: str
    least: Role
    most: int
    begin: Callable[[Sources, Asked, str], Sink]  # blocking; gets the file's name; raises Refused


@dataclass(frozen=True)
class Field:
    """A value that the person types into the confirmation. `kind`: of the input, such as email or tel. `most`: how many
    characters it may have. `linked`: a link may fill it in, which anyone can send to the person."""

    name: str
    label: str
    kind: str = "text"
    most: int = 320
    linked: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the confirmation shows before anything is done."""

    title: str  # a question: Pause batch 3?
    button: str  # what it does: Pause batch 3
    does: Sequence[str]  # sentences
    cost: Sequence[str] = ()  # sentences: what it costs at worst
    grave: bool = False  # it cannot be undone, or it costs money
    fields: Sequence[Field] = ()  # what the person types; never in an address, which servers log
    # The numbers in `cost` that fall while the page is read, such as sessions by account. Who agreed to more agreed to
    # less too.
    at_most: Mapping[str, int] = field(default_factory=dict)

    @property
    def seen(self) -> str:
        """What the form brings back: what the person was shown, as a digest, and the numbers of `at_most`."""
        shown = (self.title, *self.does, *(() if self.at_most else self.cost))
        return json.dumps([sha256(repr(shown).encode()).hexdigest()[:16], dict(self.at_most)])

    def is_agreed(self, seen: str) -> bool:
        """Whether the person who was shown `seen` agreed to this. If not, the person is asked again. Any text may come
        back."""
        try:
            digest, at_most = json.loads(seen)
            fits = all(number <= at_most[name] for name, number in self.at_most.items())
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return fits and digest == json.loads(self.seen)[0]


@dataclass(frozen=True)
class Done:
    """What became of an action: a sentence for the person, and what is due now."""

    said: str
    due: Sequence[WakeUp] = ()


@dataclass(frozen=True, kw_only=True)
class Action:
    """`name` is its address, /dashboard/do/NAME. `command`: the command that does the same, "" if none does."""

    name: str
    command: str = ""
    least: Role = Role.OPERATOR
    plan: Callable[[Sources, Asked], Plan]  # blocking, changes nothing; raises NotThere or Refused
    carry_out: Callable[[Sources, Asked, str], Done]  # blocking; gets the person's reason; raises Refused
    # The page that the person came from, and goes back to: a path of ours, whatever the request names.
    back: Callable[[Asked], str] = lambda _asked: "/"

    @property
    def path(self) -> str:
        return f"/dashboard/do/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a feature adds. `package`: has its templates, whose names differ from ours."""

    package: str
    pages: Sequence[Page] = ()
    actions: Sequence[Action] = ()
    downloads: Sequence[Download] = ()
    arrivals: Sequence[Arrival] = ()


# The feature `uploads` takes lists in the browser.
DASHBOARD_PARTS = Hook("DASHBOARD_PARTS", Part)


def do(action: str, **values: object) -> str:
    """The address of an action's confirmation."""
    query = urlencode({name: str(value) for name, value in values.items()}, quote_via=quote)
    return f"/dashboard/do/{action}" + (f"?{query}" if query else "")
