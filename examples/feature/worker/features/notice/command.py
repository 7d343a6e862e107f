"""The command `notice`."""

import click

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.invocation import Invocation
from onboarding_worker.features.notice.store import notices
from onboarding_worker.features.notice.store.tables import LONGEST
from onboarding_worker.settings.needs import STORED


@click.command()
@click.argument("text")
@click.pass_obj
def notice(invocation: Invocation, text: str) -> None:
    """Show TEXT as the notice of the web server."""
    if len(text) > LONGEST:
        raise CannotStart(f"the notice has more than {LONGEST} characters")
    with invocation.parts(STORED, migrate=True) as parts:
        notices.write(parts.database, text, now=parts.clock())
    click.echo("the notice is shown")
