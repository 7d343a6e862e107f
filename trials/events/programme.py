"""The messages of a run, their order and their ways. They come from a seed, so that a run can be repeated."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from trials.events.event import FORMS, PREFIXES, REQUESTED, ROW, Event, Message, written
from trials.events.spoilt import spoilt
from trials.events.stories import BEFORE, DURING, events_of

DUPLICATES, SPOILT = 0.03, 0.01  # of all that is published
SHARE_BEFORE = 0.6  # of the events: published before a worker runs
POSTED = 0.05  # of the remaining events: posted over HTTP
BEGAN = timedelta(hours=3)  # before the run, so that all times are in the past
WINDOW = 200  # a message may come this many messages late
CONFLICTS = 5
REFUSED = "c99999997@example.com"


@dataclass(frozen=True)
class Programme:
    """`before` and `during` go to the broker, `during` while workers send; `posted` goes over HTTP at the same time.

    `events_before` and `events_during` are their events, each once; `unnamed` of them have no id of their own.
    `refused` are the messages that must end in the dead queue, by the kind of their mistake.
    """

    before: Sequence[Message]
    during: Sequence[Message]
    posted: Sequence[Message]
    events_before: Sequence[Event]
    events_during: Sequence[Event]
    unnamed: int
    refused: Sequence[tuple[str, Message]]
    refused_over_http: Sequence[Message]

    @property
    def all_events(self) -> list[Event]:
        return [*self.events_before, *self.events_during]


def drawn(events: int, seed: int, *, now: datetime, trap: Path, redis: bool, refused: int | None = None) -> Programme:
    """The programme. `events` is the number of messages for the broker; `refused` of them are not events (1 % by
    default).

    `trap` is the file that the pickles would create.
    """
    draw = random.Random(seed)
    refused, again = round(events * SPOILT) if refused is None else refused, round(events * DUPLICATES)
    good = events - refused - again
    early = round(good * SHARE_BEFORE)
    first = list(_flat(events_of(BEFORE, early, first=0, began=now - BEGAN, draw=draw)))
    then = list(_flat(events_of(DURING, good - early, first=early, began=now - BEGAN, draw=draw)))
    by_http = round(len(then) * POSTED)
    extra = list(_flat(events_of(DURING, by_http, first=early + good, began=now - BEGAN, draw=draw)))

    forms = {id(one): _form(one, draw) for one in [*first, *then]}
    early_messages = [written(one, forms[id(one)]) for one in first]
    late_messages = [written(one, forms[id(one)]) for one in then]
    bad = list(spoilt(refused - min(CONFLICTS, refused), trap, envelopes=redis))
    # Conflicts with events that were stored long before, so that it is certain which one came first.
    known = [one for one in first if one.kind == REQUESTED and forms[id(one)] == "structured"]
    conflicts = [("a conflict", _conflict(one)) for one in draw.sample(known, min(CONFLICTS, refused, len(known)))]
    half = len(bad) // 2
    return Programme(
        before=_mixed(early_messages, [one for _, one in bad[:half]], again // 2, draw),
        during=_mixed(late_messages, [one for _, one in (*bad[half:], *conflicts)], again - again // 2, draw),
        # Over HTTP also some events that come over the broker.
        posted=[*(written(one, draw.choice(("structured", "ce-"))) for one in extra), *_named(then, forms, draw)],
        events_before=first,
        events_during=[*then, *extra],
        unnamed=sum(form == ROW for form in forms.values()),
        refused=[*bad, *conflicts],
        refused_over_http=[
            one for _, one in spoilt(60, trap, envelopes=False) if one.encoding is None and len(one.body) < 100_000
        ],
    )


def _flat(stories: Iterator[list[Event]]) -> Iterator[Event]:
    for story in stories:
        yield from story


def _form(event: Event, draw: random.Random) -> str:
    # Without an id, the bytes of a row are its id: only an event that comes once can have no id.
    if event.kind == REQUESTED and event.time is None and draw.random() < 0.2:
        return ROW
    return draw.choice(FORMS)


def _named(events: Sequence[Event], forms: dict[int, str], draw: random.Random) -> list[Message]:
    """Some of the events again, in another form than on the bus."""
    with_ids = [one for one in events if forms[id(one)] != ROW]
    return [written(one, "ce-") for one in draw.sample(with_ids, min(len(with_ids), max(len(events) // 40, 1)))]


def _conflict(event: Event) -> Message:
    return written(replace(event, data={**event.data, "email": REFUSED}), "structured")


def _mixed(messages: Sequence[Message], bad: Sequence[Message], duplicates: int, draw: random.Random) -> list[Message]:
    """The messages in an order in which some overtake others, mixed with the bad ones and with duplicates."""
    placed = [(index + draw.random() * WINDOW, message) for index, message in enumerate(messages)]
    placed += [(draw.random() * len(messages), message) for message in bad]
    for index in draw.sample(range(len(messages)), min(duplicates, len(messages))):
        placed.append((index + draw.random() * 2 * WINDOW, messages[index]))
    return [message for _, message in sorted(placed, key=lambda one: one[0])]


assert set(PREFIXES) < set(FORMS)  # noqa: S101 -- a form of its own each
