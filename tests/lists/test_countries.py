from onboarding_worker.core.rules.quiet_hours import zones_of_countries
from onboarding_worker.lists import other_names
from onboarding_worker.lists.rules import country
from onboarding_worker.providers import countries


def test_there_are_249_countries_and_each_code_leads_to_the_other():
    assert len(countries.ALPHA3_OF) == len({*countries.ALPHA3_OF.values()}) == 249
    for two, three in countries.ALPHA3_OF.items():
        assert (len(two), len(three)) == (2, 3)
        assert countries.alpha2(three) == countries.alpha2(two) == two


def test_the_codes_are_those_of_iso_3166():
    cases = [("AU", "AUS"), ("NZ", "NZL"), ("DE", "DEU"), ("LT", "LTU"), ("CH", "CHE"), ("AT", "AUT"), ("AX", "ALA")]
    assert [(two, got) for two, three in cases if (got := countries.alpha2(f" {three.lower()} ")) != two] == []


def test_kosovo_has_the_code_that_banks_use_though_iso_3166_has_none():
    assert [countries.alpha2(code) for code in ("xk", "XKX")] == ["XK", "XK"]
    assert zones_of_countries()["XK"] == ("Europe/Belgrade",)


def test_what_is_no_code_is_no_country():
    cases = ["", "UK", "XX", "ZZZ", "Germany", "D", "İT"]
    assert [(code, got) for code in cases if (got := countries.alpha2(code)) is not None] == []


def test_a_country_is_known_by_its_name_in_each_language_that_we_ship(subtests):
    for code, names in [
        ("DE", "Deutschland, Germany, Alemania, Allemagne, Vokietija,  GERMANY "),
        ("AT", "Österreich, Oesterreich, Austria, Autriche, Austrija"),
        ("LT", "Lietuva, Litauen, Lithuania, Lituanie, Lituania, Republic of Lithuania"),
        ("ES", "España, Spanien, Spain, Espagne, Ispanija"),
        ("US", "United States, Vereinigte Staaten, Estados Unidos, États-Unis, Jungtinės Valstijos, U.S.A."),
        ("BA", "Bosnia & Herzegovina, Bosnia and Herzegovina, Bosnien und Herzegowina"),
        ("CI", "Côte d’Ivoire, Cote d'Ivoire, Ivory Coast, Elfenbeinküste"),
        ("NL", "Netherlands, the Netherlands, Niederlande, Pays-Bas, Países Bajos, Nyderlandai"),
        ("XK", "Kosovo, Kosovas"),
    ]:
        with subtests.test(code=code, names=names):
            assert {name: country(name) for name in names.split(",")} == dict.fromkeys(names.split(","), code)


def test_a_name_that_no_country_has_or_two_have_is_none(subtests):
    for name in ["", "Deutsch", "German", "Teutonia", "Korea", "and", "Ger many", "x" * 81, "\ud800"]:
        with subtests.test(name=name):
            assert other_names.country_of(name) is None


def test_each_country_has_names_and_no_name_is_of_two_countries_or_another_ones_code():
    words = other_names.COUNTRY_NAMES.split()
    names = [word for word in words if not word.isupper()]
    assert {word for word in words if word.isupper()} == countries.ALPHA3_OF.keys() | {"XK"}
    assert len(names) == len(set(names))
    assert [name for name in names if countries.alpha2(name) or countries.usual_mistake(name)] == []
    assert [name for name in names if other_names.country_of(name) is None] == []
