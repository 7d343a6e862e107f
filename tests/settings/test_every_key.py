"""What holds for every key of the model, read off the model itself."""

import datetime
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onboarding_worker.core.foundation import shipped
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import whole_model
from onboarding_worker.settings.problems import show_path
from onboarding_worker.settings.shape import keys_of, tables_of
from tests.settings.reference import page_with_tables, pages
from tests.settings.samples import ENVIRON, problems, tree, with_value
from tests.suite.of_features import of_features
from tests.suite.some import some

ROOT = Path(__file__).parents[2]
FRANKIEONE_ONLY = ("customer_id", "customer_child_id", "channel", "jwt_key", "webhook_secret", "link")
Key = tuple[str | int, ...]


def every_key() -> list[Key]:
    keys: list[Key] = []
    for name, field in keys_of(whole_model()).items():
        tables = tables_of(field.annotation)
        assert tables is not None
        for key, inner in keys_of(tables.model).items():
            if within := tables_of(inner.annotation):
                at: Key = (name, key, *{"one": (), "named": ("signup",), "listed": (0,)}[within.kind])
                keys += [(*at, each) for each in keys_of(within.model)]
                continue
            if name in (named := dict(of_features("NAMED"))):
                keys.append((name, named[name], key))
            elif tables.kind == "named":
                keys.append((name, "au" if key in FRANKIEONE_ONLY else "kyc", key))
            else:
                keys.append((name, key) if tables.kind == "one" else (name, 0, key))
    assert keys  # tests that look at each of them would pass without one
    return keys


def misspelt(key: str) -> list[str]:
    middle = len(key) // 2
    swapped = key[: middle - 1] + key[middle] + key[middle - 1] + key[middle + 1 :]
    return [word for word in (key[:-1], key[:middle] + key[middle:][:1] + key[middle:], swapped) if word != key]


KEYS = every_key()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["amqp://[", "sqlite:///\0", "https://{token}", "7 days", "smtp://a:b@c:d", "1/second", "::", "kyc", "a@b.test"]
)
ANYTHING = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.dates() | st.just({"file": "x\0"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
A_DATE = datetime.date(2026, 11, 20)


def test_the_sample_loads() -> None:
    assert len(KEYS) > 60


@pytest.mark.parametrize("wrong", [A_DATE, [A_DATE], {"nonsense": A_DATE}, 2.5], ids=["date", "list", "table", "float"])
def test_a_value_of_the_wrong_type_is_one_line_that_names_its_key(wrong: Any, tmp_path: Path) -> None:
    def is_named(name: str, lines: list[str]) -> bool:
        at, _, message = lines[0].partition(": ")
        starts = at == name or at.startswith((f"{name}[", f"{name}."))
        return len(lines) == 1 and starts and message != "" and "not accepted" not in message and "\n" not in lines[0]

    # Compared at once: a subtest takes longer than to load a configuration.
    found = {show_path(key): problems(tmp_path, with_value(key, wrong)) or [""] for key in KEYS}
    assert {name: lines for name, lines in found.items() if not is_named(name, lines)} == {}


def test_a_misspelt_key_is_one_line_that_names_the_right_one(tmp_path: Path) -> None:
    found, expected = {}, {}
    for number, key in enumerate(KEYS):
        *before, name = key
        words = misspelt(str(name))
        word = words[number % len(words)]  # one of its mistakes for each key, and each mistake for many keys
        configuration = with_value(key, {"env": "IDENFY_KEY"})
        table: Any = configuration
        for part in before:
            table = table[part]
        table[word] = table.pop(str(name))

        expected[show_path(key)] = [f"{show_path((*before, word))}: unknown key; did you mean `{name}`?"]
        found[show_path(key)] = problems(tmp_path, configuration)
    assert found == expected


def test_a_misspelt_section_is_one_line_that_names_the_right_one(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for section in some(keys_of(whole_model())):
        with subtests.test(section=section):
            for word in misspelt(section):
                configuration = tree()
                configuration[word] = configuration.pop(section, {})

                assert problems(tmp_path, configuration) == [f"{word}: unknown key; did you mean `{section}`?"]


def test_a_section_that_is_not_a_table_is_one_line(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for section in some(keys_of(whole_model())):
        with subtests.test(section=section):
            lines = problems(tmp_path, tree(**{section: 5}))

            assert [line.partition(":")[0] for line in lines] == [section]
            assert "table" in lines[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(key=st.sampled_from([*KEYS, *((name,) for name in keys_of(whole_model()))]), value=ANYTHING)
def test_whatever_stands_at_a_key_the_answer_is_settings_or_problems_of_one_line(
    key: Key, value: Any, tmp_path: Path
) -> None:
    for line in problems(tmp_path, with_value(key, value)):
        assert line.isprintable()
        assert ": " in line


def test_a_key_like_no_other_is_answered_with_those_there_are(tmp_path: Path) -> None:
    assert problems(tmp_path, with_value(("worker", "zzz"), 1)) == ["worker.zzz: unknown key; expected one of lease"]


def test_a_key_that_stands_in_another_table_is_answered_with_its_own(tmp_path: Path) -> None:
    quiet = with_value(("worker", "quiet_hours"), "21:00-08:00")
    assert problems(tmp_path, quiet) == ["worker.quiet_hours: unknown key; it is a key of [invitations]"]


def test_a_section_of_a_feature_that_is_not_there_is_one_line_that_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(shipped.SECTIONS, "taken_out", "taken_out")

    assert problems(tmp_path, with_value(("taken_out", "on"), True)) == ["taken_out: this feature is not installed"]


def test_what_load_fills_in_is_no_key(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_value(("accounts", "kyc", "name"), "other"))

    assert line.startswith("accounts.kyc.name: unknown key")


def test_the_documentation_is_in_step_with_the_model() -> None:
    for path, sections in some(pages().items()):
        page = (ROOT / path).read_text(encoding="utf-8")

        assert page == page_with_tables(page, sections), "run `python -m tests.settings.reference`"


def test_the_shipped_example_has_every_section_and_loads(tmp_path: Path) -> None:

    shutil.copy(ROOT / "examples/onboarding.toml", tmp_path)
    (tmp_path / "templates").mkdir()

    settings = load(tmp_path / "onboarding.toml", environ=ENVIRON)

    assert list(settings.accounts) == ["kyc-eu", "kyb", "au"]
    assert settings.accounts["kyc-eu"].budget == "kyb"
    assert settings.accounts["kyb"].limits == settings.accounts["kyc-eu"].limits
    assert settings.accounts["au"].lifetime is None
    assert settings.email is not None
    assert settings.sms is not None
    assert settings.bus is not None
    assert settings.warnings == ()
