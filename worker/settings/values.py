"""The types of the configuration's values: how each is read, checked and named in docs/reference/configuration.md."""

import base64
import difflib
import ipaddress
import re
import stat
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    PrivateAttr,
    Strict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from onboarding_worker.adapters.catalogue import Catalogue
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import parse_duration
from onboarding_worker.core.model.refusals import KNOWN, codes, plain
from onboarding_worker.core.rules.contact import AddressCap
from onboarding_worker.core.rules.limits import CreditCap, Limit
from onboarding_worker.core.rules.quiet_hours import QuietHours, zone_names
from onboarding_worker.core.rules.ramp import Ramp
from onboarding_worker.lists.dates import DateForm
from onboarding_worker.providers.countries import alpha2, usual_mistake
from onboarding_worker.settings import addresses
from onboarding_worker.settings.money import Price
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.secrets import Missing, Secret, credential, sender_key

SECRETS = "secret, or a list of secrets"
LENIENT = "lenient"  # in the context: a table is taken without its bad keys


@dataclass(frozen=True)
class Shown:
    """A type's name in docs/reference/configuration.md."""

    text: str

    @classmethod
    def names(cls, adapters: Catalogue) -> "Shown":
        return cls(" or ".join(f'`"{name}"`' for name in adapters.built_in) + ", or the name of an installed adapter")


def setting(default: Any, meaning: str, by_default: str | None = None, **limits: Any) -> Any:
    """A key of a table, with pydantic's limits. `...` for the default: it is needed. `by_default`: what the page
    docs/reference/configuration.md says of a default that is worked out later."""
    extra: JsonDict | None = None if by_default is None else {"default": by_default}
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


class Lazy:
    """Marks a text that may hold a secret, such as a URL: a missing value is a problem only when it is used."""


def holds_secrets(annotation: Any) -> bool:
    """True for the type Secret, and for types that are made of it."""
    return annotation is Secret or any(map(holds_secrets, get_args(annotation)))


def _stand_in(kind: Any) -> Any:
    """What a needed key of this type gets for a bad value: a secret that is missing, or an empty table or list."""
    secrets = [Missing("", "")] if holds_secrets(kind) else []
    return secrets if get_origin(kind) is tuple else next(iter(secrets), {})


class Section(BaseModel):
    """A table of the configuration: frozen, and without unknown keys. A missing value that the command does not need
    (`Missing`) raises SettingsError where it is used: a secret when it is revealed, a URL when it is read."""

    # hide_input: pydantic's own text would repeat values, which may be secrets.
    # defer_build: the whole configuration builds all tables at once; each alone would take milliseconds more.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)
    _missing: dict[str, Missing] = PrivateAttr(default_factory=dict)
    # The model of the tables in this one that have names of one's own: [brand.NAME].
    named_inside: ClassVar["type[Section] | None"] = None

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep_missing(cls, given: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Let a URL that is missing pass; the types of secrets take `Missing` themselves."""
        field = cls.model_fields.get(info.field_name or "")
        if isinstance(given, Missing) and field is not None and not holds_secrets(field.annotation):
            return given
        return check(given)

    @model_validator(mode="after")
    def _without_missing(self) -> Self:
        for name in [name for name, value in self.__dict__.items() if isinstance(value, Missing)]:
            self._missing[name] = self.__dict__.pop(name)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _without_bad_keys(cls, given: Any, check: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Any:
        """With LENIENT what is left of a table without its bad keys; None: it cannot be without them."""
        if not (info.context and LENIENT in info.context):
            return check(given)
        for _ in range(3):  # it is no table; without bad keys; with stand-ins
            try:
                return check(given)
            except ValidationError as error:
                bad = {item["loc"][0] for item in error.errors() if item["loc"]}
            keys = {
                field.alias or name: field.annotation for name, field in cls.model_fields.items() if field.is_required()
            }
            given = {name: value for name, value in given.items() if name not in bad} if isinstance(given, dict) else {}
            given |= {name: _stand_in(kind) for name, kind in keys.items() if name in bad}
        return None

    def lacks(self, name: str) -> bool:
        """True if the value of this field is missing: reading the field raises SettingsError."""
        return name in self._missing

    if not TYPE_CHECKING:  # with it, a type checker would accept any name

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and name in self._missing:
                raise SettingsError([self._missing[name].line])
            return super().__getattr__(name)


def directory_of(info: ValidationInfo) -> Path | None:
    """The configuration's directory. Relative paths start from it."""
    return info.context["directory"] if info.context else None


def only(holds: Callable[[Any], object], expected: str) -> AfterValidator:
    """Refuse a value for which this does not hold."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def names(longest: int = 63) -> Any:
    """The type of names of one's own, such as those of accounts."""
    form = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{longest - 1}}}")
    return Annotated[str, only(form.fullmatch, f"a name of at most {longest} letters, digits, - and _")]


def has_controls(text: str) -> bool:
    """Whether it has line breaks or control characters."""
    return any(unicodedata.category(character) in ("Cc", "Cf") for character in text)


def _parsed(form: type[Any]) -> BeforeValidator:
    """Accept a value of this type, or its text. Whatever else is given, `form.parse` refuses it as an empty text."""
    return BeforeValidator(
        lambda given: given if isinstance(given, form) else form.parse(given if isinstance(given, str) else "")
    )


def _encryption_key(secret: Secret) -> Secret:
    if secret.is_missing:
        return secret
    text = secret.reveal().strip().replace("-", "+").replace("_", "/")
    with suppress(ValueError):
        if len(base64.b64decode(text, validate=True)) == 32:
            return secret
    raise ValueError("expected 32 bytes in base64" + hint("keys", "; `onboard keys new` prints such a key"))


def _path_secret(secret: Secret) -> Secret:
    if not secret.is_missing and not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", secret.reveal()):
        raise ValueError("expected 16 to 128 letters, digits, - or _: it is a segment of a URL's path")
    return secret


def _one_or_more(check: Callable[[Secret], Secret] = lambda secret: secret) -> BeforeValidator:
    """Accept one secret, or a list of several during a rotation. One that is not in a list is checked here, so that its
    problem is reported for the key itself."""
    return BeforeValidator(lambda given: given if isinstance(given, list | tuple) else (check(Secret.accept(given)),))


def _mailbox(value: str) -> str:
    expected = 'expected one address, such as "Example Bank <verify@example.com>"'
    if has_controls(value):
        raise ValueError(f"{expected}, without line breaks or control characters")
    # Only one address, and no text that a mail server could read as a second one: stricter than RFC 5322 on purpose.
    found = re.fullmatch(r'(?:(?:"[^"<>\\]+"|[^"<>@,;:()\[\]\\]+?) *<([^<>\s]+)>|([^<>\s]+))', value.strip())
    local, at, host = ((found[1] or found[2]) if found else "").rpartition("@")
    if not at or not addresses.is_host(host) or not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}", local):
        raise ValueError(expected)
    return value


def is_there(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Whether the path leads to one of a kind, such as `stat.S_ISDIR`. Raises ValueError if the system cannot say: no
    right, or no path. (`Path.is_dir` says no then, since Python 3.14.)"""
    try:
        return is_kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ValueError(f"expected the path of a file or a directory: {error.strerror}") from None


def _directory(given: Any, info: ValidationInfo) -> Path:
    if not isinstance(given, str | Path) or not str(given):
        raise ValueError("expected the path of a directory")
    path = (directory_of(info) or Path()) / given
    if not is_there(path, stat.S_ISDIR):
        raise ValueError("no such directory (a relative path starts from the configuration's directory)")
    return path


def _plain(value: Any) -> Any:
    """The value as JSON carries it. Raises ValueError for a value that JSON does not have."""
    match value:
        case str():
            return str(value)
        case bool() | int() | None:
            return value
        case float() if isfinite(value):
            return value
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    raise ValueError("expected values that JSON has: write a date as a string; nan and inf are not allowed")


def _database(given: Any, info: ValidationInfo) -> str:
    return addresses.database_url(given, directory_of(info))


def _readable(read: Callable[[Any], object]) -> BeforeValidator:
    """Refuse what the function cannot read; the text itself is kept."""

    def check(given: Any) -> str:
        read(given)
        return str(given)

    return BeforeValidator(check)


def _per_address(given: Any) -> AddressCap | None:
    if given is None or isinstance(given, AddressCap):
        return given
    if isinstance(given, str) and given.strip() == "off":
        return None
    count, _, period = given.partition("/") if isinstance(given, str) else ("", "", "")
    expected = 'expected a number of messages and a time, such as "6 / 7 days", at most 1000 / 365 days; or "off"'
    try:
        cap = AddressCap(int(count), parse_duration(period))
    except ValueError:
        raise ValueError(expected) from None
    if not (1 <= cap.messages <= 1000 and timedelta(minutes=1) <= cap.period <= timedelta(days=365)):
        raise ValueError(expected)
    return cap


def _per_country(given: Any) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= 1_000_000):
        return given
    if given == "off":
        return None
    raise ValueError('expected a number of texts from 1 to 1000000, or "off"')


def _country(given: str) -> str:
    found = alpha2(given)
    if found is None:
        meant = usual_mistake(given)
        raise ValueError('expected a country by ISO 3166, such as "LT"' + (f"; did you mean {meant}?" if meant else ""))
    return found


def _network(given: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    with suppress(ValueError):
        if isinstance(given, str):
            return ipaddress.ip_network(given)
    raise ValueError('expected an address or a network, such as "10.0.0.7" or "10.0.0.0/8"')


def _credit_caps(given: Any) -> tuple[CreditCap, ...]:
    """A number, or one cap or several in words; at most one in all, and one for each period."""
    every = given if isinstance(given, list | tuple) else [given]
    caps = tuple(
        each
        if isinstance(each, CreditCap)
        else CreditCap.parse(str(each) if isinstance(each, int | str) and not isinstance(each, bool) else "")
        for each in every
    )
    for cap in caps:
        if sum(other.period == cap.period for other in caps) > 1:
            raise ValueError(f"there are two caps {f'a {cap.period}' if cap.period else 'in all'}: give one of them")
    return caps


Name = names()
Flag = Annotated[bool, Strict(), Shown("true or false")]
Whole = Annotated[int, Strict(), Shown("whole number")]
Text = Annotated[
    str,
    only(lambda text: text and not has_controls(text), "text, not empty and without line breaks or control characters"),
    Shown("string"),
]
PerCountry = Annotated[int | None, BeforeValidator(_per_country), Shown("texts an hour")]
PerAddress = Annotated[AddressCap | None, BeforeValidator(_per_address), Shown("messages and a time")]
Country = Annotated[str, AfterValidator(_country), Shown("ISO 3166 code")]
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
Locale = Annotated[str, only(_LANGUAGE.fullmatch, 'a language such as "en" or "pt-BR"'), Shown("language")]
_IN_WORDS = 'a time zone such as "Europe/Vilnius" or "UTC"'
ZoneName = Annotated[str, only(lambda name: name in zone_names(), _IN_WORDS), Shown("time zone")]
_HOST = only(addresses.is_host, 'only a host name, such as "verify.example.com"')
Host = Annotated[str, _HOST, AfterValidator(str.lower), Shown("host")]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), Shown("duration")]
Cost = Annotated[Price, _parsed(Price), Shown("amount and currency")]
Rate = Annotated[Limit, _parsed(Limit), Shown("limit")]
CreditCaps = Annotated[tuple[CreditCap, ...], BeforeValidator(_credit_caps), Shown("number, or caps by period")]
Quiet = Annotated[QuietHours, BeforeValidator(QuietHours.parse), Shown("hours")]
Credential = Annotated[Secret, AfterValidator(credential), Shown("secret")]
SenderKey = Annotated[Secret, AfterValidator(sender_key), Shown("secret")]
# An identifier is hidden like a secret, but may be written in the configuration itself.
_PLAIN = BeforeValidator(lambda given: Secret(str(given)) if type(given) is str else given)
Identifier = Annotated[Secret, _PLAIN, AfterValidator(credential), Shown("identifier")]
PathSecret = Annotated[Secret, AfterValidator(_path_secret), Shown("secret")]
PathSecrets = Annotated[tuple[PathSecret, ...], _one_or_more(_path_secret), Shown(SECRETS)]
Credentials = Annotated[tuple[Credential, ...], _one_or_more(credential), Shown(SECRETS)]
Secrets = Annotated[tuple[Secret, ...], _one_or_more(), Shown(SECRETS)]
EncryptionKey = Annotated[Secret, AfterValidator(_encryption_key), Shown("secret")]
EncryptionKeys = Annotated[tuple[EncryptionKey, ...], _one_or_more(_encryption_key), Shown(SECRETS)]
Mailbox = Annotated[str, AfterValidator(_mailbox), Shown("email address")]
DatesForm = Annotated[DateForm, _parsed(DateForm), Shown("form of dates")]
Directory = Annotated[Path, BeforeValidator(_directory), Shown("directory")]
Parameters = Annotated[dict[str, Any], BeforeValidator(_plain), Shown("table")]
BaseUrl = Annotated[str, BeforeValidator(addresses.base_url), Shown("URL")]
ServerUrl = Annotated[str, BeforeValidator(partial(addresses.base_url, http=True)), Shown("URL")]
_NO_PASSWORD = BeforeValidator(addresses.without_plain_password)  # the last one is the first that is called
DatabaseUrl = Annotated[str, BeforeValidator(_database), _NO_PASSWORD, Shown("URL"), Lazy()]
BrokerUrl = Annotated[str, BeforeValidator(addresses.broker_url), _NO_PASSWORD, Shown("URL"), Lazy()]
SmtpUrl = Annotated[str, _readable(addresses.MailServer.smtp), _NO_PASSWORD, Shown("URL"), Lazy()]
RampUp = Annotated[Ramp | None, _parsed(Ramp), Shown("messages and a factor")]
Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network, PlainValidator(_network), Shown("address or network")
]
Bind = Annotated[str, _readable(addresses.bind_address), Shown("HOST:PORT")]
_TYPO = 0.8  # as similar as two codes are of which one is misspelt; the provider's next code may be less


def _refusal_code(code: str) -> str:
    known = {plain(one) for one in KNOWN}
    if code in known:
        return code
    meant = difflib.get_close_matches(code.upper().replace("-", "_"), sorted(known), n=3, cutoff=_TYPO)
    if meant:
        raise ValueError(f"no provider has this code; did you mean {' or '.join(f'`{one}`' for one in meant)}?")
    if not codes([code]):
        raise ValueError('expected a code as the provider writes it, such as "DOC_TOO_BLURRY"')
    return code


RefusalCode = Annotated[str, AfterValidator(_refusal_code)]
