"""What is published in a run, in which order and by which way: drawn from a seed, so that a run can be had again."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from trials.events.spoilt import spoilt
from trials.events.stories import BEFORE, BESIDE, told_by
from trials.events.told import FORMS, PREFIXES, REQUESTED, ROW, Message, Told, written

DUPLICATES, SPOILT = 0.03, 0.01  # of all that is published
SHARE_BEFORE = 0.6  # of the events, told before anybody sends
POSTED = 0.05  # of the others, told over HTTP
BEGAN = timedelta(hours=3)  # before the run: their times lie in the past, whatever their number
WINDOW = 200  # messages that one may be too late by
CONFLICTS = 5
REFUSED = "c99999997@example.com"


@dataclass(frozen=True)
class Programme:
    """`before` and `beside` go to the broker, the second while workers send; `posted` goes by HTTP beside it.

    `told_before` and `told_beside` are what they say, each event once; `unnamed` of them have no id of their own.
    `refused` are the messages that must end in the dead queue, by what is wrong with them.
    """

    before: Sequence[Message]
    beside: Sequence[Message]
    posted: Sequence[Message]
    told_before: Sequence[Told]
    told_beside: Sequence[Told]
    unnamed: int
    refused: Sequence[tuple[str, Message]]
    refused_over_http: Sequence[Message]

    @property
    def told(self) -> list[Told]:
        return [*self.told_before, *self.told_beside]


def drawn(events: int, seed: int, *, now: datetime, trap: Path, redis: bool, refused: int | None = None) -> Programme:
    """`events` is how many messages reach the broker in all, `refused` how many of them are none: 1 % by default.

    `trap` is the file that the pickles would make.
    """
    draw = random.Random(seed)
    refused, again = round(events * SPOILT) if refused is None else refused, round(events * DUPLICATES)
    good = events - refused - again
    early = round(good * SHARE_BEFORE)
    first = list(_flat(told_by(BEFORE, early, first=0, began=now - BEGAN, draw=draw)))
    then = list(_flat(told_by(BESIDE, good - early, first=early, began=now - BEGAN, draw=draw)))
    by_http = round(len(then) * POSTED)
    extra = list(_flat(told_by(BESIDE, by_http, first=early + good, began=now - BEGAN, draw=draw)))

    forms = {id(one): _form(one, draw) for one in [*first, *then]}
    early_messages = [written(one, forms[id(one)]) for one in first]
    late_messages = [written(one, forms[id(one)]) for one in then]
    bad = list(spoilt(refused - min(CONFLICTS, refused), trap, envelopes=redis))
    # Of events that were taken long ago, so that it is plain which of the two came first.
    known = [one for one in first if one.kind == REQUESTED and forms[id(one)] == "structured"]
    conflicts = [("a conflict", _conflict(one)) for one in draw.sample(known, min(CONFLICTS, refused, len(known)))]
    half = len(bad) // 2
    return Programme(
        before=_mixed(early_messages, [one for _, one in bad[:half]], again // 2, draw),
        beside=_mixed(late_messages, [one for _, one in (*bad[half:], *conflicts)], again - again // 2, draw),
        # By HTTP, some that the broker brings too.
        posted=[*(written(one, draw.choice(("structured", "ce-"))) for one in extra), *_named(then, forms, draw)],
        told_before=first,
        told_beside=[*then, *extra],
        unnamed=sum(form == ROW for form in forms.values()),
        refused=[*bad, *conflicts],
        refused_over_http=[
            one for _, one in spoilt(60, trap, envelopes=False) if one.encoding is None and len(one.body) < 100_000
        ],
    )


def _flat(stories: Iterator[list[Told]]) -> Iterator[Told]:
    for story in stories:
        yield from story


def _form(told: Told, draw: random.Random) -> str:
    # The bytes of a row are its id: only one that is told once can do without its own.
    if told.kind == REQUESTED and told.time is None and draw.random() < 0.2:
        return ROW
    return draw.choice(FORMS)


def _named(told: Sequence[Told], forms: dict[int, str], draw: random.Random) -> list[Message]:
    """Some of them again, in another form than they have on the bus."""
    with_ids = [one for one in told if forms[id(one)] != ROW]
    return [written(one, "ce-") for one in draw.sample(with_ids, min(len(with_ids), max(len(told) // 40, 1)))]


def _conflict(told: Told) -> Message:
    return written(replace(told, data={**told.data, "email": REFUSED}), "structured")


def _mixed(messages: Sequence[Message], bad: Sequence[Message], duplicates: int, draw: random.Random) -> list[Message]:
    """In an order in which some overtake others, with the bad among them, and some of the good ones once more."""
    placed = [(place + draw.random() * WINDOW, message) for place, message in enumerate(messages)]
    placed += [(draw.random() * len(messages), message) for message in bad]
    for place in draw.sample(range(len(messages)), min(duplicates, len(messages))):
        placed.append((place + draw.random() * 2 * WINDOW, messages[place]))
    return [message for _, message in sorted(placed, key=lambda one: one[0])]


assert set(PREFIXES) < set(FORMS)  # noqa: S101 -- a form of its own each
