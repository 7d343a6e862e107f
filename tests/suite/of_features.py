"""What the tests of features add to tables of all commands and pages: a `declared.py` beside a feature's tests."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from worker.core.features import FEATURES


def of_features(name: str) -> list[Any]:
    """Each value of this name in a `declared.py`, of the features that are here."""
    places = [f"tests.features.{feature}.declared" for feature in FEATURES.here]
    found = [import_module(place) for place in places if find_spec(place.rpartition(".")[0]) and find_spec(place)]
    return [one for module in found for one in getattr(module, name, ())]
