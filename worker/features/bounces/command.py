"""`onboard events bounces`: mails that came back."""

import click

from onboarding_worker.cli.exits import CannotStart, Stopped
from onboarding_worker.cli.invocation import Said, saying
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.features.bounces.mailbox import CannotRead
from onboarding_worker.features.bounces.reader import BounceReader
from onboarding_worker.settings.needs import ENCRYPTING, Need
from onboarding_worker.web.webhooks.store.webhooks import process_webhooks
from onboarding_worker.wiring.container import Parts

READING = ENCRYPTING | {Need.SENDING, Need.BOUNCES}


@click.group()
def bounces() -> None:
    """Mails that came back to the mailbox of [bounces]."""


@bounces.command("read")
@saying(READING, migrate=True)
def read_bounces(parts: Parts) -> Said:
    """Read the mailbox now, and apply its reports. Workers, `up` and `run` do the same every minute.

    A report is removed from the mailbox once it is stored. Other mails, such as answers of customers, stay in it,
    marked as read. docs/features/bounces.md says how to set the mailbox up.
    """
    reader = BounceReader.of(parts.settings, parts.webhooks, parts.keyring, parts.clock)
    if reader is None:
        raise CannotStart("no mailbox is configured: [bounces] url and return_path (docs/features/bounces.md)")
    try:
        read = reader.read()
    except CannotRead as error:
        raise Stopped(f"the mailbox cannot be read: {error}") from None
    process_webhooks(parts.webhooks, parts.clock, parts.meters)
    lines = [f"{counted(number, 'report')}: {event}" for event, number in sorted(read.reports.items())]
    left = [f"{counted(number, 'mail')} left in the mailbox: {why}" for why, number in sorted(read.left.items())]
    return Said(vars(read), [*(lines or ["no new report"]), *left])
