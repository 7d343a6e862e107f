"""`onboard customer`: a group whose commands are loaded when they are used, since the desk types them all day."""

import click

from onboarding_worker.cli.registry import Commands


@click.group(cls=Commands)
def customer() -> None:
    """Find a customer, show what happened, and help: the link again, a new link, another address."""
