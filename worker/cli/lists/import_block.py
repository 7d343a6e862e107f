"""The `[import]` block for onboarding.toml that reads a list without options."""

import json
from collections.abc import Iterable, Mapping

from worker.lists.options import ListOptions
from worker.lists.rules import WORDED
from worker.settings.model import Import


def block_for(
    options: ListOptions,
    configured: Import,
    *,
    renames: Mapping[str, str] | None = None,
    ignore: Iterable[str] = (),
    unread: Iterable[str] = (),
) -> list[str]:
    """The lines of the block; none if the configuration has all of it already.

    `renames` and `ignore` are suggestions for columns that are not known. `unread`: our columns with unknown words.
    """
    columns = {**options.mapping, **(renames or {})}
    # Two columns of one name are one name here.
    left_out = [*configured.ignore, *sorted(options.ignore - {*configured.ignore}), *dict.fromkeys(ignore)]
    keys = []
    if left_out:
        keys.append(f"ignore = [{', '.join(map(_quoted, left_out))}]")
    if options.dates is not None:
        keys.append(f"dates = {_quoted(options.dates.text)}")
    lines = []
    if (columns, tuple(left_out), options.dates) != (configured.columns, configured.ignore, configured.dates):
        lines += ["[import]", *keys] if keys else []
        if columns:
            lines += ["[import.columns]", *(f"{_quoted(theirs)} = {_quoted(ours)}" for theirs, ours in columns.items())]
    instead = bool(lines) and not renames
    if worded := [column for column in WORDED if column in {*(renames or {}).values(), *unread}]:
        # A list's words are not repeated: a comment, which changes nothing.
        lines += ["# [import.values]"]
        lines += [f'# {column} = {{ "THEIRS" = "OURS" }}' for column in worded]
    if not lines:
        return []
    return ["", f"for onboarding.toml{', in place of these options' if instead else ''}:", *lines]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML has JSON's escapes
