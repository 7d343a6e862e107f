"""When Python looks for garbage: rarely. Most objects of a chunk of rows live until the chunk is written or counted, so
looking for garbage among them takes time and finds nothing."""

import gc
import os

# After so many new objects; and how often a look at young objects is followed by one at older ones.
_NEW_OBJECTS, _YOUNG_PER_OLD, _OLD_PER_OLDEST = 50_000, 20, 50
_frozen: set[int] = set()


def collect_rarely() -> None:
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_PER_OLD, _OLD_PER_OLDEST)


def tune_gc() -> None:
    """Also exempt the objects that exist now, once in each process: those of a process that works for long."""
    if os.getpid() not in _frozen:
        _frozen.add(os.getpid())
        gc.freeze()
        collect_rarely()
