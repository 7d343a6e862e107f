"""A list may be named by an address: what is one, how its batch is called, and who fetches it."""

import io

import pytest

from onboarding_worker.lists.sources import CannotFetch, ListSource, fetch, is_address, name_of


def test_a_batch_has_the_name_of_the_file_alone():
    assert name_of("https://u:hemlig@host/a/list%20one.csv?X-Amz-Signature=hemlig") == "list one.csv"
    assert name_of("s3://bucket/") == "list"
    assert not is_address("C:/list.csv")
    assert not is_address("list.csv")


def test_the_source_of_its_scheme_fetches_a_list():
    def source(name: str) -> ListSource:
        return ListSource((name,), lambda address, out: out.write(f"{name}: {address}".encode()))

    out, sources = io.BytesIO(), [source("a"), source("b")]
    fetch("B://host/list.csv", out, sources)
    assert out.getvalue() == b"b: B://host/list.csv"
    with pytest.raises(CannotFetch, match="a list is fetched from a://, b://, or read from a file"):
        fetch("c://host/list.csv", out, sources)


def test_without_a_source_nothing_is_fetched():
    with pytest.raises(CannotFetch, match="not installed"):
        fetch("https://host/list.csv", io.BytesIO(), [])
