"""What a list costs now and at most, also its texts, which are sent in segments; which of its customers are served
already, and which rows share an address."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from worker.cli.exits import CannotStart
from worker.cli.sample_message import example, rendered
from worker.core.customers.customers import Channel, FieldProblem, invitation_channels
from worker.core.foundation.notation import counted, show_duration, written
from worker.core.messages.contact import AddressCap, Wording, text_of_mailbox
from worker.core.model.channels import address_of, listed_as
from worker.lists.importing.judging import Judged, count
from worker.lists.lines import AcceptedLine
from worker.lists.same_person import Seen
from worker.reporting.store.outlook import CallsNow
from worker.settings.money import amounts_in_words
from worker.wiring.container import Parts

CHUNK = 1000  # lines in one question to the database
SHARED = "each of the two gets a link to it; `messages_per_address` bounds how many"

ONE_ENTITY = "FrankieOne gives both customers one session: correct the id that is wrong"

# Now and at most, each by currency; empty without any price.
Costs = Mapping[str, Mapping[str, Decimal]]

# As long as iDenfy's; our own stable links are shorter.
LINK = f"https://verify.example.com/{'x' * 62}"
MOST_WORDINGS = 100  # of a list with more templates and languages the others count as the last one does


@dataclass
class ListCost:
    """Counts accepted lines. `due` has those for which a session is asked for now, the first `most` of them. `shared`
    gets each row whose address an earlier row has, with a warning, or whose entity another customer has."""

    parts: Parts
    calls: CallsNow
    due: Judged = field(default_factory=Judged)
    countries: set[str] = field(default_factory=set)  # of the customers for whom a session is asked for now
    first: AcceptedLine | None = None  # the first of them
    shared: Callable[[int, FieldProblem], None] | None = None
    most: int | None = None  # None: all of them
    _lines: list[AcceptedLine] = field(default_factory=list)
    _addresses: Seen = field(default_factory=Seen)
    _ids: Seen = field(default_factory=Seen)  # alone, and with a value of their rows
    _written_to: Seen = field(default_factory=Seen)  # by rows for which a session is asked for now
    # Their further messages to an address, by its first row.
    _more: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add(self, line: AcceptedLine) -> None:
        self._lines.append(line)
        if len(self._lines) >= CHUNK:
            self.finish()
        if self.shared is None:
            return
        person = line.customer.person
        for column, address in (("email", person.email.casefold()), ("phone", person.phone)):
            if not address:
                continue
            earlier = self._addresses.row_or_remember(address, column, line.row)
            if earlier is not None:
                self.shared(line.row, FieldProblem(column, f"the same address as row {earlier}", SHARED))
        entity = line.customer.entity_id
        other = self._other(entity, line.customer.customer_id, "entity_id", line.row) if entity else None
        if other is not None:
            told = f"the same entity_id as row {other}, which has another customer_id"
            self.shared(line.row, FieldProblem("entity_id", told, ONE_ENTITY))

    def _other(self, whose: str, value: str, column: str, row: int) -> int | None:
        """The row that gave this id another value in this column."""
        first = self._ids.row_or_remember(whose, column, row)
        same = self._ids.row_or_remember(f"{whose}\n{value}", column, row)
        return first if same is None else None

    def finish(self) -> None:
        """Ask for the lines that are left."""
        keys = {(line.customer.customer_id, line.customer.purpose) for line in self._lines}
        asked = self.calls.of(keys, now=self.parts.clock())
        for line in self._lines:
            if (line.customer.customer_id, line.customer.purpose) in asked and self.due.accepted != self.most:
                count(self.due, line, self.parts.hours)
                self.countries |= {line.customer.country} - {""}
                self.first = self.first or line
                self._count_messages(line)
        self._lines.clear()

    def _count_messages(self, line: AcceptedLine) -> None:
        for channel in invitation_channels(line.customer.channel):
            if not (address := address_of(line.customer.person, channel)):
                continue
            kind = listed_as(channel)
            earlier = self._written_to.row_or_remember(text_of_mailbox(channel, address), kind, line.row)
            if earlier is not None:
                self._more[kind, earlier] += 1

    def beyond_cap(self) -> list[str]:
        """The messages that `messages_per_address` delays, in words; after `finish`."""
        cap = self.parts.settings.invitations.messages_per_address
        waiting, longest = beyond(cap, (1 + more for more in self._more.values())) if cap is not None else (0, None)
        if cap is None or longest is None or not waiting:
            return []
        wait = counted(waiting, "message waits", "messages wait")
        until = written(self.parts.clock() + longest)
        shown = f"{cap.messages} / {show_duration(cap.period)}"
        return [f"{wait} for messages_per_address ({shown}), the last until {until} or later"]


def costs_in_words(facts: Mapping[str, Any], *, now: str = "now") -> list[str]:
    """A line for each of the costs of `foreseen`, and one for what has no price. `now`: what is said of the first."""
    when = {"now": now, "at_most": "at most"}
    lines = [f"cost {when[one]}: {amounts_in_words(amounts)}" for one, amounts in facts.get("cost", {}).items()]
    if missing := facts.get("without_price"):
        lines.append(f"  without a price, and so not in it: {', '.join(missing)}")
    return lines


def segments_of(parts: Parts, due: Judged) -> tuple[int, int]:
    """The segments of the texts that leave now; and those of the longest text that a row may get."""
    if parts.settings.texting(Channel.SMS) is None:
        return 0, 1
    now, each, most = 0, 1, 1
    for number, (words, texts) in enumerate(due.wordings.items()):
        each = _each(parts, *words) if number < MOST_WORDINGS else each
        now, most = now + texts * each, max(most, each)
    return now, most


def charged(messages: Mapping[str, int], texts: int) -> Mapping[str, int]:
    """These messages by channel, with so many segments in place of the texts."""
    return {**messages, Channel.SMS: texts} if Channel.SMS in messages else messages


def _each(parts: Parts, template: str, locale: str, brand: str) -> int:
    try:
        customer = example(parts.templates, locale=locale, template=template, brand=brand)
        made = rendered(parts.settings, parts.templates, customer, Channel.SMS, Wording.INVITATION, link=LINK)
    except CannotStart:
        return 1  # the template's own problem is named elsewhere
    return made.segments


def beyond(cap: AddressCap, messages: Iterable[int]) -> tuple[int, timedelta]:
    """Of so many messages to each address, all due now: how many wait for a place, and for how long the last one.

    An address that had messages before has fewer places, so both are the least.
    """
    waiting, longest = 0, timedelta(0)
    for number in messages:
        waiting += max(0, number - cap.messages)
        longest = max(longest, (number - 1) // cap.messages * cap.period)
    return waiting, longest
