"""Where the log is sealed: in each sweep, and at the end of each command."""

import logging
from collections.abc import Callable

import click
import sqlalchemy as sa

from worker.cli.opening import AfterCommand
from worker.features.audit.sealing import Sealing
from worker.features.audit.store.sealing import NotSigned, seals_of
from worker.reporting.store.look import Looked, Step
from worker.wiring.container import Parts
from worker.wiring.sweep import SweepStep

log = logging.getLogger(__name__)


def _swept(parts: Parts) -> Callable[[Looked], None]:
    sealing = Sealing(parts.once(seals_of), parts.clock)

    def seal(looked: Looked) -> None:
        sealing.step(unsealed=Step.AUDIT in looked.steps)

    return seal


def _seal(parts: Parts) -> None:
    """Seal what the command has added. If that fails now, the next command or sweep does it."""
    try:
        if parts.once(seals_of).seal() is not None and parts.restored is not None:
            parts.restored.mark(now=parts.clock(), at_once=True)
    except NotSigned as error:
        click.echo(f"warning: {error}: `onboard audit verify` says what is wrong", err=True)
    except sa.exc.SQLAlchemyError:
        log.debug("the audit log was not sealed at the command's end")


SWEEP_STEP = SweepStep(_swept)
AFTER_COMMAND = AfterCommand(_seal)
