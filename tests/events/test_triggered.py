"""The cache of triggered events: invisible in the results, whatever happens to it."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.events import triggered as triggered_events
from prodconf.events.reduced import FileInfo, ReducedEventWriter, iterate, read_overview, telescope_numbers
from prodconf.events.tables import sound_states, unsound
from prodconf.events.triggered import (
    cached_numbers,
    cached_overview,
    gathered,
    is_kept,
    known_overview,
    tidy_cache,
    triggered_blocks,
)

TELESCOPES = [f"MSTN-{number:02d}" for number in range(1, 71)]  # more than one word of bits
COLUMNS = ("energy", "angular_distance", "weight", "file_id", "shower_key")


def write(path, *, seed=1, n_showers=4000, share=0.2, n_files=2, telescopes=TELESCOPES):
    """Write an event file of the newest generation with random events."""
    rng = np.random.default_rng(seed)
    file_id, shower = (a.ravel() for a in np.indices((n_files, n_showers)))
    kept = np.flatnonzero(rng.random(len(shower)) < share)
    masks = rng.integers(1, 1 << 6, (len(kept), 2), dtype=np.uint64)
    masks[:, 0] <<= np.arange(len(kept), dtype=np.uint64) * np.uint64(57) // np.uint64(len(kept) or 1)
    with ReducedEventWriter(path, telescopes=telescopes) as writer:
        for number in range(n_files):
            name = f"{path.stem}-run{number}.zst"
            writer.add_file(FileInfo(name, number, 1, 1, -2.0, 0.03, 100.0, 0.0, 4.0, 0.0, 900.0, 20.0, 0.0, 0.24))
        key = {"file_id": file_id, "shower_id": shower + 1, "event_id": 100 * shower}
        writer.add_showers(
            **key,
            energy=rng.uniform(0.03, 100, len(shower)),
            x_core=rng.uniform(-900, 900, len(shower)),
            y_core=rng.uniform(-900, 900, len(shower)),
            azimuth=rng.uniform(0, 4, len(shower)),
            altitude=rng.uniform(68, 72, len(shower)),
            area_weight=rng.uniform(0.5, 2, len(shower)),
        )
        key = {name: values[kept] for name, values in key.items()}
        writer.add_triggers(**key, array_altitude=70.0, array_azimuth=0.0, masks=masks)
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "gamma.hdf5")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def joined(blocks):
    """All events of an iteration as one tuple of bytes, counts and names."""
    blocks = list(blocks)
    words = max(block.masks.shape[1] for block in blocks)
    masks = np.concatenate([np.pad(b.masks, ((0, 0), (0, words - b.masks.shape[1]))) for b in blocks])
    columns = [np.concatenate([getattr(b, name) for b in blocks]) for name in COLUMNS]
    reasons = {b.no_positions for b in blocks}
    positions = [] if any(reasons) else [np.concatenate([b.positions for b in blocks], axis=1)]
    bits = tuple((a.dtype.str, a.shape, a.tobytes()) for a in [*columns, masks, *positions])
    return bits, blocks[-1].telescopes, sum(b.n_showers for b in blocks), reasons


def must_not_read(monkeypatch):
    """Let every reading of an event file fail."""

    def refuse(*arguments, **options):
        raise AssertionError("the event file was read")

    for name in ("iterate", "read_overview", "sha256"):
        monkeypatch.setattr(triggered_events, name, refuse)


def events_file(cache):
    """The only cache file of events."""
    [found] = cache.glob("[!.]*.events")
    return found


# the same events


@pytest.mark.parametrize("chunk", [262_144, 1000, 97])
@pytest.mark.parametrize("block", [65_536, 500, 1])
def test_events_are_the_same_to_the_bit(file, cache, monkeypatch, chunk, block):
    monkeypatch.setattr(triggered_events, "_BLOCK", block)
    truth = joined(iterate(file))
    assert truth[0][4][1][0] > 800  # one row per trigger
    assert joined(triggered_blocks(file, cache=cache, chunk=chunk)) == truth  # the pass that writes
    must_not_read(monkeypatch)
    assert joined(triggered_blocks(file, cache=cache)) == truth
    assert joined(triggered_blocks(str(file), cache=str(cache), chunk=1)) == truth


@pytest.mark.parametrize(("chunk", "n_events"), [(97, 100), (1000, 16_384), (97, 1)])
def test_gathered_blocks_hold_the_same_events(file, chunk, n_events):
    blocks = list(triggered_blocks(file, chunk=chunk))
    found = list(gathered(iter(blocks), n_events))
    assert joined(found) == joined(blocks)
    assert len(found) == len(blocks) if n_events == 1 else 2 * len(found) <= len(blocks)


def test_blocks_that_differ_in_kind_are_not_gathered(file):
    first, second = (next(triggered_blocks(file)) for _ in range(2))
    other = dataclasses.replace(second, positions=None, no_positions="not known")
    wide = dataclasses.replace(second, masks=np.pad(second.masks, ((0, 0), (0, 1))))
    assert [len(block.energy) for block in gathered([first, other, second, wide], 10**9)] == [len(first.energy)] * 4


def test_the_telescopes_are_those_met_so_far(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(triggered_events, "_BLOCK", 40)
    path = write(tmp_path / "few.h5", n_showers=600)
    for _ in range(2):
        met = [block.telescopes for block in triggered_blocks(path, cache=cache, chunk=100)]
        assert len({len(one) for one in met}) > 2
        assert all(met[-1][: len(one)] == one for one in met)


def test_running_numbers_are_shifted(file, cache):
    alone = [block for c in (None, cache, cache) for block in triggered_blocks(file, cache=c)]
    later = [block for c in (None, cache, cache) for block in triggered_blocks(file, cache=c, first_file=2**31 - 2)]
    for one, other in zip(alone, later, strict=True):
        assert np.array_equal(other.file_id, one.file_id + 2**31 - 2)
        assert np.array_equal(other.file_id, other.shower_key >> 32)
        assert np.array_equal(other.shower_key & 0xFFFF_FFFF, one.shower_key & 0xFFFF_FFFF)
        assert other.shower_key.min() >= 0
        assert other.energy is not one.energy
        assert np.array_equal(other.energy, one.energy)


@pytest.mark.parametrize(
    "name", ["run202_proton_za20deg_v0.16.hdf5", "run202_proton_za20deg_v0.17.hdf5", "gamma_diffuse_za20deg_v0.36.hdf5"]
)
def test_real_samples(shared_data, cache, tmp_path, monkeypatch, name):
    source = shared_data / "reduced_events" / name
    truth = joined(iterate(source))
    assert [joined(triggered_blocks(source, cache=cache)) for _ in range(2)] == [truth, truth]
    copy = tmp_path / "other name.hdf5"
    shutil.copy(source, copy)
    monkeypatch.setattr(triggered_events, "iterate", None)  # the copy is the same file
    found = joined(triggered_blocks(copy, cache=cache))
    assert found[:3] == truth[:3]
    assert found[3] == {reason.replace(str(source), str(copy)) for reason in truth[3]}
    assert ("v0.16" in name) == any(str(copy) in reason for reason in found[3])


def test_a_file_without_triggers(tmp_path, cache, monkeypatch):
    path = write(tmp_path / "none.h5", share=0.0)
    truth = joined(iterate(path))
    assert joined(triggered_blocks(path, cache=cache)) == truth
    must_not_read(monkeypatch)
    assert joined(triggered_blocks(path, cache=cache)) == truth
    assert truth[2] == 8000


def test_events_may_be_changed_in_place(file, cache):
    for _ in range(3):
        for block in triggered_blocks(file, cache=cache):
            block.energy[:] = 0
            block.masks[:] = 0
    assert joined(triggered_blocks(file, cache=cache)) == joined(iterate(file))


# which file a cache belongs to


def test_a_changed_file_is_read_again(file, cache, tmp_path):
    list(triggered_blocks(file, cache=cache))
    other = write(tmp_path / "new.hdf5", seed=2)
    os.replace(other, file)
    assert joined(triggered_blocks(file, cache=cache)) == joined(iterate(file))
    assert len(list(cache.glob("*.events"))) == 2


def test_a_file_changed_in_place_with_size_and_time_kept_is_read_again(file, cache, tmp_path):
    other = write(tmp_path / "new.hdf5", seed=2)
    size = max(file.stat().st_size, other.stat().st_size)
    os.truncate(file, size)
    os.truncate(other, size)
    list(triggered_blocks(file, cache=cache))
    cached_overview(file, cache)
    before = file.stat()
    file.write_bytes(other.read_bytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert not is_kept(file, cache)
    assert known_overview(file, cache) is None
    assert joined(triggered_blocks(file, cache=cache)) == joined(iterate(other))


def test_a_file_damaged_in_place_with_size_and_time_kept_is_tried_out_again(file):
    assert not unsound([file])
    assert sound_states([file])
    before, was = file.stat(), sound_states([file])
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    unsound([file])
    assert sound_states([file]) != was


def test_a_touched_file_is_hashed_but_not_read(file, cache, monkeypatch):
    truth = joined(triggered_blocks(file, cache=cache))
    os.utime(file, ns=(1, 1))
    monkeypatch.setattr(triggered_events, "iterate", None)
    assert joined(triggered_blocks(file, cache=cache)) == truth


def test_same_name_in_two_folders(file, cache, tmp_path):
    (tmp_path / "b").mkdir()
    other = write(tmp_path / "b" / file.name, seed=3)
    for _ in range(2):
        for path in (file, other):
            assert joined(triggered_blocks(path, cache=cache)) == joined(iterate(path))


def test_a_file_that_changes_while_it_is_read_is_not_kept(file, cache):
    blocks = triggered_blocks(file, cache=cache, chunk=3000)
    next(blocks)
    os.utime(file, ns=(1, 1))
    list(blocks)
    assert not list(cache.glob("*.events"))
    assert not list(cache.glob(".*"))


# a cache that does not fit


def damaged(path, how):
    """Damage a cache file."""
    data = bytearray(path.read_bytes())
    if how == "flipped bit in the events":
        data[len(data) // 3] ^= 4
    elif how == "flipped bit in the table":
        data[-100] ^= 1
    elif how == "flipped bit in the end":
        data[-3] ^= 1
    elif how == "absurd length":
        data[-12:-4] = b"\xff" * 8
    elif how == "cut in the events":
        data = data[: len(data) // 2]
    elif how == "cut by one byte":
        data = data[:-1]
    elif how == "only the head":
        data = data[:30]
    elif how == "empty":
        data = b""
    elif how == "zeros":
        data = bytes(len(data))
    elif how == "other version":
        data = data.replace(b"events 2\n", b"events 9\n")
    elif how == "older and shorter version":
        data = b"prodconf triggered events 0\n" + data[40:]
    elif how == "longer":
        data += b"\0"
    path.write_bytes(data)


HOWS = {
    "flipped bit in the events": "is damaged in block 0",
    "flipped bit in the table": "is cut short or damaged",
    "flipped bit in the end": "is cut short or damaged",
    "absurd length": "is cut short or damaged",
    "cut in the events": "is cut short or damaged",
    "cut by one byte": "is cut short or damaged",
    "only the head": "",
    "empty": "is no cache of events",
    "zeros": "is no cache of events",
    "other version": "is of another version",
    "older and shorter version": "is of another version",
    "longer": "is cut short or damaged",
}


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_cache_is_told_and_made_again(file, cache, monkeypatch, how):
    truth = joined(triggered_blocks(file, cache=cache))
    sound = events_file(cache).read_bytes()
    damaged(events_file(cache), how)
    with pytest.warns(ProdconfWarning, match=rf"does not fit .*gamma\.hdf5: it .*{HOWS[how]}.*; the event file is"):
        assert joined(triggered_blocks(file, cache=cache)) == truth
    assert events_file(cache).read_bytes() == sound
    must_not_read(monkeypatch)
    assert joined(triggered_blocks(file, cache=cache)) == truth


@pytest.mark.parametrize("rounds", [15, pytest.param(60, marks=pytest.mark.long)])
def test_damage_of_any_kind_never_changes_the_events(file, cache, rounds):
    truth = joined(triggered_blocks(file, cache=cache))
    path, rng = events_file(cache), np.random.default_rng(4)
    sound = path.read_bytes()
    for _ in range(rounds):
        data = bytearray(sound)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] ^= int(rng.integers(1, 256))
        path.write_bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data)
        with pytest.warns(ProdconfWarning, match="does not fit"):
            assert joined(triggered_blocks(file, cache=cache)) == truth
    assert path.read_bytes() == sound


def test_the_cache_of_another_file(file, cache, tmp_path):
    truth = joined(triggered_blocks(file, cache=cache))
    mine = events_file(cache)
    other = tmp_path / "elsewhere"
    list(triggered_blocks(write(tmp_path / "b.h5", seed=5), cache=other))
    shutil.copy(events_file(other), mine)
    with pytest.warns(ProdconfWarning, match="was made from another file"):
        assert joined(triggered_blocks(file, cache=cache)) == truth


def test_counts_that_differ_from_those_of_the_file(file, cache, monkeypatch):
    truth = joined(triggered_blocks(file, cache=cache))
    overview = cached_overview(file, cache)
    assert overview.n_triggers == truth[0][0][1][0]
    assert overview.n_rows == 8000

    def less(path, chunk):  # a cache with one block too few, sound in itself
        yield from list(iterate(path, chunk=1000))[:-1]

    events_file(cache).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(triggered_events, "iterate", less)
        list(triggered_blocks(file, cache=cache))
    with pytest.warns(ProdconfWarning, match=rf"triggers of 7000 rows, the file {overview.n_triggers} of 8000"):
        assert joined(triggered_blocks(file, cache=cache)) == truth


def test_a_cache_file_that_is_a_folder(file, cache):
    truth = joined(triggered_blocks(file, cache=cache))
    events_file(cache).unlink()
    [record] = cache.glob("*.known")
    checksum = triggered_events._recall(file, cache)["sha256"]
    (cache / f"{checksum}.events").mkdir()
    record.unlink()
    record.mkdir()
    with pytest.warns(ProdconfWarning) as told:
        assert joined(triggered_blocks(file, cache=cache)) == truth
    assert any("does not fit" in str(one.message) for one in told)
    assert sum("is a folder" in str(one.message) for one in told) == 2


def test_damaged_records_are_worth_nothing(file, cache):
    truth, overview = joined(triggered_blocks(file, cache=cache)), cached_overview(file, cache)
    [record] = cache.glob("*.known")
    sound, rng = record.read_bytes(), np.random.default_rng(6)
    for _ in range(100):
        data = bytearray(sound)
        data[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        record.write_bytes(data if rng.random() < 0.8 else data[: rng.integers(len(data))])
        assert triggered_events._recall(file, cache) == {}
    assert cached_overview(file, cache) == overview
    assert joined(triggered_blocks(file, cache=cache)) == truth


# overviews


def test_overviews_are_read_once(file, cache, monkeypatch):
    truth = read_overview(file)
    assert cached_overview(file, None) == truth
    assert cached_overview(file, cache) == truth
    must_not_read(monkeypatch)
    assert cached_overview(str(file), str(cache)) == truth
    os.utime(file, ns=(1, 1))
    with pytest.raises(AssertionError, match="was read"):
        cached_overview(file, cache)


def test_overview_of_real_samples(shared_data, cache):
    for path in sorted((shared_data / "reduced_events").glob("*v0.[13][0-9].hdf5")):
        assert cached_overview(path, cache) == cached_overview(path, cache) == read_overview(path)


def test_what_is_known_without_opening_the_file(file, cache, monkeypatch):
    assert known_overview(file, cache) is None
    assert not is_kept(file, cache)
    overview = cached_overview(file, cache)
    assert known_overview(file, cache) == overview
    assert not is_kept(file, cache)
    list(triggered_blocks(file, cache=cache))
    must_not_read(monkeypatch)
    assert known_overview(str(file), str(cache)) == overview
    assert is_kept(str(file), str(cache))
    os.utime(file, ns=(1, 1))
    assert known_overview(file, cache) is None
    assert not is_kept(file, cache)
    assert not is_kept(file.parent / "absent.h5", cache)


def test_telescope_numbers_are_read_once(shared_data, cache, monkeypatch):
    path = shared_data / "reduced_events" / "gamma_diffuse_za20deg_v0.36.hdf5"
    truth = telescope_numbers(path)
    assert len(truth) > 3
    assert cached_numbers(path) == cached_numbers(path, cache) == truth
    monkeypatch.setattr(triggered_events, "telescope_numbers", None)
    assert cached_numbers(path, cache) == truth


def test_overview_and_checksum_share_a_record(file, cache, monkeypatch):
    cached_overview(file, cache)
    list(triggered_blocks(file, cache=cache))
    must_not_read(monkeypatch)
    list(triggered_blocks(file, cache=cache))
    cached_overview(file, cache)
    assert len(list(cache.glob("*.known"))) == 1


# what is begun and not finished


def test_a_pass_that_stops_early_keeps_nothing(file, cache):
    blocks = triggered_blocks(file, cache=cache, chunk=500)
    next(blocks)
    assert len(list(cache.glob(".*.events"))) == 1
    blocks.close()
    assert not list(cache.glob("*.events"))
    assert not list(cache.glob(".*"))


def test_an_unsound_file_keeps_nothing(file, cache, monkeypatch):
    def broken(path, chunk):
        yield from list(iterate(path, chunk=1000))[:3]
        raise ProdconfError("gamma.hdf5: is damaged")

    monkeypatch.setattr(triggered_events, "iterate", broken)
    with pytest.raises(ProdconfError, match="is damaged"):
        list(triggered_blocks(file, cache=cache))
    assert not list(cache.glob("*.events"))
    assert not list(cache.glob(".*"))


KILLED = """
import os, signal, sys
from prodconf.events import triggered as triggered_events
triggered_events._BLOCK = 100
where = sys.argv[3]
def kill(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "replace":
    from pathlib import Path
    Path.replace = kill
for number, block in enumerate(triggered_events.triggered_blocks(sys.argv[1], cache=sys.argv[2], chunk=500)):
    if where == "events" and number == 8:
        kill()
"""


@pytest.mark.parametrize("where", ["events", "replace"])
def test_a_killed_process_leaves_no_broken_cache(file, cache, monkeypatch, where):
    if where == "replace":
        list(triggered_blocks(file, cache=cache))  # the checksum is known, so that the first rename is that of events
        events_file(cache).unlink()
    done = subprocess.run([sys.executable, "-c", KILLED, str(file), str(cache), where], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not list(cache.glob("[!.]*.events"))
    [left] = cache.glob(".*.events")
    assert left.stat().st_size > 1000
    left = left.rename(left.with_name(re.sub(r"prodconf-\w{8}", "prodconf-00000000", left.name)))  # another machine's
    truth = joined(iterate(file))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert joined(triggered_blocks(file, cache=cache)) == truth
        assert joined(triggered_blocks(file, cache=cache)) == truth
    assert tidy_cache(cache) == []  # it may still be written to
    os.utime(left, (0, 0))
    assert tidy_cache(cache) == [left]
    must_not_read(monkeypatch)
    assert joined(triggered_blocks(file, cache=cache)) == truth


# a full disk


LIMITED = """
import resource, sys, warnings
from prodconf.core.errors import ProdconfWarning
from prodconf.events.triggered import triggered_blocks
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    n = sum(len(block.energy) for block in triggered_blocks(sys.argv[1], cache=sys.argv[2], chunk=500))
print(n)
for one in told:
    print(one.category.__name__, one.message)
"""


@pytest.mark.parametrize(("limit", "n_told"), [(0, 2), (4000, 1), (60_000, 1)])
def test_a_file_size_limit(file, cache, limit, n_told):
    command = [sys.executable, "-c", LIMITED, str(file), str(cache), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    n_events, *told = done.stdout.splitlines()
    assert int(n_events) == sum(len(block.energy) for block in iterate(file))
    assert len(told) == n_told
    for line in told:
        assert line.startswith(f"ProdconfWarning cache {cache}: ")
        assert "cannot be kept (File too large); the events are read from their file without it" in line
    assert not list(cache.glob("*.events"))
    assert not list(cache.glob(".*"))


def test_a_device_that_is_full(file, cache, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    @contextmanager
    def full(path, *, overwrite):
        yield Path("/dev/full")

    monkeypatch.setattr(triggered_events, "atomic_path", full)
    with pytest.warns(ProdconfWarning, match="No space left on device") as told:
        assert joined(triggered_blocks(file, cache=cache)) == joined(iterate(file))
    assert len(told) == 2  # the record and the events


@pytest.mark.parametrize("n_good", [0, 1, 2, 5, 9])
def test_a_disk_that_fills_up(file, cache, monkeypatch, n_good):
    monkeypatch.setattr(triggered_events, "_BLOCK", 150)
    list(triggered_blocks(file, cache=cache))
    events_file(cache).unlink()
    writes = []

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            writes.append(len(data))
            if len(writes) > n_good:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    def opened(path, mode):
        return Full(open(path, mode)) if mode == "wb" else open(path, mode)

    monkeypatch.setattr(triggered_events, "open", opened, raising=False)
    with pytest.warns(ProdconfWarning, match="No space left on device") as told:
        assert joined(triggered_blocks(file, cache=cache, chunk=500)) == joined(iterate(file))
    assert len(told) == 1
    assert len(writes) == n_good + 1
    assert not list(cache.glob("*.events"))
    assert not list(cache.glob(".*"))


# arguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunk": 0}, "chunk must be a whole number from 1"),
        ({"chunk": 2.5}, "chunk must be"),
        ({"chunk": True}, "chunk must be"),
        ({"first_file": -1}, "first_file must be a whole number from 0"),
        ({"first_file": 2**31}, "first_file must be a whole number"),
        ({"cache": 3}, "cache must be a path, got 3"),
        ({"cache": "gamma.hdf5"}, "must be a folder that can be made"),
        ({"cache": "gamma.hdf5/inside"}, "must be a folder that can be made"),
        ({"cache": "a\0b"}, "must be a folder that can be made"),
    ],
)
def test_bad_arguments_are_refused_at_once(file, monkeypatch, options, words):
    monkeypatch.chdir(file.parent)
    with pytest.raises(ProdconfError, match=words):
        triggered_blocks(file, **options)


@pytest.mark.parametrize(
    ("name", "words"),
    [("absent.h5", "absent.h5: no file found"), (".", "is not a file"), ("empty.h5", "empty.h5: is empty")],
)
def test_bad_files_are_refused(tmp_path, cache, name, words):
    (tmp_path / "empty.h5").touch()
    for where in (None, cache):
        with pytest.raises(ProdconfError, match=words):
            triggered_blocks(tmp_path / name, cache=where)
        with pytest.raises(ProdconfError):
            cached_overview(tmp_path / name, where)


def test_no_event_file(tmp_path, cache):
    bad = tmp_path / "bad.h5"
    bad.write_text("no event file")
    with pytest.raises(ProdconfError, match="neither an HDF5 nor a FITS file"):
        list(triggered_blocks(bad, cache=cache))
    assert not list(cache.glob("*.events"))


def test_several_files_are_not_one(file, tmp_path):
    write(tmp_path / "gamma2.hdf5", n_showers=10)
    with pytest.raises(ProdconfError, match="names 2"):
        triggered_blocks(tmp_path / "gamma*.hdf5")


def test_the_cache_holds_no_executable_content(file, cache):
    list(triggered_blocks(file, cache=cache))
    data = events_file(cache).read_bytes()
    assert data.startswith(b"prodconf triggered events 2\n")
    table = data[data.index(b'{"sha256"') : -12]
    assert set(json.loads(table)) == {"sha256", "telescopes", "blocks"}
