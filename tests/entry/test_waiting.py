"""How `run` ends when what is left does not move by itself."""

from worker.sandbox import Fault

from .desk import Desk, Played, customers


def test_what_the_provider_puts_off_for_an_hour_ends_with_3_and_says_when(desk_at, play):
    desk = desk_at(play(faults=(Fault.parse("429:1.0,retry-after=3600"),)))
    ended = desk.onboard("run", desk.list_of(customers(5)), "--patience", "1 s")
    assert ended.code == 3, ended.err
    assert "5 rows wait until" in ended.err


def test_until_finished_ends_with_3_while_the_customers_have_not_finished(desk: Desk, played: Played):
    ended = desk.onboard("run", desk.list_of(customers(2)), "--until", "finished")
    assert ended.code == 3, ended.err
    assert "2 customers have not finished" in ended.err


def test_a_list_whose_customers_another_paused_list_serves_is_not_waited_for(desk: Desk, played: Played):
    desk.onboard("import", desk.write("first.csv", "customer_id,email\nC-1,one@example.com\n"))
    desk.onboard("pause", "latest")
    ended = desk.onboard("run", desk.write("second.csv", "customer_id,email\nC-1,uno@example.com\n"))
    assert ended.code == 3, ended.err
    assert "wait for another batch" in ended.err
