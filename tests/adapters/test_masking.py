import re

from hypothesis import given
from hypothesis import strategies as st

from onboarding_testing.accounts import AOIFE, request, shown_of
from onboarding_worker.adapters.bodies import LONGEST_MESSAGE, LONGEST_READ, MASK, PATTERNS, masked
from onboarding_worker.core.model.customers import Person


def test_the_providers_own_words_are_kept():
    message = "Field 'sessionLength' must be an integer from 60 to 3600."

    assert masked(message, request()) == message


def test_a_name_is_masked_however_it_is_written():
    shown = masked("Name AOIFE aOiFe NÍ BHRIAIN (Bhriain) of aoife is wrong", request())

    assert shown == "Name … … … (…) of … is wrong"


def test_a_name_of_two_letters_is_masked_as_a_whole_word():
    li = Person(first_name="Li", last_name="Ng")

    assert masked("LI Ng is over the limit", request(person=li)) == "… … is over the limit"


def test_a_word_of_an_address_is_masked():
    assert "Pelham" not in masked("Cannot find Pelham in Dublin", request())


def test_parameters_of_the_line_are_masked_however_deep():
    parameters = {
        "personalNumber": "39001011234",
        "additionalData": {"utility": {"town": "Kaunas"}},
        "documents": ["VISA"],
        "ageLimit": 184,
        "checkAml": True,
    }

    shown = masked("39001011234 Kaunas VISA 184 True", request(parameters))

    assert shown == "… … … … True"


def test_what_looks_like_a_contact_number_token_or_id_is_masked(subtests):
    cases = [
        "someone.else@example.net",
        "someone%40example.net",
        "+370 612 34567",
        "0612-345-678",
        "39001011234",
        "1990-12-20",
        "pgYQX0z2T8mtcpNj9I20uWVCLKNuG0vgr12f0wAC",
        "ec6a7108-8c26-11e9-9758-309c231b1bac",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.AAAAaaaa",
    ]
    for secret in cases:
        with subtests.test(secret=secret):
            shown = masked(f"Value '{secret}' is not valid", request())

            assert secret not in shown
            assert shown.startswith("Value '…")
            assert shown.endswith("' is not valid")


def test_a_url_keeps_its_host_alone():
    shown = masked("see https://user:pw@ivs.idenfy.com/api/v2/redirect?authToken=abc for more", request())

    assert shown == "see https://ivs.idenfy.com/… for more"


def test_a_secret_of_the_account_is_masked():
    assert masked("Key hunter2 is unknown", request(), secrets=["hunter2"]) == "Key … is unknown"


def test_invisible_characters_hide_nothing():
    shown = masked("Ao\u200bife \u202eis\u2066 wrong\r\nX-Injected: 1\x1b[31m", request())

    assert shown == "… is wrong X-Injected: 1 [31m"


def test_a_decomposed_name_is_masked():
    assert "BHRIAIN" not in masked("NI\u0301 BHRIAIN", request())
    assert masked("I\u0301ris", request(person=Person(first_name="Íris"))) == "…"


def test_a_letter_that_upper_case_makes_longer_is_masked():
    assert masked("GROSS and groß", request(person=Person(last_name="Groß"))) == "… and …"


def test_a_long_message_is_cut():
    assert len(masked("word " * 1000, request())) == LONGEST_MESSAGE


def test_a_value_that_the_cut_goes_through_does_not_stay_as_a_half():
    # Each name shrinks to one character, so the end of the part that is read becomes visible.
    name = "Wolfeschlegelsteinhausenbergerdorffvoralternwarengewissenhaf"
    message = f"{name} " * 200

    shown = masked(message, request(person=Person(last_name=name)))

    assert LONGEST_READ % len(name + " ") in range(5, 40)
    assert set(shown) == {"…", " "}


def test_what_is_no_text_has_nothing_to_show():
    cases = [None, 5, ["Aoife"], {"detail": "Aoife"}, b"Aoife"]
    assert [(message, got) for message in cases if (got := masked(message, request())) != ""] == []


NAMES = st.text(st.characters(categories=["L"], max_codepoint=0x24F), min_size=3, max_size=20)


@given(before=st.text(max_size=50), name=NAMES, after=st.text(max_size=50))
def test_whatever_stands_around_it_a_name_is_not_shown(before, name, after):
    asked = request(person=Person(first_name=name))

    for form in (name, name.upper(), name.lower()):
        shown = masked(f"{before}{form}{after}", asked)
        assert form not in shown
        assert len(shown) <= LONGEST_MESSAGE


@given(st.lists(st.sampled_from([*sorted(shown_of(AOIFE)), " ", "x", "\n", "'", "\u200b"]), max_size=30))
def test_no_order_of_personal_values_shows_one(parts):
    shown = masked("".join(parts), request())

    assert shown_of(AOIFE)
    assert not [value for value in shown_of(AOIFE) if value in shown]


# As the patterns read without the bounds that keep them linear.
SIMPLE = (
    (re.compile(r"[^\s@\"'<>(),;:]+(?:@|%40)[^\s@\"'<>(),;:]+", re.IGNORECASE), MASK),
    (re.compile(r"(?=[A-Za-z0-9_+/=.~-]*\d)(?=[A-Za-z0-9_+/=.~-]*[A-Za-z])[A-Za-z0-9_+/=.~-]{16,}"), MASK),
    (re.compile(r"[A-Za-z0-9_+/=.~-]{40,}"), MASK),
)


PIECES = st.sampled_from([*"aZ09 @_+/=.~-<>(),;:'\"…é", "a1" * 9, "b" * 41, "%40"])


@given(st.lists(PIECES, max_size=40).map("".join))
def test_a_run_that_is_looked_at_from_its_beginning_only_is_masked_as_from_anywhere(text):
    linear = [pattern for pattern in PATTERNS if "(?<!" in pattern[0].pattern]

    assert len(linear) == len(SIMPLE)
    for (pattern, mask), (simple, _) in zip(linear, SIMPLE, strict=True):
        assert pattern.sub(mask, text) == simple.sub(mask, text)


def test_no_more_than_the_beginning_of_a_message_is_looked_at(subtests):
    for run in ["a.", "a", "1 ", "@", "/", "a1", "a://", "x%40", "\u0301\u0316"]:
        with subtests.test(run=run):
            end = "Quirin"

            shown = masked(run * 1_000_000 + end, request(person=Person(first_name=end)))

            assert len(shown) <= LONGEST_MESSAGE
            assert end not in shown
