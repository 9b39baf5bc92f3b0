"""Limits of a production: one pass, a cache, a cluster, and the same answer through all of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest

from prodconf.core.errors import ArgumentError, FileError, ProdconfError, ProdconfWarning
from prodconf.events import _hdf5_blocks as hdf5_blocks
from prodconf.events import triggered as triggered_events
from prodconf.events.reduced import FileInfo, ReducedEventWriter
from prodconf.events.sub_arrays import SubArray
from prodconf.limits import production as limits_production
from prodconf.limits.pilots import LimitRequest
from prodconf.limits.production import Reading, cluster_client, derive_limits

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
cloudpickle = pytest.importorskip("cloudpickle")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file

TELESCOPES = ["LSTN-01", "LSTN-02", "MSTN-01", "MSTN-02"]
SUB_ARRAYS = [SubArray("all"), SubArray("stereo", multiplicity=2), SubArray("lst", ("LSTN-01", "LSTN-02"))]
LOSS = 0.01


def write(path, number, *, zenith=20.0, n_showers=6000, share=1.0, seed=None):
    """Write one event file of one simulation file; showers are used three times."""
    rng = np.random.default_rng(number if seed is None else seed)
    shower = np.repeat(np.arange(1, n_showers // 3 + 1), 3)
    energy = np.repeat(0.03 / (1 - rng.random(n_showers // 3) * (1 - 3e-4)), 3)
    offset = np.repeat(rng.uniform(-2, 2, (2, n_showers // 3)), 3, axis=1)
    x, y = rng.uniform(-600, 600, (2, len(shower)))
    chance = share * np.exp(-np.hypot(x, y) / (300 * energy**0.3)) * -np.expm1(-((energy / 0.1) ** 6))
    kept = np.flatnonzero(rng.random(len(shower)) < chance)
    ranges = (-2.0, 0.03, 100.0, 0.0, 5.0, 0.0, 900.0)
    with ReducedEventWriter(path, telescopes=TELESCOPES) as writer:
        writer.add_file(FileInfo(f"gamma_run{number:06d}.zst", 0, number, 1, *ranges, zenith, 180.0, 0.24))
        use = np.tile(np.arange(3), n_showers // 3)
        key = {"file_id": 0 * shower, "shower_id": shower, "event_id": 100 * shower + use}
        place = {"azimuth": 180 + offset[0], "altitude": 90 - zenith + offset[1]}
        writer.add_showers(**key, energy=energy, x_core=x, y_core=y, **place)
        masks = rng.integers(1, 16, (len(kept), 1), dtype=np.uint64)
        key = {name: values[kept] for name, values in key.items()}
        writer.add_triggers(**key, array_altitude=90 - zenith, array_azimuth=180.0, masks=masks)
    return path


@pytest.fixture(scope="module")
def production(tmp_path_factory):
    """Four files of one pointing, three of another; not to be changed."""
    folder = tmp_path_factory.mktemp("production")
    return [write(folder / f"run{n:02d}.h5", n, zenith=20.0 if n < 4 else 40.0) for n in range(7)]


@pytest.fixture(scope="module")
def serial(production):
    """Their limits, derived in one process without a cache."""
    return derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS))


@pytest.fixture(scope="module")
def client():
    """Two workers of one thread."""
    with cluster_client("local:2") as client:
        yield client


@pytest.fixture
def reads(monkeypatch):
    """The event files that are opened from now on, for their events or for what they cover."""
    found = []

    def counting(name):
        function = getattr(triggered_events, name)

        def counted(path, **options):
            found.append((name, path.name))
            return function(path, **options)

        monkeypatch.setattr(triggered_events, name, counted)

    for name in ("iterate", "read_overview", "sha256"):
        counting(name)
    return found


def assert_same(one, other):
    """Two productions are the same to the bit."""
    assert one.pilots == other.pilots
    assert one.skipped == other.skipped
    assert one.notes == other.notes


def values(pilot):
    """What does not depend on how much is known beyond the tails."""
    return [(one.value, one.n_tail, one.verdict) for one in (pilot.energy, pilot.radius, pilot.viewcone)]


# one process


def test_every_group_and_sub_array_has_its_limits(serial):
    assert [(p.point.zenith, p.sub_array) for p in serial.pilots] == [
        (zenith, one.name) for zenith in (20.0, 40.0) for one in SUB_ARRAYS
    ]
    assert serial.skipped == {}
    assert serial.notes == []


def test_the_limits_are_order_statistics_of_all_files(production, serial):
    """From a second implementation: plain h5py and numpy, no chunks, no summaries."""
    energies = []
    for path in production[:4]:
        with h5py.File(path) as file:
            found = file["SHOWERS"][:], file["TRIGGERS"][:]
        key = [rows["shower_id"].astype(np.int64) * 1000 + rows["event_id"] % 100 for rows in found]
        energies.append(found[0]["simulated_energy"][np.searchsorted(key[0], key[1])])
    energy = np.sort(np.concatenate(energies))
    assert serial.pilots[0].n_triggered == energy.size
    n_lost = np.sum(energy < serial.pilots[0].energy.value)
    assert LOSS * energy.size - 1 <= n_lost <= LOSS * energy.size


def test_the_order_of_the_files_does_not_matter(production, serial):
    assert_same(derive_limits(production[::-1], SUB_ARRAYS, LimitRequest(LOSS)), serial)
    pattern = [str(production[0].parent / "run0[4-6].h5"), production[0].parent / "run0[0-3].h5"]
    assert_same(derive_limits(pattern, SUB_ARRAYS, LimitRequest(LOSS)), serial)


def test_too_small_a_capacity_is_raised(production, serial, monkeypatch):
    monkeypatch.setattr(limits_production.LimitRequest, "capacity", lambda self, n_triggers: 16)
    found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS))
    for one, other in zip(found.pilots, serial.pilots, strict=True):
        assert values(one) == values(other)


def test_progress_counts_files(production):
    done = []
    derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), progress=done.append)
    assert sum(done) == len(production)


# cache: new files only, interrupted runs


def test_adding_files_reads_only_the_new_ones(production, serial, tmp_path, reads):
    cache = tmp_path / "cache"
    first = derive_limits(production[:2] + production[4:5], SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=cache))
    assert len(reads) == 3 * 3
    reads.clear()
    assert_same(derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=cache)), serial)
    new = [path.name for path in production[2:4] + production[5:]]
    assert sorted(reads) == sorted((kind, name) for kind in ("iterate", "read_overview", "sha256") for name in new)
    reads.clear()
    assert_same(derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=cache)), serial)
    other = derive_limits(production, [SubArray("new", ("MSTN-01",))], LimitRequest(0.1), Reading(cache=cache))
    assert len(other.pilots) == 2
    again = derive_limits(production[:2] + production[4:5], SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=cache))
    assert_same(again, first)
    assert reads == []


def test_an_interrupted_run_continues(production, serial, tmp_path, reads):
    done = []

    def interrupt(n_files):
        done.append(n_files)
        if len(done) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path), progress=interrupt)
    assert [kind for kind, _ in reads].count("iterate") == 4
    reads.clear()
    assert_same(derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path)), serial)
    assert [kind for kind, _ in reads].count("iterate") == len(production) - 4
    assert [kind for kind, _ in reads].count("read_overview") == 0


KILLED = """
import os, signal, sys, time
from prodconf.events import triggered as triggered_events
from prodconf.limits.pilots import LimitRequest
from prodconf.limits.production import Reading, derive_limits
from prodconf.events.sub_arrays import SubArray
triggered_events._BLOCK = 200
def slow(blocks):
    for block in blocks:
        print("block", flush=True)
        time.sleep(0.05)
        yield block
original = triggered_events.iterate
triggered_events.iterate = lambda path, chunk: slow(original(path, chunk=500))
derive_limits(sys.argv[2:], [SubArray("all")], LimitRequest(0.01), Reading(sys.argv[1]))
"""


def test_a_killed_run_leaves_nothing_broken_and_continues(production, serial, tmp_path, reads):
    cache, files = tmp_path / "cache", [str(path) for path in production]
    command = [sys.executable, "-c", KILLED, str(cache), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(30):  # two files of twelve blocks, and some of the third
            process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(list(cache.glob("[!.]*.events"))) == 2
    assert len(list(cache.glob(".*.events"))) == 1
    assert_same(derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=cache)), serial)
    assert [kind for kind, _ in reads].count("iterate") == len(production) - 2


def test_a_full_disk_is_told_once_and_costs_no_result(production, serial, tmp_path, monkeypatch):
    def full(path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(triggered_events, "atomic_path", full)
    with pytest.warns(ProdconfWarning) as told:
        found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path))
    assert found.pilots == serial.pilots
    assert all("No space left on device" in str(one.message) or "more warnings" in str(one.message) for one in told)
    assert len(set(found.notes)) == len(found.notes)


def test_a_cache_that_does_not_fit_is_told(production, serial, tmp_path):
    derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path))
    one = sorted(tmp_path.glob("*.events"))[3]
    one.write_bytes(one.read_bytes()[:-7])
    with pytest.warns(ProdconfWarning, match="does not fit") as told:
        found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path))
    assert found.pilots == serial.pilots
    assert found.notes == [str(one.message) for one in told]


# bad files


@pytest.fixture
def with_bad_files(production, tmp_path):
    """The production, an empty file, one that is none, and one whose events contradict themselves."""
    empty, text, torn = tmp_path / "empty.h5", tmp_path / "text.h5", tmp_path / "torn.h5"
    empty.touch()
    text.write_text("no event file")
    write(torn, 90)
    with h5py.File(torn, "r+") as file:
        rows = file["TRIGGERS"][:]
        rows["shower_id"][-1] = 10**6
        file["TRIGGERS"][:] = rows
    return [*production, empty, text, torn]


def test_bad_files_are_refused(with_bad_files):
    for bad, words in zip(with_bad_files[-3:], ("is empty", "neither an HDF5", "has no row in SHOWERS"), strict=True):
        with pytest.raises(ProdconfError, match=rf"{bad.name}.*{words}"):
            derive_limits([*with_bad_files[:-3], bad], SUB_ARRAYS, LimitRequest(LOSS))


@pytest.mark.parametrize("cached", [False, True])
def test_bad_files_are_left_out_and_listed(with_bad_files, serial, tmp_path, client, cached):
    cache = tmp_path / "cache" if cached else None
    for scheduler in (None, client):
        reading = Reading(cache, scheduler, skip_invalid=True)
        found = derive_limits(with_bad_files, SUB_ARRAYS, LimitRequest(LOSS), reading)
        assert [path.name for path in found.skipped] == ["empty.h5", "text.h5", "torn.h5"]
        for path, sentence in found.skipped.items():
            assert str(path) in sentence
        for one, other in zip(found.pilots, serial.pilots, strict=True):
            assert (one.energy, one.radius, one.viewcone) == (other.energy, other.radius, other.viewcone)
            assert one.n_simulated == other.n_simulated


def test_a_missing_file_is_an_error_even_then(production):
    with pytest.raises(ProdconfError, match=r"absent.*: no file found"):
        derive_limits([*production, "absent*.h5"], SUB_ARRAYS, reading=Reading(skip_invalid=True))


def test_nothing_but_bad_files(with_bad_files):
    with pytest.raises(ArgumentError, match=r"no limit can be derived: 3 files were left out \(.*empty\.h5: is empty"):
        derive_limits(with_bad_files[-3:], SUB_ARRAYS, reading=Reading(skip_invalid=True))


@pytest.mark.parametrize("scheduler", [None, "client"])
def test_groups_without_triggers(production, tmp_path, client, scheduler):
    dark, scheduler = write(tmp_path / "dark.h5", 91, zenith=60.0, share=0.0), client if scheduler else None
    with pytest.raises(FileError, match="no event triggered"):
        derive_limits([dark], SUB_ARRAYS, reading=Reading(scheduler=scheduler))
    found = derive_limits(
        [*production, dark], SUB_ARRAYS, LimitRequest(LOSS), Reading(skip_invalid=True, scheduler=scheduler)
    )
    assert len(found.pilots) == 6
    assert "no event triggered" in found.skipped[dark]


# a cluster


def test_a_cluster_gives_the_same_to_the_bit(production, serial, client, tmp_path):
    done = []
    found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client), progress=done.append)
    assert_same(found, serial)
    assert sum(done) == len(production)
    for _ in range(2):  # by address, filling a cache and from it
        address = client.scheduler_info()["address"]
        assert_same(
            derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=address, cache=tmp_path)),
            serial,
        )
    assert len(list(tmp_path.glob("*.events"))) == len(production)
    assert client.status == "running"


def test_tails_may_stay_with_the_workers(production, serial, client):
    for scheduler in (None, client):
        found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=scheduler), tails=False)
        assert not any(pilot.tails for pilot in found.pilots)
        assert [replace(pilot, tails=kept.tails) for pilot, kept in zip(found.pilots, serial.pilots, strict=True)] == (
            serial.pilots
        )


@pytest.mark.parametrize("arity", [2, 3])
def test_the_shape_of_the_tree_does_not_matter(production, serial, client, monkeypatch, arity):
    monkeypatch.setattr(limits_production, "_ARITY", arity)
    monkeypatch.setattr(limits_production, "_BATCH_BYTES", 1)
    assert_same(derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client)), serial)


def test_too_small_a_capacity_is_raised_on_a_cluster(production, serial, client, monkeypatch):
    monkeypatch.setattr(limits_production.LimitRequest, "capacity", lambda self, n_triggers: 16)
    done = []
    found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client), progress=done.append)
    for one, other in zip(found.pilots, serial.pilots, strict=True):
        assert values(one) == values(other)
    assert sum(done) <= len(production)


def test_workers_are_told_to_use_one_thread(production, client):
    assert set(client.nthreads().values()) == {1}
    assert set(client.run(lambda: os.environ["OMP_NUM_THREADS"]).values()) == {"1"}
    derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client))
    assert set(client.run(lambda: sys.modules["prodconf.events._hdf5_blocks"]._THREADS).values()) == {1}
    assert hdf5_blocks._THREADS > 1
    assert all(address.startswith("tcp://127.0.0.1:") for address in client.nthreads())


def test_the_first_bad_file_stops_a_cluster_too(with_bad_files, client):
    with pytest.raises(ProdconfError, match=r"torn\.h5.*has no row in SHOWERS"):
        derive_limits(
            [*with_bad_files[:-3], with_bad_files[-1]], SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client)
        )


def test_warnings_of_workers_reach_the_caller(production, serial, client, tmp_path):
    derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path))
    for path in sorted(tmp_path.glob("*.events"))[:2]:
        path.write_bytes(b"")
    with pytest.warns(ProdconfWarning, match="does not fit") as told:
        found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path, scheduler=client))
    assert found.pilots == serial.pilots
    assert len(told) == 2
    assert found.notes == [str(one.message) for one in told]


def slow_down():
    """Make every file take a while on the workers that run now."""
    from prodconf.limits import production as module

    fast = module.summarise_files

    def slow(*arguments, **options):
        time.sleep(0.3)
        return fast(*arguments, **options)

    module.summarise_files = slow


def test_a_worker_killed_in_the_middle_loses_nothing(production, serial, monkeypatch):
    monkeypatch.setattr(limits_production, "_BATCH_BYTES", 1)  # one file per task
    with cluster_client("local:2") as client:
        client.run(slow_down)
        before = client.run(os.getpid)
        killed = []

        def kill(n_files):
            """Kill a worker that holds finished summaries while its next task runs."""
            holding = [address for address, keys in client.has_what().items() if keys]
            if not killed and holding:
                killed.append(before[holding[0]])
                os.kill(killed[0], signal.SIGKILL)

        found = derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client), progress=kill)
        after = client.run(os.getpid)
    assert_same(found, serial)
    assert len(killed) == 1
    assert killed[0] not in after.values()


def test_a_task_that_may_have_killed_its_worker_is_told(production, tmp_path, reads):
    """Here Dask is told to give up at the first lost worker, and by default after some."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), cluster_client("local:1") as client:
        alive = list(client.run(os.getpid).values())
        client.run(slow_down)
        options = {"progress": lambda n_files: alive and os.kill(alive.pop(), signal.SIGKILL)}
        with pytest.raises(ProdconfError, match=r"a task lost one worker after the other, .*; what is in the cache is"):
            derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(tmp_path, client), **options)
    n_kept = len(list(tmp_path.glob("[!.]*.events")))
    assert n_kept > 0
    derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(cache=tmp_path))
    assert [kind for kind, _ in reads].count("iterate") == len(production) - n_kept


def test_a_lost_connection_is_told(production, client, monkeypatch):
    def lost(*arguments):
        raise distributed.CancelledError("gone")

    monkeypatch.setattr(limits_production, "_submit", lost)
    with pytest.raises(ProdconfError, match="the connection was lost; what is in the cache is kept"):
        derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client))


def test_a_cluster_that_is_not_there(production, monkeypatch):
    monkeypatch.setattr(limits_production, "_PATIENCE", 0.5)
    with pytest.raises(ProdconfError, match=r"scheduler tcp://127.0.0.1:9: cannot be reached"):
        derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler="tcp://127.0.0.1:9"))


@pytest.mark.parametrize("scheduler", ["", "locals", "local:0", "local:x", 7, "host"])
def test_no_scheduler(production, scheduler):
    with pytest.raises(ArgumentError, match="scheduler must be"):
        derive_limits(production, SUB_ARRAYS, reading=Reading(scheduler=scheduler))


def test_dask_is_not_needed_without_a_cluster(production, serial, monkeypatch):
    for name in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    assert_same(derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS)), serial)
    with pytest.raises(ProdconfError, match=r"pip install prodconf\[cluster\]"):
        derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler="local"))


# batches


def test_batches_cover_the_files_in_order(tmp_path):
    sizes = np.random.default_rng(3).integers(1, 300, 60)
    files = [tmp_path / f"{k:02d}" for k in range(60)]
    for file, size in zip(files, sizes, strict=True):
        file.write_bytes(bytes(int(size)))
    for n_bytes in (1, 200, 1000, 10**9):
        ranges = limits_production._batches(files, n_bytes)
        assert [k for start, stop in ranges for k in range(start, stop)] == list(range(60))
        for start, stop in ranges:
            assert stop == start + 1 or sizes[start:stop].sum() <= n_bytes
    assert len(limits_production._batches(files, 10**9)) == 1


def test_only_the_outcome_comes_to_the_client(production, client, monkeypatch):
    """The results that the client asks for are those of the last task of each group."""
    gathered = []
    original = distributed.Future.result

    def counted(self, timeout=None):
        gathered.append(self.key)
        return original(self, timeout)

    monkeypatch.setattr(distributed.Future, "result", counted)
    derive_limits(production, SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client))
    assert len(gathered) == 2
    assert all(key.startswith("_finish") for key in gathered)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deadline = time.monotonic() + 300
        while any(client.has_what().values()) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not any(client.has_what().values())


def test_files_may_lie_anywhere(production, serial, tmp_path, monkeypatch, client):
    """Relative names are made absolute before they go to workers that run in another folder."""
    for path in production:
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = derive_limits("*.h5", SUB_ARRAYS, LimitRequest(LOSS), Reading(scheduler=client, cache="cache"))
    assert found.pilots == serial.pilots
    assert (tmp_path / "cache").is_dir()


@pytest.mark.parametrize("address", ["foo://bar", "tcp://127.0.0.1:x", "tcp://", "tls://127.0.0.1:1", "local:0"])
def test_an_address_that_is_none_is_refused_before_anything_starts(production, address):
    with pytest.raises(ProdconfError, match=r"scheduler must be .* got '" + address):
        derive_limits(production, [SubArray("all")], reading=Reading(scheduler=address))


def test_files_that_name_telescopes_in_two_ways_are_not_added(shared_data):
    names = [
        shared_data / f"reduced_events/{name}.hdf5" for name in ("run202_proton_za20deg_v0.17", "proton_za20deg_v0.32")
    ]
    with pytest.raises(FileError, match="some files name telescopes by number and others by name"):
        derive_limits(names, [SubArray("all")], LimitRequest(0.3))
