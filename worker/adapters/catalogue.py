"""The adapters of one kind by name: our own, and those that other installed packages declare as entry points.

An entry point is code that the operator has installed. It is imported when its name is used first, and not before.
"""

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePath
from typing import Any, TypeVar

# The name is part of columns (`NAME.PARAMETER`), and stands in tables and messages.
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
F = TypeVar("F")


class AdapterBroken(Exception):
    """An adapter that cannot be loaded. The text names the adapter, its package and the place, and no value."""


@dataclass(frozen=True)
class Foreign:
    """An adapter of another package. `package` is its name and version, such as `onboarding-acme 0.1.0`."""

    name: str
    package: str
    point: EntryPoint


class Catalogue:
    """The adapters of one group by name. `built_in` has our own: `module:ATTRIBUTE` by name, as an entry point."""

    def __init__(self, group: str, built_in: Mapping[str, str]) -> None:
        self.group, self.built_in = group, built_in
        self._loaded: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._by_name

    def __iter__(self) -> Iterator[str]:
        """All names, our own first."""
        yield from self.built_in
        yield from self._by_name

    @cached_property
    def foreign(self) -> tuple[Foreign, ...]:
        """The adapters of other packages, in the order of their names."""
        found = {(point.name, _package(point)): point for point in entry_points(group=self.group)}
        return tuple(Foreign(name, package, found[name, package]) for name, package in sorted(found))

    @cached_property
    def _by_name(self) -> dict[str, Foreign]:
        return {one.name: one for one in self.foreign if one.name not in self.built_in}

    def clashes(self) -> list[str]:
        """Why names cannot be used, a line each. Which of two adapters gets the calls must not be chance."""
        by_name: dict[str, list[str]] = {}
        for one in self.foreign:
            by_name.setdefault(one.name, []).append(one.package)
        why = []
        for name, packages in by_name.items():
            shown = name if NAME.fullmatch(name) else ascii(name[:64])
            if shown != name:
                why.append(f"{packages[0]}: its adapter has the name {shown}: expected small letters, digits and -")
            elif name in self.built_in:
                why.append(f"{packages[0]}: its adapter has the name {name}, which is built in: uninstall the package")
            elif len(packages) > 1:
                why.append(f"{' and '.join(packages)}: both have an adapter {name}: uninstall one")
        return why

    def load(self, name: str) -> Any:
        """The adapter; None if there is none of this name. Raises AdapterBroken."""
        if name not in self._loaded and name in self:
            own = self.built_in.get(name)
            point = EntryPoint(name, own, self.group) if own else self._by_name[name].point
            try:
                self._loaded[name] = point.load()
            except Exception as error:  # code of others: whatever it raises, only its own accounts must suffer
                if own:
                    raise
                # The text of a foreign exception may hold a value. Its type and its place do not.
                why = f"the adapter {name} of {self._by_name[name].package} cannot be loaded: {_place(error)}"
                raise AdapterBroken(why) from None
        return self._loaded.get(name)

    def facts(self, name: str, kind: type[F], wanted: str) -> F | None:
        """The adapter's `facts`; None if there is none of this name. Raises AdapterBroken, also for no `wanted`."""
        adapter = self.load(name)
        facts = getattr(adapter, "facts", None)
        if adapter is None or isinstance(facts, kind):
            return facts
        package = self._by_name[name].package
        raise AdapterBroken(f"the adapter {name} of {package} cannot be used: its entry point is no {wanted}")

    def forget(self) -> None:
        for known in ("foreign", "_by_name"):
            self.__dict__.pop(known, None)
        self._loaded.clear()


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    missing = f" ({error.name})" if isinstance(error, ImportError) and error.name else ""
    return f"{type(error).__name__}{missing} at {PurePath(last.filename).name}, line {last.lineno}"


def _package(point: EntryPoint) -> str:
    found = point.dist
    return f"{found.name} {found.version}" if found else "a package without a name"
