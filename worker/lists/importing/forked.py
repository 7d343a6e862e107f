"""Runs a generator in a child process, so that this process and the generator have a core each. The child is a fork: it
has what its parent has, keys too, without reading or being given anything. It is made only where that is safe: on
Linux, while this process has one thread. It must use none of its parent's connections."""

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar

from onboarding_worker.core.foundation.garbage import collect_rarely

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)
_THREADS = Path("/proc/self/task")
_TRIES, _PAUSE = 50, 0.002  # seconds
Item = TypeVar("Item")


class ChildEnded(Exception):
    """The child has ended before its last item: it was killed, or had an error, which its work has here too."""


class Forked(Generic[Item]):
    """The child, which waits for `items`. It is a little ahead of the items that were asked for, by two at most."""

    def __init__(self, connection: "Connection", pid: int) -> None:
        self._connection, self.pid = connection, pid

    def items(self, *arguments: Any) -> Iterator[Item]:
        """What the generator yields for these arguments, which are sent to it. Call this once. Raises ChildEnded."""
        try:
            self._connection.send(arguments)
            while (found := self._connection.recv()) is not None:
                yield found[0]
        except (EOFError, OSError) as error:
            raise ChildEnded(f"process {self.pid} has ended: {type(error).__name__}") from None


@contextmanager
def forked(work: Callable[..., Iterator[Item]]) -> Iterator[Forked[Item] | None]:
    """A child that runs `work`, and is gone at the end; None where none can be made. Items are pickled. If this process
    dies, the child ends with its next item."""
    if sys.platform != "linux" or not _alone():
        yield None  # another thread may hold a lock, which nothing in the child would give back
        return
    import multiprocessing  # imported here: short lists are judged in this process

    ours, theirs = multiprocessing.Pipe()
    gc.freeze()  # no collection looks through what is there already: the child's pages stay shared, and both save time
    child = multiprocessing.get_context("fork").Process(target=_run, args=(work, ours, theirs), daemon=True)
    try:
        child.start()
    except OSError as error:  # no memory, or as many processes as this user or container may have
        gc.unfreeze()
        ours.close()
        theirs.close()
        log.info("no second process can be made (%s)", type(error).__name__)
        yield None
        return
    theirs.close()
    assert child.pid is not None  # noqa: S101 -- for mypy: it was started
    try:
        yield Forked(ours, child.pid)
    finally:
        gc.unfreeze()
        ours.close()
        child.kill()  # it has nothing to tidy up
        child.join()


def _alone() -> bool:
    """Whether this process has one thread. The system still shows one that was joined a moment ago."""
    for _ in range(_TRIES):
        if len(os.listdir(_THREADS)) == 1:
            return True
        time.sleep(_PAUSE)
    return False


def _run(work: Callable[..., Iterator[Item]], ours: "Connection", theirs: "Connection") -> Never:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this child
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ours.close()  # the parent's end: without this, its death would not show here
    collect_rarely()
    try:
        for item in work(*theirs.recv()):
            theirs.send((item,))
        theirs.send(None)
    except (EOFError, OSError):
        os._exit(0)  # the parent has ended
    except Exception as error:  # the parent does this work itself then, and shows its own error
        log.debug("the child process has ended: %s", type(error).__name__)
        os._exit(1)
    os._exit(0)  # not the parent's clean-up
