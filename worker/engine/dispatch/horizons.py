"""How far ahead of its call a slot is reserved."""

from datetime import timedelta

# How far ahead slots are reserved, half of it at a time (`rate_limits.claim_again_at`). It is short, so that an event
# at one worker does not wait for the slots that another worker has reserved, and so that a killed worker leaves few
# unknown outcomes. It is long enough for the timer and a transaction or two.
HORIZON = timedelta(milliseconds=100)
# The same where no other dispatcher works for the account. An event takes this dispatcher's next slot, however far
# ahead its slots are reserved.
HORIZON_ALONE = timedelta(milliseconds=200)
# How much further ahead slots are reserved for events. Events can be claimed when all slots within the horizon are
# reserved: the event takes the next slot of this dispatcher, and the new slot is for a batch row.
EVENTS_AHEAD = timedelta(milliseconds=400)


def furthest_slot(lead: timedelta) -> timedelta:
    """How far ahead a slot may be; a longer wait would come from a wrong clock. `lead`: from a claim to its calls."""
    clock_set_meanwhile = timedelta(seconds=1)
    return HORIZON_ALONE + EVENTS_AHEAD + 2 * lead + clock_set_meanwhile
