"""What each kind of value accepts, and how it says what it expected."""

from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.core.foundation.notation import parse_duration, show_duration
from onboarding_worker.core.rules.quiet_hours import QuietHours
from onboarding_worker.settings.load import load
from onboarding_worker.settings.problems import SettingsError
from tests.settings.samples import ENVIRON, loaded, problems, tree, with_value


def test_durations_read_as_people_write_them(subtests: pytest.Subtests) -> None:
    cases = [
        ("7 days", timedelta(days=7)),
        ("1 day", timedelta(days=1)),
        ("12 hours", timedelta(hours=12)),
        ("90 s", timedelta(seconds=90)),
        ("90s", timedelta(seconds=90)),
        ("10 minutes", timedelta(minutes=10)),
        ("5 min", timedelta(minutes=5)),
        ("2 weeks", timedelta(days=14)),
        ("500 ms", timedelta(milliseconds=500)),
        ("1.5 hours", timedelta(minutes=90)),
    ]
    for text, span in cases:
        with subtests.test(text=text):
            assert parse_duration(text) == span
            assert parse_duration(show_duration(span)) == span


def test_a_text_that_is_not_a_duration_is_refused_with_an_example(subtests: pytest.Subtests) -> None:
    for text in ["", "7", "days", "-1 day", "7 fortnights", "1e9 s", "7 days 2 hours", "٧ days", "1 m", 7, None]:
        with subtests.test(text=text):
            with pytest.raises(ValueError, match="expected a duration such as") as caught:
                parse_duration(text)

            assert "999" not in str(caught.value)


def test_an_absurd_duration_is_no_traceback() -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration("999999999 weeks")


def test_quiet_hours_may_pass_midnight() -> None:
    assert QuietHours.parse("21:00-08:00") == QuietHours(time(21), time(8))
    assert str(QuietHours.parse("21:00 - 08:30")) == "21:00-08:30"


@pytest.mark.parametrize("text", ["21-8", "24:00-08:00", "08:00-08:00", "21:00", ""])
def test_texts_that_are_not_quiet_hours_are_refused_with_an_example(text: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(invitations={"quiet_hours": {"sms": text}}))

    assert line.startswith("invitations.quiet_hours.sms: expected ")


def test_quiet_hours_are_for_channels_that_there_are(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(invitations={"quiet_hours": {"smz": "21:00-08:00"}}))

    assert line == "invitations.quiet_hours.smz: expected one of email, sms, whatsapp; did you mean `sms`?"


def test_another_database_is_refused_with_the_expected_url(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        ("postgresql://127.0.0.1/db", "write postgresql+psycopg:// instead, the rest as it is"),
        ("postgres://127.0.0.1/db", "write postgresql+psycopg:// instead, the rest as it is"),
        ("postgresql+asyncpg://127.0.0.1/db", "write postgresql+psycopg:// instead, the rest as it is"),
        ("mysql+pymysql://127.0.0.1/db", "MySQL and MariaDB are not supported"),
        ("mariadb://127.0.0.1/db", "MySQL and MariaDB are not supported"),
        ("sqlite://", "a database in memory would lose"),
        ("sqlite:///:memory:", "a database in memory would lose"),
        ("oracle://127.0.0.1", "expected sqlite:///FILE or postgresql+psycopg://"),
        ("onboarding.db", "expected sqlite:///FILE or postgresql+psycopg://"),
        ("sqlite:///x.db?bogus=1", "`bogus` after the ? is not known to the database's driver"),
        ("postgresql+psycopg://127.0.0.1/db?sslmode=disable&bogus=", "`bogus` after the ? is not known"),
        ("postgresql+psycopg://127.0.0.1/db?b%0ag=1", "an option after the ? is not known"),
        ("postgresql+psycopg://[::1/db", "expected sqlite:///FILE or postgresql+psycopg://"),
    ]
    for url, expected in cases:
        with subtests.test(url=url):
            (line,) = problems(tmp_path, tree(database={"url": url}))

            assert line.startswith("database.url: ")
            assert expected in line


def test_a_sqlite_file_is_next_to_the_configuration(tmp_path: Path) -> None:
    cases = [
        ("sqlite:///data/x.db", "sqlite:///{0}/data/x.db"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
        ("sqlite:///x.db?timeout=5", "sqlite:///{0}/x.db?timeout=5"),
        ("postgresql+psycopg://u@127.0.0.1:5432/db", "postgresql+psycopg://u@127.0.0.1:5432/db"),
        (
            "postgresql+psycopg://127.0.0.1/db?application_name=x&options=-c%20a%3Db",
            "postgresql+psycopg://127.0.0.1/db?application_name=x&options=-c%20a%3Db",
        ),
    ]
    assert [
        (url, got)
        for url, resolved in cases
        if (got := loaded(tmp_path, tree(database={"url": url})).database.url) != resolved.format(tmp_path)
    ] == []


def test_brokers_that_work(tmp_path: Path) -> None:
    cases = [
        "memory://",
        "amqp://localhost",
        "amqps://h:5671/v",
        "redis://[::1]/0",
        "rediss://h",
        "amqp://127.0.0.1;amqps://b",
    ]
    assert [(url, got) for url in cases if (got := loaded(tmp_path, tree(broker={"url": url})).broker.url) != url] == []


def test_brokers_that_do_not(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for url in ["kafka://h", "amqp://", "memory://h", "h:5672", "", "amqp://h\n", "sqs://"]:
        with subtests.test(url=url):
            (line,) = problems(tmp_path, tree(broker={"url": url}))

            assert line.startswith("broker.url: expected memory://, amqp://")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9200/idenfy", "http://localhost", "http://[::1]:1/x", "https://h.example/"]
)
def test_a_base_url_is_https_or_on_this_machine(url: str, tmp_path: Path) -> None:
    account = loaded(tmp_path, with_value(("accounts", "kyc", "base_url"), url)).accounts["kyc"]

    assert account.base_url == url.removesuffix("/")


def test_a_base_url_that_is_no_such_thing(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        "http://ivs.idenfy.com",
        "http://127.0.0.1.example.com",
        "https://ivs.idenfy.com//api",
        "https://ivs.idenfy.com/api/v2/token",
        "https://ivs.idenfy.com/kyb/tokens/",
        "https://ivs.idenfy.com?x=1",
        "https://ivs.idenfy.com#x",
        "https://user@ivs.idenfy.com",
        "https://ivs idenfy.com",
        "https://",
        "ivs.idenfy.com",
        "ftp://ivs.idenfy.com",
        "https://h:99999",
    ]
    for url in cases:
        with subtests.test(url=url):
            (line,) = problems(tmp_path, with_value(("accounts", "kyc", "base_url"), url))

            assert line.startswith("accounts.kyc.base_url: ")
            assert url == "https://" or url not in line


def test_a_link_template_that_would_not_work(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        ("https://verify.example.com/", "without {token} all customers would get the same link"),
        ("https://verify.example.com/{tokn}", "the only placeholders are {token}, {customer_id}, {reference}"),
        ("https://verify.example.com/{token!r}", "the only placeholders are"),
        ("https://verify.example.com/{token:>9}", "the only placeholders are"),
        ("https://verify.example.com/{token.__class__}", "the only placeholders are"),
        ("https://verify.example.com/{}", "the only placeholders are"),
        ("https://verify.example.com/{token", "a brace is not closed"),
        ("http://verify.example.com/{token}", "http is accepted for this machine"),
        ("https://{token}.example.com/", "expected a URL such as"),
        ("javascript:alert({token})", "expected a URL such as"),
    ]
    for link, part in cases:
        with subtests.test(link=link):
            (line,) = problems(tmp_path, with_value(("accounts", "au", "link"), link))

            assert line.startswith("accounts.au.link: ")
            assert part in line


def test_links_may_lead_to_the_documented_hosts_and_the_configured_ones(tmp_path: Path) -> None:
    configuration = with_value(("accounts", "kyc", "base_url"), "http://127.0.0.1:9200/idenfy")

    accounts = loaded(tmp_path, configuration).accounts

    assert accounts["kyc"].link_hosts == ("ivs.idenfy.com", "ui.idenfy.com", "127.0.0.1")
    assert accounts["au"].link_hosts == ("verify.example.com", "api.frankie.one")


def test_given_link_hosts_are_the_only_ones(tmp_path: Path) -> None:
    configuration = with_value(("accounts", "kyc", "link_hosts"), ["Verify.Example.com"])

    assert loaded(tmp_path, configuration).accounts["kyc"].link_hosts == ("verify.example.com",)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://127.0.0.1:1025", ("127.0.0.1", 1025, "plain", "", None)),
        ("smtp://localhost", ("localhost", 25, "plain", "", None)),
        ("smtp+starttls://me%40x:p%2Fw@mail.example.com", ("mail.example.com", 587, "starttls", "me@x", "p/w")),
        ("smtps://u:p@[::1]:465", ("::1", 465, "tls", "u", "p")),
    ],
)
def test_an_smtp_url_says_host_port_encryption_and_login(url: str, server: tuple[Any, ...], tmp_path: Path) -> None:
    email = loaded(tmp_path, with_value(("email", "url"), {"env": "URL"}), URL=url).email

    assert email is not None
    found = email.server
    password = found.password.reveal() if found.password else None
    assert (found.host, found.port, found.tls, found.username, password) == server


def test_an_smtp_url_that_is_no_such_thing(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for url in [
        "smtp://",
        "http://h",
        "smtp://h/path",
        "smtp://u@h",
        "smtp://h:0",
        "smtp://h x",
        "smtp://h\r\nX: y",
        "smtp://-",
    ]:
        with subtests.test(url=url):
            (line,) = problems(tmp_path, with_value(("email", "url"), url))

            assert line.startswith("email.url: expected a URL such as")


def test_senders_that_work(tmp_path: Path) -> None:
    cases = [
        "verify@example.com",
        "Example Bank <verify@example.com>",
        '"Bank, Ltd." <a@b.test>',
        "Банк <a@example.com>",
        "a@localhost",
    ]
    assert [
        (sender, got) for sender in cases if (got := problems(tmp_path, with_value(("email", "from"), sender))) != []
    ] == []


def test_a_sender_is_one_address_and_cannot_add_a_header(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        "Bank",
        "",
        "Bank <>",
        "a@b.test, c@d.test",
        "Bank <a@b.test>\r\nBcc: c@d.test",
        "Bank\n <a@b.test>",
        "Bank <a@b.test> <c@d.test>",
        "Ba\u202enk <a@b.test>",
        "a@b@c",
        "a b@c.test",
        "Bank <a@b.test",
    ]
    for sender in cases:
        with subtests.test(sender=sender):
            (line,) = problems(tmp_path, with_value(("email", "from"), sender))

            assert line.startswith("email.from: expected one address")


@pytest.mark.parametrize("sender", ["+15005550006", "MG" + "0" * 32, "Bank 24"])
def test_sms_senders_that_work(sender: str, tmp_path: Path) -> None:
    assert problems(tmp_path, with_value(("sms", "from"), sender)) == []


def test_sms_senders_that_do_not(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for sender in ["5005550006", "+0", "Bank\n24", "A very long name", "123", ""]:
        with subtests.test(sender=sender):
            (line,) = problems(tmp_path, with_value(("sms", "from"), sender))

            assert line.startswith("sms.from: expected a number such as")


def test_a_bind_address_that_is_no_such_thing(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for bind in ["8080", "127.0.0.1", "127.0.0.1:99999", ":8080", "::1:8080", "http://h:1", "h:80\n"]:
        with subtests.test(bind=bind):
            (line,) = problems(tmp_path, tree(web={"bind": bind}))

            assert line.startswith("web.bind: expected HOST:PORT")


def test_a_bind_address_is_host_and_port(tmp_path: Path) -> None:
    web = loaded(tmp_path, tree(web={"bind": "[::1]:8080"})).web

    assert (web.host, web.port) == ("::1", 8080)


def test_parameters_are_what_json_has(tmp_path: Path) -> None:
    for value in ("2026-11-20", "nan", "[12:00:00]"):
        text = f"accounts.kyc.parameters.x = {value}\n"
        file = tmp_path / "onboarding.toml"
        file.write_text(text)
        with pytest.raises(SettingsError, match=r"accounts\.kyc\.parameters: expected values that JSON has"):
            load(file, environ={})


def test_templates_that_are_not_there_stop_the_start(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(invitations={"templates": "templtes/"}))
    assert line.startswith("invitations.templates: no such directory")

    (tmp_path / "templates").mkdir()
    assert (
        loaded(tmp_path, tree(invitations={"templates": "templates/"})).invitations.templates == tmp_path / "templates"
    )


def test_an_unknown_provider_names_the_nearest(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_value(("accounts", "kyc", "provider"), "idenfy_kyc"))

    assert line.endswith("; did you mean `idenfy-kyc`?")


def test_the_digest_key_is_one_secret_or_several_and_is_none_of_the_encryption_keys(tmp_path: Path) -> None:
    apart = with_value(("encryption",), {"keys": [{"env": "ONBOARDING_KEY"}], "digest_key": {"env": "DIGESTS"}})

    assert problems(tmp_path, apart, DIGESTS=ENVIRON["ONBOARDING_DIGEST_KEY"]) == []
    assert problems(tmp_path, apart, DIGESTS=ENVIRON["ONBOARDING_KEY"]) == [
        "encryption.digest_key[1]: one of `keys`: digests have a key of their own"
    ]
