"""Secrets: where they come from, that they are read again, and that they are shown nowhere."""

import contextlib
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.secrets import Secret
from tests.settings.samples import ENVIRON, loaded, problems, tree, with_value
from tests.settings.test_every_key import KEYS, Key

SECRETS = st.text("abcdefghijkmnpqrstuvwxyz%:/@{}[]\"'\\\n 0123456789", min_size=8, max_size=40).map("ZqX".__add__)
SAME_DIRECTORY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)


def test_any_string_may_come_from_a_variable_or_a_file_next_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "from").write_text("Bank <bank@example.com>\r\n")
    configuration = with_value(("email", "from"), {"file": "from"})
    configuration["accounts"]["kyc"] |= {
        "provider": {"env": "PROVIDER"},
        "limits": [{"env": "LIMIT"}],
        "parameters": {"theme": {"env": "THEME"}, "deep": [{"env": "THEME"}]},
    }

    read = loaded(tmp_path, configuration, PROVIDER="idenfy-kyb", LIMIT="3/second", THEME="dark")

    assert read.email is not None
    assert read.email.from_ == "Bank <bank@example.com>"
    assert read.accounts["kyc"].provider == "idenfy-kyb"
    assert str(read.accounts["kyc"].limits[0]) == "3/second"
    assert read.accounts["kyc"].parameters == {"theme": "dark", "deep": ["dark"]}


def test_a_parameter_or_column_called_file_or_env_is_no_reference(tmp_path: Path) -> None:
    configuration = tree(**{"import": {"columns": {"file": "customer_id"}}})
    configuration["accounts"]["kyc"]["unchecked"] = {"env": "live"}

    read = loaded(tmp_path, configuration)

    assert read.import_.columns == {"file": "customer_id"}
    assert read.accounts["kyc"].unchecked == {"env": "live"}


@pytest.mark.parametrize("key", ["webhook_secret", "jwt_key"])
def test_what_frankieone_is_known_by_is_one_secret_or_several_while_rotating(key: str, tmp_path: Path) -> None:
    environ = {"OLD": "0000000000000000", "NEW": "unguessable-segment-of-a-path"}
    path = ("accounts", "au", key)

    def read(value: Any, **more: str) -> list[str]:
        account = loaded(tmp_path, with_value(path, value), **environ, **more).accounts["au"]
        return [secret.reveal() for secret in getattr(account, key)]

    assert read({"env": "OLD"}) == [environ["OLD"]]
    assert read([{"env": "NEW"}, {"env": "OLD"}]) == [environ["NEW"], environ["OLD"]]
    override = f"ONBOARDING__ACCOUNTS__AU__{key.upper()}"
    # As it is, though it could be read as a number.
    assert read({"env": "OLD"}, **{override: "1234567890123456"}) == ["1234567890123456"]
    assert read({"env": "OLD"}, **{override: '["unguessable-segment", {env = "OLD"}]'}) == [
        "unguessable-segment",
        environ["OLD"],
    ]


def test_one_of_several_secrets_that_cannot_be_had_is_named_by_its_place(tmp_path: Path) -> None:
    environ = {"SHORT": "short", "GOOD": "unguessable-segment-of-a-path"}
    path = ("accounts", "au", "webhook_secret")
    expected = "expected 16 to 128 letters, digits, - or _: it is a segment of a URL's path"

    assert problems(tmp_path, with_value(path, {"env": "SHORT"}), **environ) == [
        f"accounts.au.webhook_secret: {expected}"
    ]
    assert problems(tmp_path, with_value(path, [{"env": "GOOD"}, {"env": "SHORT"}]), **environ) == [
        f"accounts.au.webhook_secret[2]: {expected}"
    ]


def test_one_line_end_of_a_file_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key\n")

    assert loaded(tmp_path, with_value(("accounts", "kyc", "api_key"), {"file": "key"})).accounts[
        "kyc"
    ].api_key == Secret("a key")


def test_a_secret_that_cannot_be_read_is_reported_with_the_reason(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        ({"env": "NOT_THERE"}, "accounts.kyc.api_key: the environment variable NOT_THERE is not set"),
        ({"env": "EMPTY"}, "accounts.kyc.api_key: the environment variable EMPTY is empty"),
        (
            {"file": "nowhere"},
            "accounts.kyc.api_key: no file nowhere (a relative path starts from the configuration's directory)",
        ),
        ({"file": "."}, "accounts.kyc.api_key: the file . cannot be read: Is a directory"),
        ({"file": "empty"}, "accounts.kyc.api_key: the file empty is empty"),
        ({"file": "binary"}, "accounts.kyc.api_key: the file binary is not UTF-8 text"),
        ({"file": "a\0b"}, "accounts.kyc.api_key: no file 'a\\x00b'"),
        (
            "literal-key",
            "accounts.kyc.api_key: do not write a secret in the configuration;"
            ' write { env = "NAME" } or { file = "PATH" }',
        ),
        (
            {"env": "TWO_LINES"},
            "accounts.kyc.api_key: expected one line of ASCII, not empty and without spaces around it",
        ),
    ]
    for reference, line in cases:
        with subtests.test(reference=reference):
            (tmp_path / "empty").write_text("\n")
            (tmp_path / "binary").write_bytes(b"\xff\xff")

            configuration = with_value(("accounts", "kyc", "api_key"), reference)

            assert problems(tmp_path, configuration, EMPTY="", TWO_LINES="a\nX-Other: b") == [line]


@pytest.mark.parametrize(
    "path",
    [("accounts", "kyc", "api_secret"), ("sms", "token"), ("sms", "callback_key"), ("accounts", "au", "jwt_key")],
)
def test_no_secret_stands_in_the_configuration_itself(path: tuple[str, ...], tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_value(path, "literal"))

    assert "do not write a secret in the configuration" in line


def test_a_url_with_a_password_stands_in_the_environment_or_a_file(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        (("database", "url"), "postgresql+psycopg://user:hunter2@127.0.0.1/db"),
        (("database", "url"), "postgresql+psycopg://127.0.0.1/db?user=u&password=hunter2"),
        (("broker", "url"), "amqp://user:hunter2@127.0.0.1"),
        (("broker", "url"), "redis://:hunter2@127.0.0.1"),
        (("email", "url"), "smtp+starttls://user:hunter2@127.0.0.1"),
        (("bus", "url"), "amqp://user:hun/ter2@127.0.0.1"),
    ]
    for path, url in cases:
        with subtests.test(path=path, url=url):
            (line,) = problems(tmp_path, with_value(path, url))
            assert line.startswith(f"{'.'.join(path)}: do not write a URL with a password in the configuration")
            assert "ter2" not in line

            if "/ter2" not in url:
                assert problems(tmp_path, with_value(path, {"env": "URL"}), URL=url) == []


def test_a_url_without_a_password_may_stand_in_the_configuration(tmp_path: Path) -> None:
    assert problems(tmp_path, with_value(("broker", "url"), "amqp://guest@127.0.0.1:5672//")) == []


def test_a_frankieone_customer_is_an_identifier_and_may_stand_there_but_is_not_shown(tmp_path: Path) -> None:
    read = loaded(tmp_path, with_value(("accounts", "au", "customer_id"), "1111-2222"))

    assert read.accounts["au"].customer_id == Secret("1111-2222")
    assert "1111-2222" not in repr(read)


def test_a_secret_from_a_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old\n")
    secret = loaded(tmp_path, with_value(("accounts", "kyc", "api_key"), {"file": "key"})).accounts["kyc"].api_key

    assert not secret.reload()
    file.write_text("new\n")
    assert secret.reload()
    assert secret.reveal() == "new"
    assert not secret.reload()


def test_a_missing_or_half_written_file_leaves_the_secret_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old\n")
    secret = loaded(tmp_path, with_value(("accounts", "kyc", "api_key"), {"file": "key"})).accounts["kyc"].api_key

    for spoil in (lambda: file.write_text(""), lambda: file.write_bytes(b"\xff"), file.unlink):
        spoil()
        assert not secret.reload()
        assert secret.reveal() == "old"


def test_a_secret_from_the_environment_has_nothing_to_read_again(tmp_path: Path) -> None:
    secret = loaded(tmp_path, tree()).accounts["kyc"].api_key

    assert not secret.reload()
    assert secret.reveal() == ENVIRON["IDENFY_KEY"]


def test_secrets_are_equal_by_value_and_never_shown_or_pickled() -> None:
    secret = Secret("hunter2")

    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")
    assert secret != "hunter2"
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)


def test_no_secret_is_in_the_settings_repr_or_their_json(tmp_path: Path) -> None:
    configuration = tree(database={"url": {"env": "DATABASE"}})
    environ = {"DATABASE": "postgresql+psycopg://u:hunter2@127.0.0.1/db"}

    read = loaded(tmp_path, configuration, **environ)

    known = [*ENVIRON.values(), "hunter2"]
    assert [secret for secret in known if secret in repr(read)] == []
    assert [secret for secret in ENVIRON.values() if secret in read.model_dump_json()] == []


# Keys with free text that is no secret, by their last part.
PLAIN = {
    "account",
    "budget",
    "channel",
    "client_id",
    "columns",
    "exchange",
    "folder",
    "footer",
    "from",
    "ignore",
    "journal",
    "link",
    "name",
    "name_claim",
    "prefix",
    "purpose",
    "queue",
    "role_claim",
    "support",
    "template",
    "when",
}


def test_only_these_keys_show_a_text_that_they_accept(tmp_path: Path) -> None:
    shown = set()
    for key in KEYS:
        with contextlib.suppress(SettingsError):
            if "ZqXab-c" in repr(loaded(tmp_path, with_value(key, "ZqXab-c"))):
                shown.add(key[-1])
    assert sorted(map(str, shown - PLAIN)) == []


@SAME_DIRECTORY
@given(
    secret=SECRETS, key=st.sampled_from(KEYS), wrapped=st.sampled_from(["literal", "env", "list", "table", "override"])
)
@example(secret="a-brand-that-is-not-there", key=("routes", 0, "brand"), wrapped="literal")
def test_no_error_repeats_a_value_wherever_it_stood(tmp_path: Path, secret: str, key: Key, wrapped: str) -> None:
    forms: dict[str, Any] = {"literal": secret, "env": {"env": "IT"}, "list": [secret], "table": {"kind": secret}}
    environ = {"IT": secret}
    if wrapped == "override" and not isinstance(key[1], int):
        environ["ONBOARDING__" + "__".join(map(str, key)).upper()] = secret
    configuration = with_value(key, forms.get(wrapped, 1))
    accepted = False
    try:
        shown = repr(loaded(tmp_path, configuration, **environ))
        accepted = True
    except SettingsError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error)
        kept = {str(value) for value in vars(error).values()}
        shown += "".join(kept) + repr(error.__context__) + repr(error.__cause__)

    # What is no secret may be shown where it is accepted, in the settings' own repr.
    of_a_sender = key[:2] == ("web", "senders") and key[-1] in ("users", "queues")  # names at the broker
    if not (accepted and (key[-1] in PLAIN or of_a_sender)):
        assert secret not in shown
        assert repr(secret)[1:-1] not in shown


@pytest.mark.parametrize("text", ["", "short", "=" * 44, "k" * 44, "!" * 43])
def test_a_key_that_is_not_32_bytes_is_refused_with_the_command_for_one(text: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(), ONBOARDING_KEY=text)

    assert line.startswith("encryption.keys[1]: ")
    assert hint("keys", "`onboard keys new` prints ") in line
