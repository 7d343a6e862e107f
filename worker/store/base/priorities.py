"""Whose rows go first when they are taken."""

# An event's jobs go before a batch's, but for a share that `event_share` keeps.
EVENT, BATCH = 0, 10
PRIORITIES = (EVENT, BATCH)
# Added to the priority of a paused batch's rows: none that is taken then, so that they cost the others nothing.
PAUSED = 100
