"""How many sessions may be asked for before their messages would leave too late. Pure.

Providers open sessions faster than senders send. In a queue that is longer than a link's life each link would be too
old at its turn, and replaced, and too old again: paid for, and never sent. So issuing waits for the senders.
"""

from datetime import datetime, timedelta

# The queue may take this share of the time that a link keeps. The rest is for what the queue's length does not tell:
# events that go first, retries, a limit that turns out lower, a short pause.
SHARE = 0.5


def room(
    *,
    keeps: timedelta,
    interval: timedelta,
    waiting: int,
    paused_until: datetime | None,
    stopped: bool,
    now: datetime,
) -> int | None:
    """How many more sessions may be asked for, for messages of one channel; None: any number.

    `keeps` is how old a link may be when it leaves: its lifetime less its freshness floor, of several routes the
    shortest. `interval` is the least time between two messages of the channel (zero: no limit), `waiting` how many are
    due and have not left. A channel that is paused or stopped sends nothing, so nothing is asked for either. An empty
    queue has room for one, however slow the channel is.
    """
    if stopped or (paused_until is not None and paused_until > now):
        return 0
    if not interval:
        return None
    return max(keeps * SHARE // interval - waiting, 0 if waiting else 1)
