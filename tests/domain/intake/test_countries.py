from worker.domain.contact import time_zones
from worker.domain.model import countries


def test_there_are_249_countries_and_each_code_leads_to_the_other():
    assert len(countries.ALPHA3_OF) == len(countries.ALPHA2_OF) == 249
    for two, three in countries.ALPHA3_OF.items():
        assert (len(two), len(three)) == (2, 3)
        assert countries.alpha2(three) == countries.alpha2(two) == two


def test_the_codes_are_those_of_iso_3166():
    cases = [("AU", "AUS"), ("NZ", "NZL"), ("DE", "DEU"), ("LT", "LTU"), ("CH", "CHE"), ("AT", "AUT"), ("AX", "ALA")]
    assert [(two, got) for two, three in cases if (got := countries.alpha2(f" {three.lower()} ")) != two] == []


def test_kosovo_has_the_code_that_banks_use_though_iso_3166_has_none():
    assert [countries.alpha2(code) for code in ("xk", "XKX")] == ["XK", "XK"]
    assert time_zones.of_country("XK") == ("Europe/Belgrade",)


def test_what_is_no_code_is_no_country():
    cases = ["", "UK", "XX", "ZZZ", "Germany", "D", "İT"]
    assert [(code, got) for code in cases if (got := countries.alpha2(code)) is not None] == []
