"""Writes core/foundation/shipped.py, after a feature has got a new name: `python -m
tests.core.foundation.shipped_names`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, Feature, loaded


def offered(feature: Feature, hook: str) -> list[Any]:
    return [loaded(place) for place in feature.offers.get(hook, ())]


def page() -> str:
    """The module as it should be."""
    features = FEATURES.here.values()
    found: dict[str, Mapping[str, str | tuple[str, str]]] = {
        "SECTIONS": {section.name: one.name for one in features for section in offered(one, "SECTIONS")},
        "COMMANDS": {name: one.name for one in features for name in one.commands},
        "FORMATS": {kind.form: one.name for one in features for kind in offered(one, "LIST_FORMATS")},
        "SERVES": {one.name: one.serves for one in features if one.serves},
    }
    return f'"""{shipped.__doc__}"""\n' + "".join(_written(name, owners) for name, owners in found.items())


def _written(name: str, found: Mapping[str, str | tuple[str, str]]) -> str:
    if not found:
        return f"\n{name}: dict[str, {'tuple[str, str]' if name == 'SERVES' else 'str'}] = {{}}\n"
    pairs = [f'"{one}": {_value(said)}' for one, said in sorted(found.items())]
    line = f"{name} = {{{', '.join(pairs)}}}"
    lines = [f"{name} = {{", *(f"    {pair}," for pair in pairs), "}"]
    return "\n".join(["", *([line] if len(line) <= 120 else lines), ""])


def _value(said: str | tuple[str, str]) -> str:
    """As `ruff format` leaves it, if no pair of texts fits in a line."""
    return f'"{said}"' if isinstance(said, str) else '(\n        "{}",\n        "{}",\n    )'.format(*said)


if __name__ == "__main__":
    Path(shipped.__file__).write_text(page(), encoding="utf-8")
