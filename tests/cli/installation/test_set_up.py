"""`init`, `keys`, the configuration, and what stops a start: clear lines on standard error, and exit code 2."""

import json
import socket
import stat

import pytest

from onboarding_worker.core.foundation.keyring import new_key
from tests.desk.desk import DATABASE, Desk, Played, customers


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_what_init_writes_for_the_sandbox_runs_as_it_is(desk: Desk, played: Played):
    ended = desk.onboard("run", desk.list_of(customers(2)))
    assert (ended.code, len(played.sandbox.mailbox)) == (0, 2)


def test_init_replaces_nothing_and_says_so(desk: Desk):
    before = desk.config.read_text()
    ended = desk.onboard("init", "--sandbox")
    assert (ended.code, ended.out) == (2, "")
    assert "--force" in ended.err
    assert desk.config.read_text() == before


@pytest.mark.parametrize("option", [(), ("--sandbox",)])
def test_init_names_a_database_that_is_there_because_its_customers_count_as_invited(desk: Desk, option):
    steps = desk.onboard("init", "--force", *option).out.split("Next:")[1]
    (desk.path / "onboarding.db").unlink()
    without = desk.onboard("init", "--force", *option).out.split("Next:")[1]

    assert "move onboarding.db away, unless you go on with what it has: its customers count as invited" in steps
    assert steps.index("move onboarding.db") < steps.index("onboard check")
    assert "onboarding.db" not in without


def test_mysql_and_mariadb_are_refused_with_what_to_use_instead(desk: Desk, subtests: pytest.Subtests):
    for command in [("db", "upgrade"), ("run", "x.csv"), ("import", "x.csv"), ("worker",), ("beat",)]:
        for url in ["mysql+pymysql://127.0.0.1/x", "mariadb+mariadbconnector://127.0.0.1/x"]:
            with subtests.test(url=url, command=command):
                desk.write("x.csv", "customer_id\n")
                desk.environ["ONBOARDING__DATABASE__URL"] = url
                ended = desk.onboard(*command)
                assert (ended.code, ended.out) == (2, "")
                assert "MySQL and MariaDB are not supported" in ended.err
                assert "postgresql+psycopg://" in ended.err
                assert "sqlite:///" in ended.err


def test_without_a_configuration_each_command_names_init(bare: Desk, subtests: pytest.Subtests):
    for command in [("check", "x.csv"), ("run", "x.csv"), ("status",), ("report", "1"), ("worker",)]:
        with subtests.test(command=command):
            ended = bare.onboard(*command)
            assert (ended.code, ended.out) == (2, "")
            (line,) = ended.lines
            assert "onboard init" in line


def test_a_bad_configuration_is_one_line_for_each_problem_with_its_key(desk: Desk):
    desk.change('url = "sqlite:///onboarding.db"', 'urll = "sqlite:///onboarding.db"')
    desk.change('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\nlifetime = "soon"')
    desk.change('limits = ["2000/second"]', 'limits = ["fast"]')
    desk.add('[worker]\nleese = "60 s"\n')
    ended = desk.onboard("check", desk.list_of(customers(1)))
    assert (ended.code, ended.out) == (2, "")
    for key in ("database.urll", "accounts.kyc.lifetime", "accounts.kyc.limits", "worker.leese"):
        assert len([line for line in ended.lines if key in line]) == 1, ended.err
    assert "`url`" in next(line for line in ended.lines if "urll" in line)
    assert "`lease`" in next(line for line in ended.lines if "leese" in line)
    assert len(ended.lines) == 7  # two lifetimes, and the limits of two accounts and of texts


def test_a_missing_secret_is_named_without_a_traceback(desk: Desk):
    (desk.path / "secrets" / "idenfy_secret").unlink()
    ended = desk.onboard("run", desk.list_of(customers(1)))
    assert ended.code == 2
    named = [line.partition(":")[0] for line in ended.lines]
    assert named == [f"accounts.{account}.api_secret" for account in ("kyc", "kyc-lt", "kyb")]


@pytest.mark.parametrize("form", ["csv", "jsonl", "html"])
def test_another_key_than_the_one_that_encrypted_gives_no_links_and_no_traceback(desk: Desk, form: str):
    desk.onboard("run", desk.list_of(customers(1)))
    (desk.path / "onboarding.key").write_text(new_key())
    assert desk.onboard("report", "latest").code == 0
    ended = desk.onboard("report", "latest", "--with-links", "--format", form)
    assert ended.code == 1
    assert ended.lines[-1] == "1 row cannot be read as a whole: the column `error` says why"
    assert "its link is not shown: no key of the ring decrypts session" in ended.out


def test_a_file_that_is_no_database_is_reported_in_one_line(desk: Desk):
    desk.write("onboarding.db", "customer_id,email\n" * 100)
    ended = desk.onboard("status", "--json")
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.lines
    assert "not a database" in line


def test_a_database_in_a_missing_folder_is_reported_in_one_line(desk: Desk):
    desk.change("sqlite:///onboarding.db", "sqlite:///nowhere/onboarding.db")
    ended = desk.onboard("run", desk.list_of(customers(1)))
    assert ended.code == 2
    (line,) = ended.lines
    assert "database" in line


def test_a_database_that_cannot_be_reached_is_reported_in_one_line(desk: Desk):
    desk.change("sqlite:///onboarding.db", f"postgresql+psycopg://somebody@127.0.0.1:{closed_port()}/onboarding")
    for command in (("status",), ("run", desk.list_of(customers(1))), ("db", "upgrade")):
        ended = desk.onboard(*command)
        assert (ended.code, ended.out) == (2, "")
        (line,) = ended.lines
        assert "the database cannot be used" in line


def test_a_database_of_a_newer_release_is_left_alone(desk: Desk):
    assert desk.onboard("status").code == 0
    desk.sql("UPDATE alembic_version SET version_num = '9999'")
    ended = desk.onboard("run", desk.list_of(customers(1)))
    assert ended.code == 2
    (line,) = ended.lines
    assert "newer than this release" in line


@pytest.mark.parametrize("command", [("db", "upgrade"), ("status",)])
def test_a_file_with_tables_of_another_program_is_left_alone(desk: Desk, command: tuple[str, ...]):
    (desk.path / DATABASE).unlink()
    desk.sql("CREATE TABLE customer (id INTEGER)")
    ended = desk.onboard(*command)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("the database has a table of another program (customer): make another one")
    assert desk.sql("SELECT name FROM sqlite_master") == [("customer",)]


def test_a_template_that_cannot_be_used_stops_run_before_anything_is_asked_for(desk: Desk, played: Played):
    folder = desk.path / "templates" / "default" / "en"
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("Hello {{ first_nome }}")
    (folder / "body.txt").write_text("{{ link }}")
    desk.add('[invitations]\ntemplates = "templates/"\n')
    ended = desk.onboard("run", desk.list_of(customers(1)))
    assert ended.code == 2
    assert "first_nome" in ended.err
    assert played.calls() == []


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_workers_want_a_broker_and_say_what_works_without(desk: Desk, command: str):
    ended = desk.onboard(command)
    assert ended.code == 2
    (line,) = ended.lines
    assert "broker.url" in line
    assert "onboard run" in line


def test_workers_refuse_sqlite_and_unknown_queues(desk: Desk):
    desk.add('[broker]\nurl = "redis://127.0.0.1:1/0"\n')
    ended = desk.onboard("worker")
    assert ended.code == 2
    assert "database.url" in ended.err
    desk.change("sqlite:///onboarding.db", "postgresql+psycopg://somebody@127.0.0.1:1/onboarding")
    ended = desk.onboard("worker", "--queues", "issue,mail")
    assert ended.code == 2
    assert "there is no queue mail" in " ".join(ended.err.split())


def test_global_options_work_before_and_after_the_commands_name(desk: Desk, tmp_path):
    elsewhere = tmp_path / "elsewhere.toml"
    desk.config.rename(elsewhere)
    listed = desk.list_of(customers(1))
    assert desk.onboard("check", listed).code == 2
    before = desk.onboard("--config", str(elsewhere), "--log-file", "one.log", "check", listed, "--json")
    after = desk.onboard("check", listed, "--json", "--config", str(elsewhere), "--log-level", "debug")
    assert (before.code, after.code) == (0, 0)
    assert before.facts["rows"] == after.facts["rows"]
    assert (tmp_path / "one.log").exists()
    nested = desk.onboard("db", "upgrade", "--config", str(elsewhere))
    assert nested.code == 0


def test_the_environment_names_the_configuration_too(desk: Desk, tmp_path):
    desk.config.rename(tmp_path / "elsewhere.toml")
    desk.environ["ONBOARDING_CONFIG"] = str(tmp_path / "elsewhere.toml")
    assert desk.onboard("status").code == 0


def test_a_log_file_that_cannot_be_written_is_reported_in_one_line(desk: Desk):
    ended = desk.onboard("status", "--log-file", "nowhere/onboard.log")
    assert ended.code == 2
    assert ended.lines == ["--log-file: nowhere/onboard.log: No such file or directory"]


def test_upgrading_a_database_twice_does_nothing_the_second_time(desk: Desk):
    desk.without_database()
    first, second = (desk.onboard("db", "upgrade") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert "was empty" in first.out
    assert "was" not in second.out
    (entry,) = desk.audited()
    assert (entry["action"], entry["reason"]) == ("db upgrade", "upgraded")


@pytest.mark.parametrize("command", ["status", "import customers.csv"])
def test_the_first_command_that_needs_the_database_makes_it(desk: Desk, command: str):
    desk.without_database()
    desk.list_of(customers(1))
    assert desk.onboard(*command.split()).code == 0
    assert "was" not in desk.onboard("db", "upgrade").out


def test_every_command_explains_itself_and_refuses_what_it_does_not_know(bare: Desk):
    top = bare.onboard("--help")
    names = [line.split()[0] for line in top.out.partition("Lists:")[2].splitlines() if line.startswith("  ")]
    known = {"init", "check", "run", "import", "status", "report", "worker", "beat", "sandbox", "db"}
    assert known <= set(names)
    for name in sorted(known):
        shown = bare.onboard(name, "--help")
        assert (shown.code, shown.err) == (0, "")
        assert "--config" in shown.out
        refused = bare.onboard(name, "--nonsense")
        assert (refused.code, refused.out) == (2, "")
        assert "--nonsense" in refused.err


def test_no_setting_shows_a_secret_when_it_is_refused(desk: Desk):
    desk.change('api_secret = { file = "secrets/idenfy_secret" }', 'api_secret = "s3cret-in-the-file"')
    ended = desk.onboard("status")
    assert ended.code == 2
    assert "accounts.kyc.api_secret" in ended.err
    assert "s3cret-in-the-file" not in ended.err


def test_init_in_json_names_what_it_wrote(bare: Desk):
    facts = bare.onboard("init", "--json", "there").facts
    assert set(facts) == {"config", "key", "written", "kept", "next"}
    assert json.dumps(facts["written"]).count("onboarding.toml") == 1
    assert (bare.path / facts["config"]).exists()


def test_what_init_and_the_first_command_make_is_private_and_not_committed(bare: Desk):
    bare.onboard("init", "--sandbox")
    bare.onboard("status")

    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in bare.path.iterdir()}
    ignored = (bare.path / ".gitignore").read_text().split()
    assert made["onboarding.db"] == made["onboarding.key"] == made["onboarding-digest.key"] == 0o600
    assert ignored == ["onboarding.key", "onboarding-digest.key", "secrets/", "onboarding.db*"]


def test_init_keeps_a_gitignore_that_is_there(bare: Desk):
    bare.write(".gitignore", "*.log\n")

    assert bare.onboard("init").code == 0
    assert (bare.path / ".gitignore").read_text() == "*.log\n"


@pytest.mark.parametrize("options", [[], ["--sandbox"]])
def test_init_names_the_lines_that_a_gitignore_lacks_and_promises_nothing(bare: Desk, options):
    bare.write(".gitignore", "*.log\n/onboarding.key\n/secrets\n!*.db\n")

    made = bare.onboard("init", *options)

    assert "  add to .gitignore, before you commit: onboarding-digest.key, onboarding.db*\n" in made.out
    assert "keeps them out" not in made.out


def test_init_says_that_its_own_gitignore_has_the_keys(bare: Desk):
    made = bare.onboard("init")
    (bare.path / "other").mkdir()
    bare.write("other/.gitignore", "*.key\n*.db\nsecrets/\n")
    also = bare.onboard("init", "other")

    assert "; .gitignore keeps them out of version control\n" in made.out
    assert "before you commit" not in made.out + also.out


@pytest.mark.parametrize("option", ["--sandbox", "--force"])
def test_init_writes_a_list_or_a_configuration_and_says_if_both_are_asked_for(bare: Desk, option):
    asked = bare.onboard("init", "--list", option)

    assert (asked.code, list(bare.path.iterdir())) == (2, [])
    assert f"--list writes a list alone: leave out {option}" in asked.err
