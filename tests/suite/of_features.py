"""What tests ask of features: what each adds to tables of all commands and pages, in a `declared.py` beside its tests,
and whether it is there."""

import tomllib
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, NOT_INSTALLED


def of_features(name: str) -> list[Any]:
    """Each value of this name in a `declared.py`, of the features that are here."""
    places = [f"tests.features.{feature}.declared" for feature in FEATURES.here]
    found = [import_module(place) for place in places if find_spec(place.rpartition(".")[0]) and find_spec(place)]
    return [one for module in found for one in getattr(module, name, ())]


def is_missing(words: Sequence[str]) -> bool:
    """Whether these words after `onboard` are a command of a feature that is not here."""
    gone = (name.split() for name, feature in shipped.COMMANDS.items() if feature not in FEATURES.here)
    return any([*words[: len(name)]] == name for name in gone)


# Each feature has its size there, also one without a section, a command or a format.
ALL = frozenset(tomllib.loads((Path(__file__).parents[2] / "size.toml").read_text("utf-8"))["features"])
ALL_HERE = FEATURES.here.keys() >= ALL
needs_all = pytest.mark.skipif(not ALL_HERE, reason="a feature was taken out")


def needs(feature: str) -> pytest.MarkDecorator:
    """Skips a test, or one of its cases, where this feature is not there."""
    return pytest.mark.skipif(feature not in FEATURES.here, reason=f"{feature}: {NOT_INSTALLED}")
