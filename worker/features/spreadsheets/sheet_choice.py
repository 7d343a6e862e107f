"""Which sheet of a workbook is the list: the only one, or the one that is named."""

from collections.abc import Sequence

from worker.lists.lines import ListRefused

_MOST_NAMED = 20
_LONGEST_NAME = 40  # characters; a spreadsheet allows 31


def chosen(names: Sequence[str], hidden: Sequence[str], asked: str | None) -> str:
    """The name of the sheet. `names` are those that a person sees. Raises ListRefused, which names them."""
    if asked is not None:
        wanted = _plain(asked)
        found = [name for name in (*names, *hidden) if name == asked] or [
            name for name in (*names, *hidden) if _plain(name) == wanted
        ]
        if len(found) != 1:
            raise ListRefused([f"the workbook has no sheet {_shown(asked)}; it has {_listed(names)}"])
        return found[0]
    if not names:
        raise ListRefused(["the workbook has no sheet that can be seen: show the list's sheet and save it again"])
    if len(names) > 1:
        raise ListRefused(
            [
                f"the workbook has {len(names):,} sheets, {_listed(names)}: "
                "choose one with --sheet NAME, or save the list alone"
            ]
        )
    return names[0]


def hidden_warning(hidden: Sequence[str]) -> list[str]:
    """What to say about sheets that a person does not see, and that are not read."""
    return [f"hidden sheets are not read: {_listed(hidden)}"] if hidden else []


def _plain(name: str) -> str:
    return " ".join(name.lower().split())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(map(_shown, names[:_MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _shown(name: str) -> str:
    return '"' + "".join(sign if sign.isprintable() else "?" for sign in name[:_LONGEST_NAME]) + '"'
