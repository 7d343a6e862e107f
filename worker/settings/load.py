"""Reads onboarding.toml and the environment into checked `Settings`, or reports all problems at once."""

import os
import re
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from onboarding_worker.core.foundation.notation import counted, show_duration
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.senders.facts import TEXT_SERVICES
from onboarding_worker.settings import rules
from onboarding_worker.settings.model import Settings, whole_model
from onboarding_worker.settings.needs import EVERYTHING, Needs
from onboarding_worker.settings.problems import Findings, SettingsError, nearest
from onboarding_worker.settings.problems import Path as KeyPath
from onboarding_worker.settings.reading import Reader, apply_overrides
from onboarding_worker.settings.secrets import HOW, directory_doubt, is_of_another_user, is_writable_by_others
from onboarding_worker.settings.shape import Tables, is_too_deep, keys_of, tables_of
from onboarding_worker.settings.values import LENIENT, Shown

FILE = "onboarding.toml"
VARIABLE = "ONBOARDING_CONFIG"


def load(path: Path | None = None, *, environ: Mapping[str, str] = os.environ, needs: Needs = EVERYTHING) -> Settings:
    """Read the configuration: `path`, else $ONBOARDING_CONFIG, else ./onboarding.toml. A reference that is not of
    `needs` may have no value; it is a problem only where its value is used. Raises SettingsError with one line for each
    problem, with its key and without its value."""
    named = path or environ.get(VARIABLE)
    file = Path(named or FILE).absolute()
    if clashes := [*PROVIDERS.clashes(), *TEXT_SERVICES.clashes()]:
        raise SettingsError(clashes)
    tree, owner = _parse(file, is_named=bool(named))
    if is_too_deep(tree):
        raise SettingsError([f"{file}: is nested too deeply"])
    findings = Findings(file.parent, apply_overrides(tree, environ))
    with suppress(OSError):  # it was read: only its directory may not be
        if doubt := directory_doubt(file):
            findings.warnings.append(f"{file}: {doubt}")
    if isinstance(encryption := tree.setdefault("encryption", {}), dict):
        encryption.setdefault("keys", [{"env": "ONBOARDING_KEY"}])
    # Callbacks of these tables are not verified by their token.
    own_keys = {
        name
        for name in channels_of("phone")
        if isinstance(texting := tree.get(name), dict) and (texting.get("callback_key") or texting.get("key"))
    }
    reader = Reader(environ, owner, findings, needs, own_keys=own_keys)
    needed: dict[str, Any] = {
        name: [] if get_origin(key.annotation) is tuple else {}
        for name, key in keys_of(whole_model()).items()
        if key.is_required()
    }
    given = needed | reader.table(tree, whole_model())
    for name, table in rules.accounts_in(given).items():
        rules.check_provider_keys(("accounts", name), table, findings)
    settings = _valid(given, findings)
    rules.check(settings, given, findings)
    accounts = rules.share_budgets(rules.good(settings.accounts), rules.accounts_in(given), findings)
    if findings.problems:
        raise SettingsError(findings.lines)
    return settings.model_copy(
        update={"path": file, "warnings": tuple(findings.warnings), "sources": findings.sources, "accounts": accounts}
    )


def _parse(file: Path, *, is_named: bool) -> tuple[dict[str, Any], int]:
    """The tables, and the file's owner. `is_named`: a person has named the file, so it is not one that only lay in the
    present directory."""
    try:
        # It may name a command that is run, and where messages go.
        facts = file.stat()
        if is_writable_by_others(facts):
            closes = f"`chmod o-w {quote(str(file))}`"
            raise SettingsError([f"{file}: can be changed by other users of this machine: {closes}"])
        if not is_named and is_of_another_user(facts):
            raise SettingsError([f"{file}: is another user's: if you trust that user, name it with `--config`"])
        # What it names lies at the link: who put the link there has chosen the keys.
        if is_of_another_user(file.lstat()) and file.is_symlink():
            raise SettingsError([f"{file}: is another user's link: name the file itself with `--config`"])
        return tomllib.loads(file.read_bytes().decode("utf-8-sig")), facts.st_uid
    except FileNotFoundError:
        reason = "no such file; `onboard init` writes one, `--config PATH` names another"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or 'unknown reason'}"
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except RecursionError:
        reason = "is nested too deeply"
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).rpartition(" (at ")
        reason = f"{where.removesuffix(')')}: not TOML: {what}"
    except ValueError:
        reason = "has a number of thousands of digits"
    # Raised outside of the `except` blocks: their exceptions hold the file's text.
    raise SettingsError([f"{file}: {reason}"])


def _valid(given: dict[str, Any], findings: Findings) -> Settings:
    """The settings. Bad keys are reported, and left out: the rest is checked all the same."""
    context = {"directory": findings.directory}
    try:
        return whole_model().model_validate(given, context=context)
    except ValidationError as error:
        bad = error.errors(include_url=False)
    for item in bad:
        # pydantic adds "[key]" if a table's key itself is bad; the path names that key already.
        path = tuple(part for part in item["loc"] if part != "[key]")
        (findings.problem if path != item["loc"] else findings.consequence)(path, _explain(item, path))
    return whole_model().model_validate(given, context=context | {LENIENT: True})


def _keys_on(path: KeyPath) -> Iterator[tuple[FieldInfo | None, Tables | None]]:
    """For each part of the path down to a plain value: its key, and the tables there. A name or a position of a table
    is no key."""
    tables: Tables | None = Tables("one", whole_model())
    for part in path:
        if tables is None:
            return
        key = keys_of(tables.model).get(str(part)) if tables.kind == "one" else None
        inside = tables.model if tables.kind != "one" else tables.model.named_inside
        tables = tables_of(key.annotation) if key is not None else Tables("one", inside) if inside else None
        yield key, tables


def _explain(error: ErrorDetails, path: KeyPath) -> str:
    """The text for pydantic's error at this key."""
    limits, (key, tables) = error.get("ctx", {}), deque(_keys_on(path), maxlen=1)[0]
    marks = key.metadata if key is not None else []
    if tables is not None and tables.kind != "one" and error["type"] in ("dict_type", "tuple_type"):
        name = ".".join(map(str, path))
        return f"expected tables: [{name}.NAME]" if tables.kind == "named" else f"expected a list of tables: [[{name}]]"
    match error["type"]:
        case "value_error":
            return str(limits["error"])
        case "missing":
            is_secret = any(isinstance(mark, Shown) and mark.text == "secret" for mark in marks)
            what = key.description if key is not None else ""
            return f"missing, and needed: {what}{f': {HOW}' if is_secret else ''}"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", limits["expected"])
            meant = nearest(error["input"], choices)
            return f"expected one of {', '.join(choices)}" + (f"; did you mean `{meant}`?" if meant else "")
        case "greater_than_equal":
            return f"expected at least {_bound('ge', marks, limits)}"
        case "less_than_equal":
            return f"expected at most {_bound('le', marks, limits)}"
        case "too_short" | "string_too_short" as kind:
            return f"expected at least {counted(limits['min_length'], _COUNTED[kind])}"
        case "too_long" | "string_too_long" as kind:
            return f"expected at most {counted(limits['max_length'], _COUNTED[kind])}"
        case "string_pattern_mismatch":
            return f"expected text of the form {limits['pattern']}"
        case kind:
            return _EXPECTED.get(kind, f"not accepted ({kind})")


_COUNTED = {"too_short": "item", "too_long": "item", "string_too_short": "character", "string_too_long": "character"}
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "expected a whole number"),
    **dict.fromkeys(("tuple_type", "list_type"), "expected a list: [ … ]"),
    **dict.fromkeys(("dict_type", "model_type", "mapping_type"), "expected a table"),
    **{"bool_type": "expected true or false", "string_type": "expected a string"},
}


def _bound(name: str, marks: Iterable[Any], limits: Mapping[str, Any]) -> str:
    """The key's own bound: pydantic's error has that of a duration in one of several forms of text."""
    bound = next((getattr(mark, name) for mark in marks if hasattr(mark, name)), limits[name])
    return f'"{show_duration(bound)}"' if isinstance(bound, timedelta) else str(bound)
