"""The features of this installation: which there are, and what each offers to the code that asks for it.

A feature is a folder in worker/features. Its `__init__` has a `FEATURE` and imports only this module: the command line
knows all features and loads none. Nothing but this module finds features, and no code names one. Code that features can
add to owns a `Hook`, and asks it for their pieces.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

# Each is made where it is asked. A feature that offers to another one has a slip in its manifest.
HOOKS = frozenset(
    {
        "AFTER_COMMANDS",
        "COUNTS",
        "DASHBOARD_PARTS",
        "DOCTOR_CHECKS",
        "LIST_FORMATS",
        "LIST_SOURCES",
        "LOG_IN_WAYS",
        "OBSERVERS",
        "OWN_LINKS",
        "RETURNED_REPORTS",
        "ROUTES",
        "SECTIONS",
        "SENDER_SOURCES",
        "STANDINGS",
        "SWEEP_STEPS",
        "TABLES",
        "TELLERS",
        "TRACES",
        "WAYS_BACK",
        "WORK",
    }
)
NOT_INSTALLED = "this feature is not installed"
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Command:
    """A command of `onboard`: its place as "module:attribute", the group of `--help` that it is in (`GROUPS` of
    `cli.registry`), its line of help, and the extra that it needs. One named "events x" is in the group `events`.
    """

    place: str
    group: str
    help: str
    extra: str = ""


@dataclass(frozen=True)
class Feature:
    """What a feature says of itself, before anything of it is loaded.

    `about`: what it does, and what is lost without it. `needs`: the features without which it is off. `uses`: those
    that it imports only where they are there. `offers`: the places of its pieces ("module:attribute"), by the hook.
    `serves`: what it must go on serving, and a query that has a row while there is such a thing: then no process starts
    without the feature.
    """

    name: str
    about: str
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    commands: Mapping[str, Command] = field(default_factory=dict)
    serves: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if unknown := self.offers.keys() - HOOKS:
            raise ValueError(f"the feature {self.name} offers to hooks that there are not: {sorted(unknown)}")


class Features:
    def __init__(self, package: str) -> None:
        self._package = package

    @cached_property
    def here(self) -> Mapping[str, Feature]:
        """By name, those whose folder is there, and the folders of all that they need."""
        folders = [Path(folder) for folder in import_module(self._package).__path__]
        names = sorted(path.parent.name for folder in folders for path in folder.glob("*/__init__.py"))
        found = {name: self._manifest(name) for name in names}
        while off := [name for name, one in found.items() if {*one.needs} - found.keys()]:
            for name in off:
                del found[name]
        return found

    def _manifest(self, folder: str) -> Feature:
        found = import_module(f"{self._package}.{folder}").FEATURE
        if not isinstance(found, Feature) or found.name != folder:
            raise TypeError(f"{self._package}.{folder}: its FEATURE is not the manifest of a feature of this name")
        return found


FEATURES = Features("onboarding_worker.features")


def hint(command: str, words: str) -> str:
    """Words of a message that name a feature's command; "" where that is not here."""
    return words if any(command in one.commands for one in FEATURES.here.values()) else ""


class Hook(Generic[Piece]):
    """Where features add pieces of one type. Who asks for them owns it."""

    def __init__(self, name: str, kind: type[Piece] | None = None) -> None:
        """`kind` None: each piece is a function."""
        if name not in HOOKS:
            raise ValueError(f"{name}: not one of HOOKS")
        self.name, self._kind = name, kind

    def offered(self, features: Features = FEATURES) -> tuple[Piece, ...]:
        """The pieces of the features that are there, in the order of the features' names and then of each manifest."""
        pieces = []
        for place in [place for one in features.here.values() for place in one.offers.get(self.name, ())]:
            found = loaded(place)
            if not (callable(found) if self._kind is None else isinstance(found, self._kind)):
                raise TypeError(f"{place}: {self.name} takes a {self._kind.__name__ if self._kind else 'function'}")
            pieces.append(found)
        return tuple(pieces)


def loaded(place: str) -> Any:
    """What stands at "module:attribute"."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
