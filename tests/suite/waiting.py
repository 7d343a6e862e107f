"""How long tests wait: for all of them, here. Each wait ends as soon as it can, and its bound is reached by what hangs.

The bound is far above what a loaded machine needs, which is a minute where an idle one needs a second.
"""

import threading
import time
from collections.abc import Callable

ENDS_WITHIN = 150.0  # seconds


def wait_until(holds: Callable[[], bool], what: str | Callable[[], str], seconds: float = ENDS_WITHIN) -> None:
    """Look again and again until it holds. Fails after far longer than it can take, and says what did not come."""
    pause, waited = threading.Event(), 0.0
    while waited < seconds:  # of our own rests: a machine that stands still for a while costs one of them
        began = time.monotonic()
        if holds():
            return
        # Looking may be dear, as `onboard status` is: what is waited for, and other tests, need the processor more.
        rest = min(max(0.02, 4 * (time.monotonic() - began)), 5.0)
        pause.wait(rest)
        waited += rest
    raise AssertionError(f"still not: {what if isinstance(what, str) else what()}")
