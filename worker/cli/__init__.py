"""`onboard`: where it starts, and how it ends. What it can do is in `commands`."""

import logging
import sys
from errno import EDQUOT, EFBIG, ENOSPC, EROFS

try:
    import click

    from worker.cli.exits import COULD_NOT_START, DONE, INTERRUPTED, NEEDS_A_PERSON
    from worker.cli.invocation import Invocation, start_logging
    from worker.cli.registry import main_group
except KeyboardInterrupt:  # loading takes long enough to be interrupted in; as below
    sys.stderr.write("interrupted; safe to run again\n")
    sys.exit(130)

# Why nothing more can be written, to a file or to standard output: no bug, and nothing to be repeated by itself.
FULL = frozenset({ENOSPC, EDQUOT, EFBIG, EROFS})


def main() -> None:
    """The console script. Ends with the codes of `exits`, and never with a traceback."""
    invocation = Invocation()
    start_logging(invocation)
    try:
        # Not standalone: Click would end with 1 when interrupted, which means that a person is needed.
        code = main_group(obj=invocation, prog_name="onboard", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else DONE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; safe to run again", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(COULD_NOT_START)  # the reader of our output has gone
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            click.echo(f"what was to be written is cut off: {error.strerror}", err=True)
            sys.exit(NEEDS_A_PERSON)
        logging.getLogger(__name__).exception("a bug")
        click.echo(f"onboard: a bug: {type(error).__name__}; --log-level debug --log-file FILE keeps more", err=True)
        sys.exit(NEEDS_A_PERSON)
