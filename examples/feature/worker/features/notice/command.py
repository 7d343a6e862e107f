"""The command `notice`."""

import click

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation
from worker.features.notice.store import notices
from worker.features.notice.store.tables import LONGEST
from worker.settings.needs import STORED


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
