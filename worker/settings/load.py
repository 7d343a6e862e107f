"""Reads onboarding.toml and the environment into checked `Settings`, or reports all problems at once."""

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from pydantic import ValidationError

from worker.core.model.channels import channels_of
from worker.providers.facts import PROVIDERS, TEXT_SERVICES, AdapterBroken
from worker.settings import rules
from worker.settings.accounts import Account
from worker.settings.brand import BrandSection, NamedBrand, check_brands
from worker.settings.budgets import share_budgets
from worker.settings.event_senders import SenderOfEvents, check_senders
from worker.settings.model import Invitations, LadderStep, Settings, whole_model
from worker.settings.needs import EVERYTHING, Needs
from worker.settings.overrides import apply_overrides
from worker.settings.problems import Findings, SettingsError, explain
from worker.settings.problems import Path as KeyPath
from worker.settings.reading import Reader, read_table
from worker.settings.routes import Route
from worker.settings.secrets import HOW, Secret, directory_doubt, is_of_another_user, is_writable_by_others
from worker.settings.sending import check_whatsapp
from worker.settings.shape import SECTIONS, is_too_deep, keys_of, tables_of
from worker.settings.tls import Client, check_one_host, check_tls
from worker.settings.values import Section, Shown

FILE = "onboarding.toml"
VARIABLE = "ONBOARDING_CONFIG"
DEFAULT_KEY = {"env": "ONBOARDING_KEY"}
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
MOST_NAME = 63
# Values for missing keys, so that the rest of the table is still checked.
STAND_INS: dict[tuple[type[Section], str], Any] = {
    (Account, "api_key"): Secret("stand-in"),
}
Model = TypeVar("Model", bound=Section)


def load(path: Path | None = None, *, environ: Mapping[str, str] = os.environ, needs: Needs = EVERYTHING) -> Settings:
    """Read the configuration: `path`, else $ONBOARDING_CONFIG, else ./onboarding.toml.

    A reference that is not of `needs` may have no value; it is a problem only where its value is used. Raises
    SettingsError with one line for each problem, with its key and without its value.
    """
    named = path or environ.get(VARIABLE)
    file = Path(named or FILE).absolute()
    if clashes := [*PROVIDERS.clashes(), *TEXT_SERVICES.clashes()]:
        raise SettingsError(clashes)
    tree, owner = _parse(file, is_named=bool(named))
    if is_too_deep(tree):
        raise SettingsError([f"{file}: is nested too deeply"])
    findings = Findings(apply_overrides(tree, whole_model(), environ))
    with suppress(OSError):  # it was read: only its directory may not be
        if doubt := directory_doubt(file):
            findings.warnings.append(f"{file}: {doubt}")
    encryption = tree.setdefault("encryption", {})
    if isinstance(encryption, dict):
        encryption.setdefault("keys", [DEFAULT_KEY])
    own_keys = {name for name in channels_of("phone") if _has_own_key(tree.get(name))}
    reader = Reader(environ, file.parent, owner, findings, needs, own_keys=own_keys, root=whole_model())
    tree = read_table(tree, whole_model(), (), reader=reader)
    return _check(tree, file, findings)


def _has_own_key(texting: Any) -> bool:
    """True if callbacks of this table are not verified by its token."""
    return isinstance(texting, dict) and bool(texting.get("callback_key") or texting.get("key"))


def _parse(file: Path, *, is_named: bool) -> tuple[dict[str, Any], int]:
    """The tables, and the file's owner. `is_named`: a person has named the file, so it is not one that only lay in the
    present directory."""
    reason = ""
    try:
        # It may name a command that is run, and where messages go.
        facts = file.stat()
        if is_writable_by_others(facts):
            raise SettingsError(
                [f"{file}: can be changed by other users of this machine: `chmod o-w {quote(str(file))}`"]
            )
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


def _check(tree: dict[str, Any], file: Path, findings: Findings) -> Settings:
    context = {"directory": file.parent}
    parts: dict[str, Any] = {}
    senders = _named(SenderOfEvents, ("web", "senders"), _taken(tree, "web", "senders", {}), context, findings)
    steps = {"ladder": _taken(tree, "follow_up", "ladder", [])}
    brands = _named(NamedBrand, ("brand",), _named_inside(tree.get("brand"), BrandSection), context, findings)
    ladder = _listed(LadderStep, ("follow_up", "ladder"), steps, context, findings)
    for name, field in keys_of(whole_model()).items():
        tables = tables_of(field.annotation)
        if tables is not None and tables.kind == "one" and (name in tree or field.is_required()):
            table = tree.get(name, {})
            if tables.model.named_inside is not None and isinstance(table, dict):
                table = {key: value for key, value in table.items() if key in keys_of(tables.model)}
            parts[name] = _section(tables.model, table, (name,), context, findings)
    given = _accounts_given(tree, findings)
    accounts = _accounts(given, context, findings)
    routes = _routes(tree, list(given), context, findings)
    offered = SECTIONS.offered()
    listed = {one.name: _listed(one.model, (one.name,), tree, context, findings) for one in offered if one.listed}
    named = {
        one.name: _named(one.model, (one.name,), tree.get(one.name, {}), context, findings, longest=one.named)
        for one in offered
        if one.named
    }

    for account in accounts.values():
        rules.check_account(account, findings)
    rules.check_routes(routes, accounts, list(given), brands, findings)
    check_brands(brands, tree, findings)
    if parts["web"]:
        parts["web"] = parts["web"].model_copy(update={"senders": senders})
        _check_web(parts, tree, accounts, findings)
    clients: dict[KeyPath, Client] = {(name,): part for name, part in parts.items() if isinstance(part, Client)}
    several: dict[str, Mapping[Any, Section]] = {"accounts": accounts, **listed, **named}
    clients |= {
        (at, each): one for at, all_ in several.items() for each, one in all_.items() if isinstance(one, Client)
    }
    check_tls(clients, findings)
    check_one_host(accounts, findings)
    if parts["database"] and not parts["database"].lacks("url"):
        rules.check_database(parts["database"], findings)
    if parts["encryption"]:
        rules.check_encryption(parts["encryption"], findings)
    if parts["retry"]:
        rules.check_retry(parts["retry"], findings)
    if parts["invitations"]:
        _check_invitations(parts["invitations"], accounts, tree, findings)
    if parts["follow_up"]:
        rules.check_ladder(ladder, parts["follow_up"].reminders, accounts, tree, findings)
        rules.check_ahead(parts["follow_up"], accounts, findings)
        parts["follow_up"] = parts["follow_up"].model_copy(update={"ladder": tuple(ladder.values())})
        rules.check_denial_reasons(parts["retry_after_denial"], parts["follow_up"].most, findings)
    accounts = share_budgets(accounts, given, findings)
    if parts.get("whatsapp") and "sms" not in tree:
        findings.consequence(("sms",), "missing, and needed for [whatsapp]: its account sends them")
    elif parts.get("whatsapp") and parts.get("sms"):
        check_whatsapp(parts["whatsapp"], parts["sms"], findings)
    for one in offered:
        if found := several[one.name] if one.name in several else parts.get(one.name):
            one.check(found, tree, findings)
    if findings.problems:
        raise SettingsError(findings.lines)
    parts |= {
        "path": file,
        "warnings": tuple(findings.warnings),
        "sources": findings.sources,
        "accounts": accounts,
        "brands": brands,
        "routes": tuple(routes.values()),
        **{name: tuple(tables.values()) for name, tables in listed.items()},
        **named,
    }
    # Each part was checked: to check the whole again, pydantic would build the validators of all tables once more.
    return whole_model().model_construct(**parts)


def _check_web(
    parts: Mapping[str, Any], tree: Mapping[str, Any], accounts: Mapping[str, Account], findings: Findings
) -> None:
    web, bus = parts["web"], parts.get("bus")
    if "bus" not in tree or bus:
        check_senders(
            web.senders,
            bus.queue if bus else None,
            on_amqp=any(one.lacks("url") or one.url.startswith("amqp") for one in (bus, parts["broker"]) if one),
            findings=findings,
        )
    rules.check_web(parts, accounts.values(), findings)


def _check_invitations(
    invitations: Invitations,
    accounts: Mapping[str, Account],
    tree: Mapping[str, Any],
    findings: Findings,
) -> None:
    rules.check_quiet_hours(invitations, accounts, findings)
    rules.check_templates(invitations, findings)
    if invitations.fallback and invitations.fallback not in tree:
        findings.consequence(("invitations", "fallback"), f"needs the section [{invitations.fallback}]")


def _accounts_given(tree: Mapping[str, Any], findings: Findings) -> dict[str, dict[str, Any]]:
    """The accounts' tables as they were given; a value that is not a table is reported and left out."""
    tables = tree.get("accounts", {})
    if not isinstance(tables, dict):
        findings.problem(("accounts",), "expected tables: [accounts.NAME]")
        return {}
    if not tables:
        findings.consequence(
            ("accounts",),
            "at least one account is needed: [accounts.NAME] with its provider and keys; `onboard init` writes one",
        )
    for name, table in tables.items():
        if not isinstance(table, dict):
            findings.problem(("accounts", name), "expected a table")
        elif not re.fullmatch(NAME, name) or len(name) > MOST_NAME:
            findings.problem(("accounts", name), "expected a name of at most 63 letters, digits, - and _")
    return {name: table for name, table in tables.items() if isinstance(table, dict)}


def _accounts(given: Mapping[str, dict[str, Any]], context: Any, findings: Findings) -> dict[str, Account]:
    accounts = {}
    for name, table in given.items():
        try:
            rules.check_provider_keys(name, table, findings)
        except AdapterBroken as error:
            findings.problem(("accounts", name, "provider"), str(error))
            continue
        account = _section(Account, {**table, "name": name}, ("accounts", name), context, findings)
        if account:
            accounts[name] = account
    return accounts


def _listed(
    model: type[Model], path: KeyPath, tree: Mapping[str, Any], context: Any, findings: Findings
) -> dict[int, Model]:
    """The tables [[path]], by their position in the file."""
    tables = tree.get(str(path[-1]), [])
    if not isinstance(tables, list):
        findings.problem(path, f"expected a list of tables: [[{'.'.join(map(str, path))}]]")
        return {}
    found = {index: _section(model, table, (*path, index), context, findings) for index, table in enumerate(tables)}
    return {index: one for index, one in found.items() if one}


def _routes(tree: Mapping[str, Any], accounts: list[str], context: Any, findings: Findings) -> dict[int, Route]:
    if not tree.get("routes", []):
        example = accounts[0] if accounts else "NAME"
        findings.consequence(
            ("routes",),
            f'at least one route is needed; to send every row to `{example}`: [[routes]] accounts = ["{example}"]',
        )
    return _listed(Route, ("routes",), tree, context, findings)


def _named(
    model: type[Model], path: KeyPath, tables: Any, context: Any, findings: Findings, *, longest: int = MOST_NAME
) -> dict[str, Model]:
    """The tables [path.NAME], by their names."""
    if not isinstance(tables, dict):
        findings.problem(path, f"expected tables: [{'.'.join(map(str, path))}.NAME]")
        return {}
    found = {}
    for name, table in tables.items():
        if not re.fullmatch(NAME, name) or len(name) > longest:
            findings.problem((*path, name), f"expected a name of at most {longest} letters, digits, - and _")
        if one := _section(model, table, (*path, name), context, findings):
            found[name] = one
    return found


def _taken(tree: dict[str, Any], section: str, name: str, none: Any) -> Any:
    """The tables [section.name], taken out of the section: a mistake in one leaves the rest of the section checked."""
    given = tree.get(section, {})
    if not isinstance(given, dict) or name not in given:
        return none
    tree[section] = {key: value for key, value in given.items() if key != name}
    return given[name]


def _named_inside(given: Any, model: type[Section]) -> dict[str, Any]:
    """The tables of a section that have names of one's own."""
    own = keys_of(model)
    return {name: value for name, value in given.items() if name not in own} if isinstance(given, dict) else {}


def _section(model: type[Model], given: Any, path: KeyPath, context: Any, findings: Findings) -> Model | None:
    """The checked table. Bad keys are reported, and the rest is checked without them."""
    if not isinstance(given, dict):
        findings.consequence(path, "expected a table")
        return None
    for attempt in ("whole", "without bad keys"):
        try:
            return model.model_validate(given, context=context)
        except ValidationError as error:
            bad = error.errors(include_url=False)
        if attempt == "whole":
            for item in bad:
                # pydantic adds "[key]" if a table's key itself is bad; the path names that key already.
                loc = tuple(part for part in item["loc"] if part != "[key]")
                findings.consequence((*path, *loc), explain(item, _type_of(model, loc)))
            names = {item["loc"][0] for item in bad if item["loc"]}
            given = {key: value for key, value in given.items() if key not in names}
            given |= {key: value for (kind, key), value in STAND_INS.items() if kind is model and key in names}
    return None


def _type_of(model: type[Section], path: KeyPath) -> str:
    """The type that a missing key expects, as text."""
    field = keys_of(model).get(str(path[0])) if path else None
    tables = tables_of(field.annotation) if field else None
    if tables is not None and tables.kind == "one" and len(path) > 1:
        return _type_of(tables.model, path[1:])
    shown = next((mark.text for mark in field.metadata if isinstance(mark, Shown)), "") if field else ""
    hint = f": {HOW}" if shown == "secret" else ""
    return f"{field.description}{hint}" if field else shown
