"""Outputs: what may be written where, and that an input is never replaced."""

import gzip
import os
import re
import signal
import subprocess
import sys

import pytest

from prodconf.core.errors import ArgumentError, FileError, ProdconfError
from prodconf.core.files import atomic_path, file_state, parse_table, require_outputs, require_readable


@pytest.fixture
def pilot(tmp_path):
    path = tmp_path / "pilot.fits"
    path.write_text("months of work")
    return path


def test_new_and_replaceable_outputs_are_accepted(pilot, tmp_path):
    old = tmp_path / "old.json"
    old.write_text("{}")
    require_outputs([tmp_path / "new.json"], inputs=[pilot])
    require_outputs([old, str(tmp_path / "new.json")], inputs=[str(pilot), "nowhere.fits"], overwrite=True)
    require_outputs([tmp_path / "made" / "new.json"], made=tmp_path / "made")
    require_outputs([])


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("way", ["itself", "link", "hard link", "detour"])
def test_an_input_is_never_an_output(pilot, tmp_path, overwrite, way):
    names = {"itself": pilot, "link": tmp_path / "a", "hard link": tmp_path / "b"}
    names["detour"] = tmp_path / ".." / tmp_path.name / pilot.name
    names["link"].symlink_to(pilot)
    os.link(pilot, names["hard link"])
    with pytest.raises(ProdconfError, match="is an input of this command and would be overwritten"):
        require_outputs([tmp_path / "new", names[way]], inputs=[pilot], overwrite=overwrite)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["pilot.fits"], "exists, and overwriting was not asked for"),
        (["new", "./new"], "is named for two outputs"),
        (["."], "is a folder"),
        ([""], "is a folder"),
        (["nowhere/new"], "its folder does not exist"),
        (["pilot.fits/new"], "its folder does not exist"),
        (["a\0b"], "cannot be written"),
        (["x" * 300], "cannot be written"),
    ],
)
def test_what_cannot_be_written(pilot, tmp_path, monkeypatch, names, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProdconfError, match=words):
        require_outputs(names)
    if len(names) == 1:
        with pytest.raises(ProdconfError, match=words), atomic_path(names[0]):
            pass
    assert pilot.read_text() == "months of work"


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProdconfError, match="is no regular file"):
        require_outputs([tmp_path / "pipe"], overwrite=True)
    with pytest.raises(ProdconfError, match="is no regular file"), atomic_path(tmp_path / "pipe", overwrite=True):
        pass
    assert not (tmp_path / "pipe").is_file()


@pytest.mark.parametrize("place", [0, 4095, 47_000, 99_999])
def test_the_state_of_a_file_knows_a_sample_of_its_bytes(tmp_path, place):
    path = tmp_path / "events.hdf5"
    path.write_bytes(bytes(100_000))
    before = file_state(path)
    assert file_state(path) == before
    with open(path, "r+b") as handle:
        handle.seek(place)
        handle.write(b"1")
    assert file_state(path)[-1] != before[-1]


ECSV = """# %ECSV 1.0
# ---
# delimiter: '{d}'
# datatype:
# - {{name: label, datatype: string}}
# - {{name: size, datatype: float64, unit: m}}
# - {{name: count, datatype: int64}}
label{d}size{d}count
run_1_2{d}{size}{d}{count}
"""


@pytest.mark.parametrize("delimiter", [" ", ","])
@pytest.mark.parametrize("wrong", ["1_300", "\uff11\uff12", "\u0661"])
@pytest.mark.parametrize("column", ["size", "count"])
def test_tables_hold_plain_numbers_and_any_names(delimiter, wrong, column):
    cells = {"size": "1.5", "count": "3"}
    table = parse_table(ECSV.format(d=delimiter, **cells))
    assert (table["label"][0], table["size"][0], table["count"][0]) == ("run_1_2", 1.5, 3)
    with pytest.raises(ArgumentError, match=f"column {column}: must hold plain numbers, got '{wrong}'"):
        parse_table(ECSV.format(d=delimiter, **cells | {column: wrong}))


def test_an_endless_cell_is_refused():
    with pytest.raises(ArgumentError, match="no cell of a table may have more than 131072 characters"):
        parse_table(ECSV.format(d=" ", size="1" * 140_000, count="3"))


# --- what killed runs leave, and what never ends ----------------------------------------------------------------------
def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    """Of this machine and of processes that are gone; those of others and of the living stay."""
    code = (
        "import os, signal, sys\nfrom prodconf.core.files import atomic_folder, atomic_path\n"
        "with atomic_folder(sys.argv[1] + '/plan') as folder, atomic_path(sys.argv[1] + '/t.ecsv') as path:\n"
        "    (folder / 'half').write_text('half')\n    os.kill(os.getpid(), getattr(signal, sys.argv[2]))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), "SIGKILL"], check=False)
    left = sorted(tmp_path.iterdir())
    assert len(left) == 2
    other = tmp_path / re.sub(r"prodconf-\w{8}", "prodconf-00000000", left[0].name)
    living = tmp_path / re.sub(r"-\d+~", f"-{os.getpid()}~", left[0].name)
    for kept in (other, living):
        kept.mkdir()
    with atomic_path(tmp_path / "next.ecsv") as path:
        path.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([other, living, tmp_path / "next.ecsv"])


def test_a_terminated_run_leaves_nothing(tmp_path):
    code = (
        "import os, signal, sys\nfrom prodconf.core.errors import until_terminated\n"
        "from prodconf.core.files import atomic_folder\n"
        "with until_terminated(), atomic_folder(sys.argv[1] + '/plan') as folder:\n"
        "    (folder / 'half').write_text('half')\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_pipes_devices_and_bombs_are_not_read(tmp_path):
    pipe, bomb, zeros = tmp_path / "pipe.yml", tmp_path / "bomb.fits.gz", tmp_path / "zeros.gz"
    os.mkfifo(pipe)
    bomb.write_bytes(gzip.compress(bytes(150_000_000), 1))
    zeros.write_bytes(gzip.compress(bytes(50_000_000), 1))
    for path, rule in ((pipe, "is not a file"), ("/dev/zero", "is not a file"), (bomb, "inflates to 150000000 bytes")):
        with pytest.raises(FileError, match=rule):
            require_readable(path)
    for path in (zeros, tmp_path, tmp_path / "missing"):
        require_readable(path)
