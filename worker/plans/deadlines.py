"""Which rows of a list can be sent by a deadline, and when each goes: rows whose last hour comes first go first. Pure.

Time is cut into slots. A group is the rows that may be called in the same slots, under the same limits: those of one
account, one channel and one set of time zones. In each slot an account and a channel have room for so many rows. The
plan first gives each slot to the groups that close first; then it moves groups to other slots until no further row
fits. So the rows that it leaves out are as few as can be (the tests compare it with every possible order).
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil

from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.customers import Customer, FieldProblem, invitation_channels
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours, allowed_at

QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
MOST_SLOTS = 1500
_MOMENT = timedelta(seconds=1)


@dataclass(frozen=True, order=True)
class Group:
    """Rows that are alike. `channel` is empty for rows without a message."""

    account: str
    channel: str
    zones: tuple[str, ...]


@dataclass(frozen=True)
class Slots:
    """The time until the deadline: `number` slots of the same length. The last one ends at the deadline."""

    begins: datetime
    length: timedelta
    number: int

    @classmethod
    def until(cls, deadline: datetime, *, now: datetime) -> "Slots":
        """Quarters of an hour for some days, hours for some weeks, and days for longer, or somewhat less than these: a
        deadline that is near has a slot too, and no time before it is left over."""
        span = max(deadline - now, timedelta(0))
        longest = next((one for one in (QUARTER, HOUR) if span / one <= MOST_SLOTS / 4), DAY)
        number = min(ceil(span / longest), MOST_SLOTS)
        return cls(now, span / number if number else longest, number)

    def at(self, slot: int) -> datetime:
        return self.begins + slot * self.length


@dataclass(frozen=True)
class Paces:
    """How many calls an account, and how many messages a channel can do in a second; None: as many as there are."""

    accounts: Mapping[str, float | None] = field(default_factory=dict)
    channels: Mapping[str, float | None] = field(default_factory=dict)

    def at_most(self, per_hour: int | None, rows: Mapping[Group, int]) -> "Paces":
        """The same, with a list's own pace, shared by the accounts that its rows go to; None: it has none."""
        if per_hour is None:
            return self
        of_account = Counter[str]()
        for group, number in rows.items():
            of_account[group.account] += number
        each = per_hour / HOUR.total_seconds() / max(of_account.total(), 1)
        own = {name: number * each for name, number in of_account.items()}
        limits = {name: limit for name, limit in self.accounts.items() if limit is not None}
        return Paces({name: min(pace, limits.get(name, pace)) for name, pace in own.items()}, self.channels)


def is_open(zones: tuple[str, ...], quiet: QuietHours | None, begins: datetime, ends: datetime) -> bool:
    """Whether a message may leave at any time of a slot; of one that is longer than an hour, at some time."""
    if ends - begins > HOUR:  # a day: it has quiet hours, whenever it begins
        return allowed_at(zones, quiet, begins) < ends
    last = max(begins, ends - _MOMENT)
    return all(allowed_at(zones, quiet, at) == at for at in (begins, last))


def room(pace: float | None, slots: Slots, slot: int) -> int | None:
    """How many calls begin in a slot at this pace, the first one at once; None: any number."""
    if pace is None:
        return None
    each = pace * slots.length.total_seconds()
    return ceil((slot + 1) * each) - ceil(slot * each)


@dataclass(frozen=True)
class Planned:
    """The rows of each group by slot, in order of time; and how many of each group fit nowhere."""

    slots: Slots
    by_slot: Mapping[Group, Sequence[tuple[int, int]]]
    late: Mapping[Group, int]


def plan(rows: Mapping[Group, int], slots: Slots, opens: Callable[[Group, int], bool], paces: Paces) -> Planned:
    """Give each row a slot. `opens(group, slot)`: whether rows of the group may go in the slot. A channel that several
    accounts use is shared by the number of their rows: the result may then leave out more rows than need be, and never
    too few."""
    filling = _Filling(rows, slots, opens, paces)
    late = {group: filling.left[group] for group in rows if not filling.moved_to_fit(group)}
    return Planned(slots, {group: sorted(filling.taken[group].items()) for group in rows}, late)


class _Filling:
    """The slots while they are filled."""

    def __init__(
        self, rows: Mapping[Group, int], slots: Slots, opens: Callable[[Group, int], bool], paces: Paces
    ) -> None:
        self._slots, self._paces = slots, paces
        self.open = {group: [slot for slot in range(slots.number) if opens(group, slot)] for group in rows}
        self.left = dict(rows)
        self.taken: dict[Group, dict[int, int]] = {group: {} for group in rows}
        self._used = Counter[tuple[str, str, int]]()  # by account, channel or "*", and slot
        self._groups = sorted(rows)
        on_channel, of_account = Counter[str](), Counter[tuple[str, str]]()
        for group, number in rows.items():
            on_channel[group.channel] += number
            of_account[group.account, group.channel] += number
        self._share = {key: number / max(on_channel[key[1]], 1) for key, number in of_account.items()}
        self._hopeless: set[Group] = set()
        # First slot by slot with the groups whose last slot comes first.
        order = sorted(self._groups, key=lambda group: (self.open[group][-1] if self.open[group] else -1, group))
        by_slot: defaultdict[int, list[Group]] = defaultdict(list)
        for group in order:
            for slot in self.open[group]:
                by_slot[slot].append(group)
        for slot in range(slots.number):
            for group in by_slot[slot]:
                if self.left[group] and (fits := self._fits(group, slot, self.left[group])):
                    self._put(group, slot, fits)

    def moved_to_fit(self, group: Group) -> bool:
        """Make room for the rows that are left by moving others to other slots; whether all of them fit now."""
        while self.left[group] and group not in self._hopeless:
            path = self._way_to_room(group)
            if path is None:
                break
            last, last_slot = path[-1]
            number = min(
                self.left[group],
                self._fits(last, last_slot, self.left[group]),
                *(self.taken[then][slot] for (_, slot), (then, _) in pairwise(path)),
                *(
                    self._room_of_channel(one, slot)
                    for (one, slot), (then, _) in pairwise(path)
                    if one.channel != then.channel
                ),
            )
            for (one, slot), (then, _) in pairwise(path):
                self._put(then, slot, -number)
                self._put(one, slot, number)
            self._put(last, last_slot, number)
        return not self.left[group]

    def _way_to_room(self, group: Group) -> list[tuple[Group, int]] | None:
        """Each group of the way takes the slot next to it from the group after it; the last slot has room."""
        before: dict[Group, tuple[Group, int] | None] = {group: None}
        waiting = deque([group])
        while waiting:
            one = waiting.popleft()
            for slot in self.open[one]:
                if self._fits(one, slot, 1):
                    path = [(one, slot)]
                    while (step := before[path[0][0]]) is not None:
                        path.insert(0, step)
                    return path
                for then in self._in_the_way(one, slot):
                    if then not in before and then not in self._hopeless:
                        before[then] = (one, slot)
                        waiting.append(then)
        self._hopeless |= before.keys()  # what cannot be moved now never can
        return None

    def _in_the_way(self, one: Group, slot: int) -> list[Group]:
        """The groups with rows in the slot that would make room for this one."""
        alone = self._room_of_channel(one, slot) == 0
        return [
            then
            for then in self._groups
            if then != one
            and then.account == one.account
            and self.taken[then].get(slot)
            and not (alone and then.channel != one.channel)
        ]

    def _put(self, group: Group, slot: int, number: int) -> None:
        self.left[group] -= number
        self.taken[group][slot] = self.taken[group].get(slot, 0) + number
        self._used[group.account, "*", slot] += number
        self._used[group.account, group.channel, slot] += number

    def _fits(self, group: Group, slot: int, wanted: int) -> int:
        whole = room(self._paces.accounts.get(group.account), self._slots, slot)
        if whole is not None:
            wanted = min(wanted, whole - self._used[group.account, "*", slot])
        return min(wanted, self._room_of_channel(group, slot))

    def _room_of_channel(self, group: Group, slot: int) -> int:
        pace = self._paces.channels.get(group.channel) if group.channel else None
        if pace is None:
            return 1 << 62
        share = self._share[group.account, group.channel]
        return (room(pace * share, self._slots, slot) or 0) - self._used[group.account, group.channel, slot]


def group_of(account: str, customer: Customer, hours: Hours) -> Group:
    """The rows that this one is like. Of two channels the one with quiet hours counts: it closes first."""
    channels = invitation_channels(customer.channel)
    if not channels:
        return Group(account, "", ())
    channel = next((one for one in channels if hours.concern((one,))), channels[0])
    return Group(account, channel, hours.zones(customer, (channel,)))


def planned(rows: Mapping[Group, int], hours: Hours, paces: Paces, *, deadline: datetime, now: datetime) -> Planned:
    """The plan of all rows of a list. `now`: when its work begins."""
    slots = Slots.until(deadline, now=now)

    def opens(group: Group, slot: int) -> bool:
        return is_open(group.zones, hours.quiet.get(group.channel), slots.at(slot), slots.at(slot + 1))

    return plan(rows, slots, opens, paces)


class RowTimes:
    """Gives out the planned times, row by row in the list's order."""

    def __init__(self, found: Planned, paces: Paces, *, deadline: datetime) -> None:
        self._found, self._paces = found, paces
        self._times = {group: self._each(group) for group in found.by_slot}
        self._last = max(deadline - found.slots.length, found.slots.begins)

    def next(self, group: Group) -> datetime:
        """When the group's next row goes. Rows that are late go after all others."""
        return next(self._times.get(group, iter(())), self._last)

    def _each(self, group: Group) -> Iterator[datetime]:
        slots = self._found.slots
        for slot, number in self._found.by_slot[group]:
            # Spread over its slot as the limits will spread it: `run` then never waits long for the next row.
            most = room(self._paces.accounts.get(group.account), slots, slot)
            step = slots.length / max(most, number) if most is not None else timedelta(0)
            yield from (slots.at(slot) + index * step for index in range(number))


def too_late(deadline: datetime) -> FieldProblem:
    """The warning for a row that cannot be sent in time."""
    why = "no hour is left in which its customer may be written to and the limits have room"
    instead = "start earlier, raise the limits, or give another channel"
    return FieldProblem("", f"it cannot be sent by {written(deadline)}: {why}", instead)
