"""Listeners: called in order, and removed at any moment."""

from FetusMapV2Lib.core.listeners import Listeners


def test_each_listener_is_called_until_it_is_removed():
    heard = []
    listeners = Listeners[int]()
    remove_first = listeners.add(lambda value: heard.append(("first", value)))
    listeners.add(lambda value: heard.append(("second", value)))
    listeners.notify(1)
    remove_first()
    remove_first()
    listeners.notify(2)
    listeners.clear()
    listeners.notify(3)
    assert heard == [("first", 1), ("second", 1), ("second", 2)]


def test_a_listener_may_remove_itself_while_it_is_called():
    heard = []
    listeners = Listeners[str]()

    def once(value):
        heard.append(value)
        remove()

    remove = listeners.add(once)
    listeners.add(heard.append)
    listeners.notify("a")
    listeners.notify("b")
    assert heard == ["a", "a", "b"]
