"""All randomness of a history comes from its seed: ids, tokens, jitter, delays, and the order of the processes."""

import importlib
import os
import pkgutil
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import onboarding_worker

_random_module: Any = random


@contextmanager
def all_from(seed: int) -> Iterator[None]:
    """Within this, `random`, `secrets`, `uuid` and `os.urandom` give the same values for the same seed.

    Sets of texts have the same order only if PYTHONHASHSEED is fixed, so the command runs with it.
    """
    _load_all()
    bytes_of = random.Random(f"{seed}/bytes").randbytes
    kept = os.urandom, _random_module._urandom, random.getstate()
    os.urandom = _random_module._urandom = bytes_of
    random.seed(f"{seed}/random")
    try:
        yield
    finally:
        os.urandom, _random_module._urandom = kept[:2]
        random.setstate(kept[2])


@cache
def _load_all() -> None:
    """Load all modules: SQLAlchemy draws names for the statements of each, and only the first history would load it."""
    for module in pkgutil.walk_packages(onboarding_worker.__path__, f"{onboarding_worker.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@contextmanager
def untouched() -> Iterator[None]:
    """What is drawn within this is not drawn from the history's chance: who only looks changes nothing."""
    kept, drawn = (os.urandom, _random_module._urandom), random.getstate()
    os.urandom = _random_module._urandom = random.Random(0).randbytes
    try:
        yield
    finally:
        os.urandom, _random_module._urandom = kept
        random.setstate(drawn)
