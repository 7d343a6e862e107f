"""A list's rows and its deadline: when each row goes, and which rows cannot be sent in time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from worker.core.customers.customers import FieldProblem, invitation_channels
from worker.core.customers.store.new_rows import AcceptedLine
from worker.core.foundation.timestamps import written
from worker.core.messages.contact_times import Hours
from worker.plans.deadlines import Group, Paces, Planned, Slots, is_open, plan, room


def group_of(line: AcceptedLine, hours: Hours) -> Group:
    """The rows that this one is like. Of two channels the one with quiet hours counts: it closes first."""
    channels = invitation_channels(line.customer.channel)
    if not channels:
        return Group(line.account, "", ())
    channel = next((one for one in channels if hours.concern((one,))), channels[0])
    customer = line.customer
    zones = hours.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)
    return Group(line.account, channel, zones if hours.concern((channel,)) else ())


def planned(rows: Mapping[Group, int], hours: Hours, paces: Paces, *, deadline: datetime, now: datetime) -> Planned:
    """The plan of all rows of a list. `now`: when its work begins."""
    slots = Slots.until(deadline, now=now)

    def opens(group: Group, slot: int) -> bool:
        quiet = hours.quiet.get(group.channel)
        return is_open(group.zones, quiet, slots.at(slot), slots.at(slot + 1))

    return plan(rows, slots, opens, paces)


class RowTimes:
    """Gives out the planned times, row by row in the list's order."""

    def __init__(self, found: Planned, paces: Paces, *, deadline: datetime) -> None:
        self._found, self._paces = found, paces
        self._times = {group: self._each(group) for group in found.by_slot}
        self._last = max(deadline - found.slots.length, found.slots.begins)

    def next(self, group: Group) -> tuple[datetime, bool]:
        """When the group's next row goes, and whether that is in time. Rows that are late go after all others."""
        at = next(self._times[group], None) if group in self._times else None
        return (self._last, False) if at is None else (at, True)

    def _each(self, group: Group) -> Iterator[datetime]:
        slots = self._found.slots
        for slot, number in self._found.by_slot[group]:
            # Spread over its slot as the limits will spread it: `run` then never waits long for the next row.
            most = room(self._paces.accounts.get(group.account), slots, slot)
            step = slots.length / max(most, number) if most is not None else timedelta(0)
            yield from (slots.at(slot) + index * step for index in range(number))


def counted(lines: Iterable[object], hours: Hours) -> Counter[Group]:
    """The accepted rows of a list by group."""
    return Counter(group_of(line, hours) for line in lines if isinstance(line, AcceptedLine))


def too_late(deadline: datetime) -> FieldProblem:
    """The warning for a row that cannot be sent in time."""
    return FieldProblem(
        "",
        f"it cannot be sent by {written(deadline)}: no hour is left in which its customer may be written to and the"
        " limits have room",
        "start earlier, raise the limits, or give another channel",
    )
