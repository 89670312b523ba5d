"""Signals to stop: one exception, put off where a job must not be left at any line."""

import signal

import pytest

from FetusMapV2Lib.core import stop_signals as module
from FetusMapV2Lib.core.stop_signals import Stopped, defer_stops, stop_signal_numbers, stop_signals, stopped


@pytest.mark.parametrize("number", stop_signal_numbers())
def test_a_signal_to_stop_is_an_exception_and_handlers_come_back(number):
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        pytest.skip("these tests were started to ignore this signal, as by nohup")
    with stop_signals():
        with pytest.raises(Stopped) as caught:
            signal.raise_signal(number)
        assert caught.value.exit_code == 128 + number
        assert stopped() is caught.value
    assert signal.getsignal(number) == before
    assert stopped() is None


def test_the_same_wish_twice_stops_once_and_a_later_one_again(monkeypatch):
    with stop_signals():
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr(module, "SAME_REQUEST_S", 0.0)
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)


def test_a_stop_is_put_off_to_the_end_of_a_block():
    done = []
    with stop_signals():
        with pytest.raises(Stopped), defer_stops() as outer:
            with defer_stops() as inner:
                assert not inner()
                signal.raise_signal(signal.SIGTERM)
                assert inner()
                done.append("inner")
            assert outer()
            done.append("outer")
        assert done == ["inner", "outer"]
        with defer_stops() as asked:  # clearing up after it is not stopped again
            assert not asked()


def test_signals_that_were_ignored_stay_so_unless_told(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped), stop_signals(even_if_ignored=True):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_of_another_origin_is_no_signal():
    with pytest.raises(KeyboardInterrupt), stop_signals():
        raise KeyboardInterrupt
    assert stopped() is None
