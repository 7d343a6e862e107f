"""Adapters of other packages: found by their metadata, loaded when they are needed, and named when they are broken."""

import importlib
import sys

import pytest

from onboarding_worker.adapters.catalogue import AdapterBroken, Catalogue
from tests.providers.installed import install

GROUP = "onboarding_worker.test_adapters"
OURS = {"json-reader": "json:loads"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def installed(site, package, points, module="", **more):
    install(site, package, points, group=GROUP, module=module, **more)
    return Catalogue(GROUP, OURS)


def test_our_own_come_first_and_those_of_packages_follow(site):
    found = installed(site, "zz-acme", {"acme": "zz_acme:IT"}, "IT = 'it'")

    assert list(found) == ["json-reader", "acme"]
    assert [(one.name, one.package) for one in found.foreign] == [("acme", "zz-acme 0.1.0")]
    assert ("acme" in found, "other" in found) == (True, False)
    assert found.load("json-reader")("7") == 7
    assert found.load("acme") == "it"
    assert found.load("other") is None


def test_an_adapter_that_is_not_needed_is_not_imported(site):
    found = installed(site, "zz-lazy", {"lazy": "zz_lazy:IT"}, "raise SystemExit('it was imported')")

    assert "lazy" in found
    assert found.clashes() == []
    assert "zz_lazy" not in sys.modules


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError (no_such_module_at_all) at zz_broken.py, line 1"),
        ("\nraise ValueError('hunter2-secret')", "ValueError at zz_broken.py, line 2"),
        ("OTHER = 1", "AttributeError at "),
        ("def broken(:", "SyntaxError at "),
    ],
)
def test_a_broken_one_is_named_with_its_package_and_place_and_without_a_value(site, module, problem):
    sys.modules.pop("zz_broken", None)
    found = installed(site, "zz-broken", {"broken": "zz_broken:IT"}, module)

    with pytest.raises(AdapterBroken) as caught:
        found.load("broken")

    assert str(caught.value).startswith(f"the adapter broken of zz-broken 0.1.0 cannot be loaded: {problem}")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__  # no trace of the foreign code


def test_the_name_of_a_built_in_one_cannot_be_taken(site):
    found = installed(site, "zz-thief", {"json-reader": "zz_thief:IT"}, "IT = 'theirs'")

    assert found.clashes() == [
        "zz-thief 0.1.0: its adapter has the name json-reader, which is built in: uninstall the package"
    ]
    assert found.load("json-reader")("7") == 7


def test_two_packages_cannot_have_one_name(site):
    installed(site, "zz-one", {"acme": "zz_one:IT"})

    assert installed(site, "zz-two", {"acme": "zz_two:IT"}).clashes() == [
        "zz-one 0.1.0 and zz-two 0.1.0: both have an adapter acme: uninstall one"
    ]


@pytest.mark.parametrize("name", ["Acme", "acme.idv", "a b", "acme_idv", "-acme", "a" * 64])
def test_a_name_that_no_column_could_have_is_refused(site, name):
    (line,) = installed(site, "zz-odd", {name: "zz_odd:IT"}).clashes()

    assert line.startswith("zz-odd 0.1.0: its adapter has the name ")
