"""The configuration's shape, from the model: the keys of each table, which keys are tables, and features' sections."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from onboarding_worker.adapters import strict_json
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.tls import OwnServer
from onboarding_worker.settings.values import Lazy, Section, holds_secrets

SHARED = OwnServer.model_fields


@dataclass(frozen=True)
class Credentials:
    """What requests to the web server are checked with because of a section. `words`: its keys, for people. `there`:
    whether there are any, by the section and all sections."""

    words: str
    there: Callable[[Any, Mapping[str, Any]], bool]


@dataclass(frozen=True)
class FeatureSection:
    """The table `[name]`. `form`: the type of its key in the whole configuration: a model, where a missing table is one
    without keys; or with a `default` in its place the model `| None`, a tuple of models for tables `[[name]]`, or a
    dictionary of them for tables `[name.NAME]`.

    `check(section, given, findings)` reports what does not go together; `given`: the whole file, unchecked. Several
    tables come by their position or name, without those that have a mistake. `outside(section)`: the machines that
    processes connect to because of it, each as a name and a URL.
    """

    name: str
    form: Any
    default: Any = ...
    check: Callable[[Any, Mapping[str, Any], Findings], None] = lambda _section, _given, _findings: None
    outside: Callable[[Any], Iterable[tuple[str, str]]] = lambda _section: ()
    credentials: Credentials | None = None


# Each is checked as our own sections are, and listed on the feature's page. The feature `alerts` has one.
SECTIONS = Hook("SECTIONS", FeatureSection)


@dataclass(frozen=True)
class Tables:
    """A key whose value is a table, tables by name, or a list of tables."""

    kind: Literal["one", "named", "listed"]
    model: type[Section]


def keys_of(model: type[Section]) -> dict[str, FieldInfo]:
    """A table's keys as the configuration spells them, without the fields that `load` fills in; shared keys last."""
    own_first = sorted(model.model_fields.items(), key=lambda item: item[0] in SHARED)
    return {
        field.alias or name: field
        for name, field in own_first
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("resolved"))
    }


def bare(annotation: Any) -> Any:
    """The type without `Annotated` and `| None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return bare(get_args(annotation)[0])
    if origin in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return bare(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def tables_of(annotation: Any) -> Tables | None:
    """The kind of tables that the key holds; None if it holds a plain value."""
    kind = bare(annotation)
    if isinstance(kind, type) and issubclass(kind, Section):
        return Tables("one", kind)
    parts = [bare(part) for part in get_args(kind)]
    if get_origin(kind) is dict and isinstance(parts[1], type) and issubclass(parts[1], Section):
        return Tables("named", parts[1])
    if get_origin(kind) is tuple and isinstance(parts[0], type) and issubclass(parts[0], Section):
        return Tables("listed", parts[0])
    return None


def is_lazy(key: FieldInfo) -> bool:
    """True if the key's value may be missing until it is used: a secret, or a URL that may hold one."""
    return any(isinstance(mark, Lazy) for mark in key.metadata) or holds_secrets(key.annotation)


# Tables and lists in each other beyond any use: a key with thousands of dots makes as many levels.
is_too_deep = partial(strict_json.is_too_deep, most=49)
