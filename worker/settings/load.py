"""Reads onboarding.toml and the environment into checked `Settings`, or reports all problems at once."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from onboarding_worker.core.foundation.notation import counted, show_duration
from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.providers.facts import PROVIDERS, TEXT_SERVICES, AdapterBroken
from onboarding_worker.settings import rules
from onboarding_worker.settings.accounts import Account
from onboarding_worker.settings.model import LadderStep, Settings, whole_model
from onboarding_worker.settings.needs import EVERYTHING, Needs
from onboarding_worker.settings.outside import SenderOfEvents, check_senders
from onboarding_worker.settings.problems import Findings, SettingsError, nearest
from onboarding_worker.settings.problems import Path as KeyPath
from onboarding_worker.settings.queue_names import check_names
from onboarding_worker.settings.reading import Reader, apply_overrides
from onboarding_worker.settings.rights import check_rights
from onboarding_worker.settings.secrets import HOW, Secret, directory_doubt, is_of_another_user, is_writable_by_others
from onboarding_worker.settings.sending import BrandSection, NamedBrand, check_brands, check_whatsapp
from onboarding_worker.settings.shape import SECTIONS, is_too_deep, keys_of, tables_of
from onboarding_worker.settings.tls import Client, check_one_host, check_tls
from onboarding_worker.settings.values import Section, Shown

FILE = "onboarding.toml"
VARIABLE = "ONBOARDING_CONFIG"
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
MOST_NAME = 63
OF_BRAND = keys_of(BrandSection)  # the other keys of [brand] are tables with names of one's own
Model = TypeVar("Model", bound=Section)


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
    findings = Findings(file.parent, apply_overrides(tree, whole_model(), environ))
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
    reader = Reader(environ, owner, findings, needs, own_keys=own_keys, root=whole_model())
    return _check(reader.table(tree, whole_model()), file, findings)


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


def _sections(tree: dict[str, Any], findings: Findings) -> tuple[dict[str, Any], dict[str, dict[Any, Any]]]:
    """The sections, by name, each checked alone: those that are one table, None where it has a mistake; and those that
    are several, without the tables that have one."""
    parts: dict[str, Any] = {}
    several: dict[str, dict[Any, Any]] = {}
    longest = {one.name: one.named or MOST_NAME for one in SECTIONS.offered()}
    for name, field in keys_of(whole_model()).items():
        kind = tables_of(field.annotation)
        if kind is not None and kind.kind != "one":
            form: type[dict[Any, Any] | list[Any]] = list if kind.kind == "listed" else dict
            several[name] = _several(
                kind.model, (name,), tree.get(name, form()), findings, form, longest.get(name, MOST_NAME)
            )
        elif kind is not None and (name in tree or field.is_required()):
            table = tree.get(name, {})
            if name == "brand" and isinstance(table, dict):
                table = {key: value for key, value in table.items() if key in OF_BRAND}
            parts[name] = _section(kind.model, table, (name,), findings)
    return parts, several


def _check(tree: dict[str, Any], file: Path, findings: Findings) -> Settings:
    senders = _several(SenderOfEvents, ("web", "senders"), _taken(tree, "web", "senders", {}), findings)
    ladder = _several(LadderStep, ("follow_up", "ladder"), _taken(tree, "follow_up", "ladder", []), findings, list)
    look = tree.get("brand")
    named_brands = {key: one for key, one in look.items() if key not in OF_BRAND} if isinstance(look, dict) else {}
    brands = _several(NamedBrand, ("brand",), named_brands, findings)
    parts, several = _sections(tree, findings)
    accounts, routes = several.pop("accounts"), several.pop("routes")
    tables = tree.get("accounts", {})
    given = {name: one for name, one in tables.items() if isinstance(one, dict)} if isinstance(tables, dict) else {}
    if not tables:
        needed = "at least one account is needed: [accounts.NAME] with its provider and keys"
        findings.consequence(("accounts",), f"{needed}; `onboard init` writes one")
    if not tree.get("routes", []):
        example = next(iter(given), "NAME")
        to_send = f'to send every row to `{example}`: [[routes]] accounts = ["{example}"]'
        findings.consequence(("routes",), f"at least one route is needed; {to_send}")
    for account in accounts.values():
        rules.check_account(account, findings)
    rules.check_routes(routes, accounts, list(given), brands, findings)
    check_brands(brands, tree, findings)
    if web := parts["web"]:
        web = parts["web"] = web.model_copy(update={"senders": senders})
        if rights := parts["rights"]:
            check_rights(rights, senders, findings)
        if "bus" not in tree or parts["bus"]:
            check_senders(web.senders, parts.get("bus"), parts["broker"], findings)
        if not is_loopback(web.host) and not rules.has_credentials(parts, accounts.values()):
            findings.consequence(("web", "bind"), rules.no_credentials())
    if (broker := parts["broker"]) and ("bus" not in tree or parts["bus"]):
        check_names(broker.prefix, parts.get("bus"), findings)
    clients: dict[KeyPath, Client] = {(name,): part for name, part in parts.items() if isinstance(part, Client)}
    for at, all_ in ({"accounts": accounts} | several).items():
        clients |= {(at, each): one for each, one in all_.items() if isinstance(one, Client)}
    check_tls(clients, findings)
    check_one_host(accounts, findings)
    if parts["database"] and not parts["database"].lacks("url"):
        rules.check_database(parts["database"], findings)
    if encryption := parts["encryption"]:
        for index, key in enumerate(encryption.digest_key):
            if key in encryption.keys:
                findings.problem(("encryption", "digest_key", index), "one of `keys`: digests have a key of their own")
    if parts["retry"] and parts["retry"].first > parts["retry"].most:
        findings.consequence(("retry", "first"), "expected no more than retry.most")
    if invitations := parts["invitations"]:
        rules.check_quiet_hours(invitations, accounts, findings)
        rules.check_templates(invitations, findings)
        if invitations.fallback and invitations.fallback not in tree:
            findings.consequence(("invitations", "fallback"), f"needs the section [{invitations.fallback}]")
    if follow_up := parts["follow_up"]:
        rules.check_ladder(ladder, follow_up.reminders, accounts, tree, findings)
        rules.check_ahead(follow_up, accounts, findings)
        parts["follow_up"] = follow_up.model_copy(update={"ladder": tuple(ladder.values())})
        rules.check_denial_reasons(parts["retry_after_denial"], follow_up.most, findings)
    accounts = rules.share_budgets(accounts, given, findings)
    if parts.get("whatsapp") and "sms" not in tree:
        findings.consequence(("sms",), "missing, and needed for [whatsapp]: its account sends them")
    elif parts.get("whatsapp") and parts.get("sms"):
        check_whatsapp(parts["whatsapp"], parts["sms"], findings)
    for one in SECTIONS.offered():
        if section := (parts | several).get(one.name):
            one.check(section, tree, findings)
        if one.name in several:
            parts[one.name] = tuple(several[one.name].values()) if one.listed else several[one.name]
    if findings.problems:
        raise SettingsError(findings.lines)
    parts |= {
        "path": file,
        "warnings": tuple(findings.warnings),
        "sources": findings.sources,
        "accounts": accounts,
        "brands": brands,
        "routes": tuple(routes.values()),
    }
    # Each part was checked: to check the whole again, pydantic would build the validators of all tables once more.
    return whole_model().model_construct(**parts)


def _several(
    model: type[Model],
    path: KeyPath,
    tables: Any,
    findings: Findings,
    form: type[dict[Any, Any] | list[Any]] = dict,
    longest: int = MOST_NAME,
) -> dict[Any, Model]:
    """The good ones of the tables [path.NAME], by their names of at most so many characters; of a list, the tables
    [[path]], by their position in the file."""
    if not isinstance(tables, form):
        section = ".".join(map(str, path))
        findings.problem(
            path, f"expected a list of tables: [[{section}]]" if form is list else f"expected tables: [{section}.NAME]"
        )
        return {}
    found = {}
    for name, table in tables.items() if isinstance(tables, dict) else enumerate(tables):
        if isinstance(name, str) and (not re.fullmatch(NAME, name) or len(name) > longest):
            findings.problem((*path, name), f"expected a name of at most {longest} letters, digits, - and _")
        if one := _section(model, table, (*path, name), findings):
            found[name] = one
    return found


def _taken(tree: dict[str, Any], section: str, name: str, none: Any) -> Any:
    """The tables [section.name], taken out of the section: a mistake in one leaves the rest of the section checked."""
    given = tree.get(section, {})
    if not isinstance(given, dict) or name not in given:
        return none
    tree[section] = {key: value for key, value in given.items() if key != name}
    return given[name]


def _section(model: type[Model], given: Any, path: KeyPath, findings: Findings) -> Model | None:
    """The checked table. Bad keys are reported, and the rest is checked without them."""
    if not isinstance(given, dict):
        findings.consequence(path, "expected a table")
        return None
    if model is Account:
        given = {**given, "name": path[-1]}
        try:
            rules.check_provider_keys(path, given, findings)
        except AdapterBroken as error:
            findings.problem((*path, "provider"), str(error))
            return None
    context = {"directory": findings.directory}
    try:
        return model.model_validate(given, context=context)
    except ValidationError as error:
        bad = error.errors(include_url=False)
    for item in bad:
        # pydantic adds "[key]" if a table's key itself is bad; the path names that key already.
        loc = tuple(part for part in item["loc"] if part != "[key]")
        findings.consequence((*path, *loc), _explain(item, model, loc))
    names = {item["loc"][0] for item in bad if item["loc"]}
    given = {key: value for key, value in given.items() if key not in names}
    if model is Account and "api_key" in names:
        given["api_key"] = Secret("stand-in")  # needed: so that the rest of the table is still checked
    try:
        return model.model_validate(given, context=context)
    except ValidationError:
        return None


def _explain(error: ErrorDetails, model: type[Section], path: KeyPath) -> str:
    """The text for pydantic's error at this key of the table."""
    limits, key = error.get("ctx", {}), _key_at(model, path)
    marks = key.metadata if key is not None else []
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


def _key_at(model: type[Section], path: KeyPath) -> FieldInfo | None:
    key = keys_of(model).get(str(path[0])) if path else None
    tables = tables_of(key.annotation) if key is not None else None
    return _key_at(tables.model, path[1:]) if tables is not None and tables.kind == "one" and len(path) > 1 else key
