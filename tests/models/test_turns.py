from threading import Event, Thread

from trimtab.models.turns import Turns


def waiting_thread(turns, work):
    """A thread that waits for its turn, while this thread has it."""
    asks = Event()

    def wait():
        asks.set()
        with turns:
            work()

    thread = Thread(target=wait)
    thread.start()
    asks.wait()
    while not turns._next.locked():  # it is next in line
        pass
    return thread


def test_a_thread_that_waits_has_its_turn_before_the_holders_next():
    turns, order = Turns(), []
    for _ in range(20):
        with turns:
            thread = waiting_thread(turns, lambda: order.append("other"))
            order.append("holder")
        with turns:
            order.append("again")
        thread.join()
    assert order == ["holder", "other", "again"] * 20


def test_the_holder_may_ask_again():
    turns, order = Turns(), []
    with turns:
        thread = waiting_thread(turns, lambda: order.append("other"))
        with turns:
            order.append("inner")
        order.append("outer")
    thread.join()
    assert order == ["inner", "outer", "other"]


def test_an_error_ends_a_turn():
    turns = Turns()
    try:
        with turns:
            raise KeyError
    except KeyError:
        thread = Thread(target=turns.__enter__)
        thread.start()
        thread.join(timeout=10)
        assert not thread.is_alive()
