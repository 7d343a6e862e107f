"""The priorities of rows. A claim takes the lower number first."""

# Jobs of events go before jobs of batches, except for the share that `event_share` keeps for batches.
EVENT, BATCH = 0, 10
PRIORITIES = (EVENT, BATCH)
# Added to the priority of a paused batch's rows. No claim asks for these priorities, so paused rows slow no claim.
PAUSED = 100
