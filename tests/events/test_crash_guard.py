"""Deadly files: a second process dies in every way that a process can, and each file is named."""

import sys
import textwrap
import threading

import pytest

from prodconf.core.errors import ProdconfError
from prodconf.events import _crash_guard as file_trials
from prodconf.events._crash_guard import deadly_files

TRIAL = """
import ctypes, os, sys, time

def obey(path):
    order = open(path).read()
    if order == "segfault":
        ctypes.string_at(0)
    elif order == "exit":
        os._exit(0)
    elif order == "sleep":
        time.sleep(60)
    elif order == "raise":
        raise RuntimeError
    elif order == "grow":
        bytearray(1 << 40)
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "deadly_trial.py").write_text(textwrap.dedent(TRIAL))
    monkeypatch.syspath_prepend(tmp_path)

    def make(orders):
        paths = [tmp_path / f"{number} {order}.dat" for number, order in enumerate(orders)]
        for path, order in zip(paths, orders, strict=True):
            path.write_text(order)
        return {str(path): 1.0 for path in paths}

    return make


@pytest.fixture(params=[True, False], ids=["fork", "fresh interpreter"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(file_trials, "_can_fork", lambda: request.param)
    return "_fork" if request.param else "_start"


@pytest.mark.parametrize("orders", [[], ["read"], ["read"] * 5, ["segfault", "read", "sleep", "exit", "raise", "grow"]])
def test_what_kills_is_named_and_nothing_else(files, orders):
    paths = files(orders)
    sound = [path for path, order in zip(paths, orders, strict=True) if order == "read"]
    assert deadly_files(paths, trial="deadly_trial:obey") == [path for path in paths if path not in sound]


def test_sound_files_cost_one_process(files, monkeypatch, way):
    started = []
    original = getattr(file_trials, way)
    monkeypatch.setattr(file_trials, way, lambda *given: started.append(1) or original(*given))
    deadly_files(files(["read"] * 20), trial="deadly_trial:obey")
    assert len(started) == 1
    deadly_files(files(["read", "exit", "read", "exit"]), trial="deadly_trial:obey")
    assert len(started) == 1 + 2  # nothing is left behind the last one, so no third start


@pytest.mark.parametrize("trial", ["deadly_trial:absent", "no_such_module:obey"])
def test_trial_that_is_not_there(files, trial):
    with pytest.raises(ProdconfError, match=f"{sys.executable} does not start a second process"):
        deadly_files(files(["read"]), trial=trial)


def test_a_process_with_threads_is_not_forked(monkeypatch):
    monkeypatch.undo()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not file_trials._can_fork()
    finally:
        stop.set()
        thread.join()
