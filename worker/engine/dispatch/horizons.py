"""How far ahead of its call a slot is reserved."""

from datetime import timedelta

from worker.engine.dispatch.headroom import FLUSH_EVERY_MOST

# How much further ahead slots are reserved for events. Events can be claimed when all slots within the horizon are
# reserved: the event takes the next slot of this dispatcher, and the new slot is for a batch row.
EVENTS_AHEAD = timedelta(milliseconds=400)


def furthest_slot(lead: timedelta) -> timedelta:
    """How far ahead a slot may be; a longer wait would come from a wrong clock. `lead`: from a claim to its calls."""
    clock_set_meanwhile = timedelta(seconds=1)
    return 2 * FLUSH_EVERY_MOST + EVENTS_AHEAD + 2 * lead + clock_set_meanwhile
