"""The priorities of rows. A claim takes the lower number first."""

# Jobs of events go before jobs of batches, except for the share that `concurrency.share_out` keeps for batches.
EVENT, BATCH = 0, 10
PRIORITIES = (EVENT, BATCH)
# Added to the priority of a paused batch's rows. No claim asks for these priorities, so paused rows slow no claim.
PAUSED = 100
# Added to the priority of a list's rows behind its pilot, until the verdict. A pause leaves them as they are.
HELD_BACK = 200


def of_a_person(job: int) -> int:
    """The priority of a message that a person sends for a job with this one: a pause of its batch does not hold it."""
    return job % PAUSED


def of_reminders(job: int) -> int:
    """The priority of the reminders of a job with this one: a list's, also for an event's, since no caller waits."""
    return BATCH if job in PRIORITIES else BATCH + PAUSED
