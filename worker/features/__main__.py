"""Writes worker/core/shipped.py: `python -m onboarding_worker.features`, after a feature has got a new name."""

from collections.abc import Mapping
from pathlib import Path

from onboarding_worker.core import shipped
from onboarding_worker.core.features import FEATURES, Feature, loaded


def sections(feature: Feature) -> list[str]:
    return [loaded(place).name for place in feature.offers.get("SECTIONS", ())]


def formats(feature: Feature) -> list[str]:
    return [loaded(place).form for place in feature.offers.get("LIST_FORMATS", ())]


def page() -> str:
    """The module as it should be."""
    features = FEATURES.here.values()
    found: dict[str, Mapping[str, str | tuple[str, str]]] = {
        "SECTIONS": {name: one.name for one in features for name in sections(one)},
        "COMMANDS": {name: one.name for one in features for name in one.commands},
        "FORMATS": {name: one.name for one in features for name in formats(one)},
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
