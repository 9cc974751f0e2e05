"""Signals that are for another process than this one."""

from __future__ import annotations

import multiprocessing
import signal
import time

import pytest

from tunectl.cli.signals import ECHO_S, stopping_gently


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_obeys_signals_itself_and_they_stop_nobody_else() -> None:
    said: list[str] = []
    with stopping_gently(lambda: said.append("stopping")) as request:
        for _ in range(2):  # a second signal would end the program at once
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            child.start()
            child.terminate()
            child.join(20)
            assert child.exitcode == -signal.SIGTERM
            time.sleep(1.1 * ECHO_S)
        assert not request()
    assert not said
