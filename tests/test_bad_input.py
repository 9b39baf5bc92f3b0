"""Every kind of bad input to the main job: one clear line, exit status 1 or 2, nothing half-written, nothing lost."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from html import unescape
from itertools import pairwise

import h5py
import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table, vstack

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.limits.table import read_limits
from prodconf.plan.main_job import plan_production
from prodconf.precision.targets import write_metrics
from prodconf.toys.sample import SampleSize, sample_metrics, sample_models, write_pilot

PLAN = {
    "reduced_events": "pilot.hdf5",
    "dl2_events": [{"files": "pilot.fits", "nsb_level": 0.24}],
    "limits_table": "limits.ecsv",
    "metrics": "metrics.yml",
    "loss_fraction": 0.01,
    "grid": {"zenith": "20 deg", "azimuth": "0 deg", "nsb_level": 0.24},
}
LIMITS_ONLY = {"limits_table": "limits.ecsv"}
PILOT_ONLY = {"reduced_events": "pilot.hdf5"}
INTERNAL = (
    "Traceback",
    "PlanConfiguration",
    "SubArray",
    "instance of",
    "literal[",
    "astropy.org",
    "pydantic",
    "/.out-",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One small pilot, its targets, and a table of earlier limits of the same array."""
    folder = tmp_path_factory.mktemp("made")
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=4000, n_uses=5)
    write_pilot(folder / "pilot", sample_models(size="small")[0], seed=np.random.SeedSequence(5), size=size)
    (folder / "pilot.reduced.hdf5").rename(folder / "pilot.hdf5")
    (folder / "pilot.dl2.fits").rename(folder / "pilot.fits")
    write_metrics(sample_metrics(), folder / "metrics.yml")
    rows = [(i, "gamma", "full array", zenith, 0.0, 0.24) for i, zenith in enumerate((20.0, 40.0))]
    names = ["production_index", "primary_particle", "array_name", "zenith", "azimuth", "nsb_level"]
    table = QTable(rows=rows, names=names, units=[None, None, None, u.deg, u.deg, None])
    table["lower_energy_limit"] = [0.02, 0.04] * u.TeV
    table["upper_radius_limit"] = [900.0, 1100.0] * u.m
    table["viewcone_radius"] = [5.0, 6.0] * u.deg
    table["br_energy_min"], table["br_energy_max"] = [0.004, 0.008] * u.TeV, [330.0, 330.0] * u.TeV
    table["br_core_scatter_max"], table["br_viewcone_max"] = [1600.0, 1900.0] * u.m, [8.5, 8.5] * u.deg
    table.write(folder / "limits.ecsv", format="ascii.ecsv")
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A copy of the inputs that a test may spoil."""
    folder = tmp_path / "place"
    shutil.copytree(made, folder)
    return folder


@pytest.fixture
def figures():
    """Ask for the figures of the report; drawing them is what takes long."""


@pytest.fixture(autouse=True)
def _few_figures(request, monkeypatch):
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("prodconf.plan.report.figures", lambda plan: iter(()))


def configure(folder, plan=None, **changes):
    """Write a plan."""
    data = {name: value for name, value in ((PLAN if plan is None else plan) | changes).items() if value is not None}
    (folder / "plan.yml").write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")


def everything(folder):
    """Return the content of all files below a folder, hidden ones and empty folders too."""
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture
def refused(run):
    """Plan, expect one clear line with some words, and an untouched folder."""

    def call(folder, *words, arguments=None, status=1):
        before = everything(folder)
        given = ["plan", folder / "plan.yml", "-o", folder / "out"] if arguments is None else arguments
        found, out, err = run(*given)
        assert (found, out) == (status, "")
        assert everything(folder) == before, "something was written or lost"
        line = err.splitlines()[-1]
        assert status == 2 or len(err.splitlines()) == 1, err
        assert len(line) < 500
        assert not [word for word in INTERNAL if word in line], line
        assert not [word for word in words if word not in line], line
        return line

    return call


# --- every input file: missing, empty, a folder, something else, cut, corrupt ----------------------------------------
INPUTS = {
    "reduced_events": "pilot.hdf5",
    "dl2_events": "pilot.fits",
    "limits_table": "limits.ecsv",
    "metrics": "metrics.yml",
    "configuration": "plan.yml",
}


@pytest.mark.parametrize("name", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "other", "cut"])
def test_damaged_input_is_named(place, refused, name, kind):
    configure(place)
    path = place / name
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        half = {"plan.yml": content.index(b"nsb_level") if name == "plan.yml" else 0, "metrics.yml": 180}
        cut = content[: half.get(name, len(content) // 2)]
        path.write_bytes({"empty": b"", "other": b"\x00\xff\x01 not what it should be" * 40, "cut": cut}[kind])
    refused(place, name)


def test_corrupt_fits(place, refused):
    configure(place)
    content = bytearray((place / "pilot.fits").read_bytes())
    content[2880:4000] = bytes(len(content[2880:4000]))
    (place / "pilot.fits").write_bytes(content)
    refused(place, "pilot.fits")


def test_corrupt_hdf5(place, refused):
    """Zeros over the first chunks of SHOWERS: they no longer inflate."""
    configure(place)
    with h5py.File(place / "pilot.hdf5") as file:
        chunk = file["SHOWERS"].id.get_chunk_info(0)
    content = bytearray((place / "pilot.hdf5").read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    (place / "pilot.hdf5").write_bytes(content)
    refused(place, "pilot.hdf5", "SHOWERS")


def test_corrupt_ecsv(place, refused):
    configure(place)
    content = (place / "limits.ecsv").read_text()
    (place / "limits.ecsv").write_text(content.replace("0.04", "O.O4"))
    refused(place, "limits.ecsv", "lower_energy_limit")


@pytest.mark.parametrize(
    ("key", "name"), [("reduced_events", "pilot.fits"), ("dl2_events", "pilot.hdf5"), ("metrics", "limits.ecsv")]
)
def test_files_in_each_others_place(place, refused, key, name):
    wrong = [{"files": name, "nsb_level": 0.24}] if key == "dl2_events" else name
    configure(place, **{key: wrong})
    refused(place, name)


# --- DL2: HDUs, columns, units, values -------------------------------------------------------------------------------
def _rename_table(name):
    def change(hdus):
        hdus[name].name = "NOTHING"

    return change


def _header(table, key, column, value):
    def change(hdus):
        number = hdus[table].columns.names.index(column) + 1
        hdus[table].header[f"{key}{number}"] = value

    return change


def _cell(table, column, value, row=3):
    def change(hdus):
        hdus[table].data[column][row] = value

    return change


def _no_events(hdus):
    hdus["EVENTS"].data = hdus["EVENTS"].data[:0]


DL2 = {
    "no events table": (_rename_table("EVENTS"), ["EVENTS"]),
    "no thrown events": (_rename_table("SIMULATED EVENTS"), ["SIMULATED EVENTS"]),
    "no header": (_rename_table("RUNHEADER"), ["RUNHEADER"]),
    "no rows": (_no_events, ["EVENTS", "no rows"]),
    "absent column": (_header("EVENTS", "TTYPE", "MC_ENERGY", "E"), ["EVENTS", "MC_ENERGY"]),
    "unit of another kind": (_header("EVENTS", "TUNIT", "MC_ENERGY", "m"), ["MC_ENERGY", "'m'", "TeV"]),
    "unknown unit": (_header("EVENTS", "TUNIT", "MC_ALT", "furlong"), ["MC_ALT", "furlong", "deg"]),
    "degrees called rad": (_header("EVENTS", "TUNIT", "MC_ALT", "rad"), ["MC_ALT", "90 deg"]),
    "NaN energy": (_cell("EVENTS", "MC_ENERGY", np.nan), ["MC_ENERGY", "finite", "nan", "row 3"]),
    "negative energy": (_cell("EVENTS", "ENERGY", -1.0), ["ENERGY", "positive", "-1.0", "row 3"]),
    "NaN count": (_cell("SIMULATED EVENTS", "EVENTS", np.nan), ["SIMULATED EVENTS", "EVENTS", "nan"]),
    "nothing thrown": (_cell("SIMULATED EVENTS", "EVENTS", 0, slice(None)), ["SIMULATED EVENTS", "no thrown event"]),
    "more events than thrown": (_cell("SIMULATED EVENTS", "EVENTS", 1, slice(None)), ["more runs", "SIMULATED EVENTS"]),
    "no uses": (_cell("RUNHEADER", "num_use", 0, 0), ["RUNHEADER", "num_use", "whole number"]),
    "no radius": (_cell("RUNHEADER", "core_range", [0, 0], 0), ["RUNHEADER", "core_range"]),
    "impossible radius": (_cell("RUNHEADER", "core_range", [0, 1e300], 0), ["RUNHEADER", "core_range"]),
    "rising spectrum": (_cell("RUNHEADER", "spectral_index", 2.0, 0), ["RUNHEADER", "spectral_index", "2"]),
}


@pytest.mark.parametrize(("change", "words"), DL2.values(), ids=DL2)
def test_dl2(place, refused, change, words):
    configure(place, LIMITS_ONLY | {key: PLAN[key] for key in ("dl2_events", "metrics")})
    with fits.open(place / "pilot.fits", mode="update") as hdus:
        change(hdus)
    refused(place, "pilot.fits", *words)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"offset_max": "0 deg"}, ["offset_max", "positive", "0"]),
        ({"offset_max": 1}, ["offset_max", "unit"]),
        ({"offset_max": "1 m"}, ["offset_max", "deg", "1 m"]),
        ({"simulated_fraction": 0}, ["simulated_fraction", "0"]),
        ({"simulated_fraction": 1.5}, ["simulated_fraction", "1.5"]),
        ({"simulated_fraction": "run"}, ["simulated_fraction", "runs", "run"]),
        ({"simulated_fraction": True}, ["simulated_fraction", "True"]),
        ({"nsb_level": 0}, ["nsb_level", "0"]),
        ({"nsb_level": "dark"}, ["nsb_level", "dark"]),
    ],
)
def test_dl2_arguments(place, refused, entry, words):
    configure(place, dl2_events=[{"files": "pilot.fits", "nsb_level": 0.24} | entry], reduced_events=None)
    refused(place, *words)


def test_dl2_in_two_entries(place, refused):
    configure(place, dl2_events=PLAN["dl2_events"] * 2, reduced_events=None)
    refused(place, "pilot.fits")


# --- reduced events ---------------------------------------------------------------------------------------------------
def _value(table, column, value, row=3):
    def change(file):
        rows = file[table][:]
        rows[column][row] = value
        file[table][:] = rows

    return change


def _info(column, value):
    return _value("FILE_INFO", column, value, 0)


def _without(table):
    def change(file):
        del file[table]

    return change


def _replace(table, rows_of):
    def change(file):
        rows, attributes = rows_of(file[table][:]), dict(file[table].attrs)
        del file[table]
        file.create_dataset(table, data=rows).attrs.update(attributes)

    return change


def _unit(table, column, unit):
    def change(file):
        file[table].attrs[f"{column}_unit"] = unit

    return change


def _drop_column(column):
    def rows_of(rows):
        return rows[[name for name in rows.dtype.names if name != column]]

    return rows_of


ENERGY = "simulated_energy"
REDUCED = {
    "NaN energy": (_value("SHOWERS", ENERGY, np.nan), ["SHOWERS", ENERGY, "finite", "nan", "row 3"]),
    "negative energy": (_value("SHOWERS", ENERGY, -1.0), ["SHOWERS", ENERGY, "positive", "-1.0", "row 3"]),
    "infinite core": (_value("SHOWERS", "x_core", np.inf), ["SHOWERS", "x_core", "inf", "row 3"]),
    "zero triggers": (_replace("TRIGGERS", lambda rows: rows[:0]), ["no event triggered"]),
    "no trigger table": (_without("TRIGGERS"), ["no event triggered"]),
    "no showers": (_without("SHOWERS"), ["SHOWERS"]),
    "no file information": (_without("FILE_INFO"), ["FILE_INFO"]),
    "no rows": (_replace("SHOWERS", lambda rows: rows[:0]), ["SHOWERS", "no rows"]),
    "absent column": (_replace("SHOWERS", _drop_column("x_core")), ["SHOWERS", "x_core"]),
    "unit of another kind": (_unit("SHOWERS", ENERGY, "m"), ["SHOWERS", ENERGY, "TeV", "'m'"]),
    "degrees called rad": (_unit("SHOWERS", "shower_altitude", "rad"), ["SHOWERS", "shower_altitude", "deg"]),
    "incomplete": (lambda file: file.attrs.modify("simtools_write_status", "started"), ["started"]),
    "thrown from zero energy": (_info("energy_min", 0.0), ["FILE_INFO", "energy_min", "0"]),
    "thrown range reversed": (_info("energy_min", 1e6), ["FILE_INFO", "energy"]),
    "no scatter": (_info("core_scatter_max", 0.0), ["FILE_INFO", "core_scatter_max", "0"]),
    "impossible cone": (_info("viewcone_max", 500.0), ["FILE_INFO", "viewcone_max", "500"]),
    "below the horizon": (_info("zenith", 100.0), ["zenith", "100"]),
    "no night sky": (_info("nsb_level", 0.0), ["nsb_level", "0"]),
    "infinite index": (_info("spectral_index", -np.inf), ["spectral_index", "inf"]),
    "rising spectrum": (_info("spectral_index", 2.0), ["spectral_index", "2"]),
}


@pytest.mark.parametrize(("change", "words"), REDUCED.values(), ids=REDUCED)
def test_reduced_events(place, refused, change, words):
    configure(place, PILOT_ONLY)
    with h5py.File(place / "pilot.hdf5", "r+") as file:
        change(file)
    refused(place, "pilot.hdf5", *words)


def test_point_like_pilot_is_planned(place):
    """A cone of zero is no bad input: the limit of the cone alone is undetermined."""
    configure(place, PILOT_ONLY)
    with h5py.File(place / "pilot.hdf5", "r+") as file:
        _info("viewcone_max", 0.0)(file)
        direction = file["TRIGGERS"][0]
        _value("SHOWERS", "shower_altitude", direction["array_altitude"], slice(None))(file)
        _value("SHOWERS", "shower_azimuth", direction["array_azimuth"], slice(None))(file)
    plan_production(place / "plan.yml", place / "out")
    table = read_limits(place / "out/corsika_limits.ecsv")
    assert table["lower_energy_limit"][0] > 0
    assert table["viewcone_radius_verdict"][0] == "undetermined"


@pytest.mark.parametrize("change", [_info("energy_max", 1.0), _info("core_scatter_max", 50.0)], ids=["energy", "core"])
def test_events_beyond_the_thrown_range_are_warned_of(place, change):
    """Header and events contradict each other: one of them is wrong, and the limits with it."""
    configure(place, PILOT_ONLY)
    with h5py.File(place / "pilot.hdf5", "r+") as file:
        change(file)
    with pytest.warns(ProdconfWarning, match=r"pilot\.hdf5"):
        plan_production(place / "plan.yml")


# --- tables of limits -------------------------------------------------------------------------------------------------
def _column(name, value):
    def change(table):
        table[name][0] = value * (table[name].unit or 1)
        return table

    return change


def _other(name, value):
    def change(table):
        more = table[:1].copy()
        more[name] = value
        return vstack([table, more])

    return change


def _renamed(table):
    table.rename_column("zenith", "altitude")
    return table


def _in_metres(table):
    table["lower_energy_limit"] = table["lower_energy_limit"].value * u.m
    return table


TABLES = {
    "absent column": (_renamed, ["zenith"]),
    "unit of another kind": (_in_metres, ["lower_energy_limit", "'m'", "TeV"]),
    "NaN limit": (_column("lower_energy_limit", np.nan), ["lower_energy_limit", "nan", "row 0"]),
    "negative limit": (_column("upper_radius_limit", -5.0), ["upper_radius_limit", "-5", "row 0"]),
    "limit above the thrown range": (_column("lower_energy_limit", 1e5), ["lower_energy_limit", "row 0"]),
    "absurd radius": (_column("upper_radius_limit", 1e300), ["upper_radius_limit", "1e+300", "row 0"]),
    "horizon": (_column("zenith", 90.0), ["zenith", "90", "row 0"]),
    "almost the horizon": (_column("zenith", 89.9999999), ["zenith"]),
    "no night sky": (_column("nsb_level", 0.0), ["nsb_level", "0"]),
    "no rows": (lambda table: table[:0], ["no rows"]),
    "two limits at one place": (_other("lower_energy_limit", 0.03 * u.TeV), ["zenith", "20"]),
}


@pytest.mark.parametrize(("change", "words"), TABLES.values(), ids=TABLES)
def test_limits(place, refused, change, words):
    configure(place, LIMITS_ONLY)
    table = change(QTable.read(place / "limits.ecsv"))
    table.write(place / "limits.ecsv", format="ascii.ecsv", overwrite=True)
    refused(place, "limits.ecsv", *words)


def test_limits_without_the_maximum_energy(place):
    """What the table does not hold is unknown in the plan, without a word from numpy."""
    configure(place, LIMITS_ONLY)
    table = Table.read(place / "limits.ecsv")
    table.remove_column("br_energy_max")
    table.write(place / "limits.ecsv", format="ascii.ecsv", overwrite=True)
    assert "up to unknown" in plan_production(place / "plan.yml").summary[0]


def test_sub_array_that_no_table_holds(place, refused):
    configure(place, LIMITS_ONLY, sub_arrays={"full array": {}, "full aray": {}})
    refused(place, "sub_arrays", "full aray")


def test_limits_of_another_particle(place, refused):
    configure(place, LIMITS_ONLY, primary="proton")
    refused(place, "limits.ecsv", "proton", "gamma")


def test_pilot_of_another_particle(place, refused):
    """Also: limits of two particles at one pointing are never taken for one."""
    configure(place, PILOT_ONLY, primary="proton")
    refused(place, "pilot.hdf5", "proton", "gamma")


def test_pilots_of_two_particles(place, refused):
    shutil.copy(place / "pilot.hdf5", place / "second.hdf5")
    with h5py.File(place / "second.hdf5", "r+") as file:
        _info("particle_id", 14)(file)
        _info("file_name", b"another")(file)
    configure(place, PILOT_ONLY, reduced_events=["pilot.hdf5", "second.hdf5"])
    refused(place, "second.hdf5", "proton")


# --- targets ----------------------------------------------------------------------------------------------------------
TARGETS = {
    "wrong unit": (("energy_range", {"value": [0.1, 1], "unit": "m"}), ["energy_range", "TeV"]),
    "no unit": (("energy_range", {"value": [0.1, 1]}), ["energy_range", "unit"]),
    "reversed": (("energy_range", {"value": [1, 0.1], "unit": "TeV"}), ["energy_range", "increase"]),
    "NaN": (("target_uncertainty", {"value": float("nan")}), ["target"]),
    "above one": (("target_uncertainty", {"value": 5}), ["target", "5"]),
    "text": (("target_uncertainty", {"value": "small"}), ["target", "small"]),
    "unknown key": (("energy_rang", 1), ["energy_rang"]),
    "beyond the bins": (("energy_range", {"value": [1e4, 1e5], "unit": "TeV"}), ["10000", "TeV"]),
}


@pytest.mark.parametrize(("entry", "words"), TARGETS.values(), ids=TARGETS)
def test_metrics(place, refused, entry, words):
    configure(place, reduced_events=None)
    data = yaml.safe_load((place / "metrics.yml").read_text())
    data["uncertainty_effective_area"][entry[0]] = entry[1]
    (place / "metrics.yml").write_text(yaml.safe_dump(data))
    refused(place, *words)


def test_several_metrics_files(place, refused):
    """One is wanted; which of two is not for the program to choose."""
    shutil.copy(place / "metrics.yml", place / "metrics_2.yml")
    configure(place, metrics="metrics*.yml")
    refused(place, "metrics", "metrics_2.yml")


# --- the configuration ------------------------------------------------------------------------------------------------
def _bomb(levels):
    """Return YAML of aliases upon aliases: a few hundred bytes for 9**levels entries."""
    names = "abcdefghi"[:levels]
    lists = [f"&a [{','.join(['lol'] * 9)}]"]
    lists += [f"&{name} [{','.join([f'*{last}'] * 9)}]" for last, name in pairwise(names)]
    return f"[{', '.join(lists)}]"


YAML = {
    "list": (b"- reduced_events\n- metrics\n", ["mapping"]),
    "scalar": (b"pilot.hdf5\n", ["mapping"]),
    "number": (b"7\n", ["mapping"]),
    "comment": (b"# nothing yet\n", ["empty"]),
    "not text": (b"name: caf\xe9\n", ["text"]),
    "two documents": (b"name: a\n---\nname: b\n", ["YAML", "line 2"]),
    "open bracket": (b"name: [a, b\n", ["YAML", "line"]),
    "tab": (b"grid:\n\tzenith: 20 deg\n", ["YAML", "line 2"]),
    "null byte": (b"name: a\x00b\n", ["YAML"]),
    "twice": (b"reduced_events: pilot.hdf5\nreduced_events: other.hdf5\n", ["reduced_events", "line 2"]),
    "twice inside": (b"limits_table: limits.ecsv\nsub_arrays:\n  a: {}\n  a: {multiplicity: 2}\n", ["a", "line 4"]),
    "python": (b"name: !!python/object/apply:os.mkdir [pwned]\n", ["YAML", "line 1", "python/object"]),
    "python name": (b"name: !!python/name:os.system\n", ["YAML", "line 1", "python/name"]),
    "own tag": (b"name: !secret abc\n", ["YAML", "line 1", "!secret"]),
    "deep": (b"name: " + b"[" * 2000 + b"]" * 2000 + b"\n", ["YAML"]),
    "deep mapping": (b"name: " + b"{a: " * 2000 + b"1" + b"}" * 2000 + b"\n", ["YAML"]),
    "itself": (b"limits_table: limits.ecsv\nname: &a [*a]\n", ["name", "[[...]]"]),
    "unknown key": (b"redcued_events: pilot.hdf5\n", ["unknown key redcued_events"]),
    "unknown key inside": (b"limits_table: l\ngrid: {zenth: 20 deg}\n", ["unknown key grid.zenth"]),
    "number as key": (b"limits_table: l\n1: 2\n", ["1"]),
    "nothing to plan": (b"name: a\n", ["reduced_events", "limits_table"]),
    "surrogate": (b'limits_table: limits.ecsv\nname: "\\ud800"\n', ["name"]),
}


@pytest.mark.parametrize(("content", "words"), YAML.values(), ids=YAML)
def test_yaml(place, refused, monkeypatch, content, words):
    monkeypatch.chdir(place)
    (place / "plan.yml").write_bytes(content)
    refused(place, "plan.yml", *words)


@pytest.mark.parametrize(
    "text", ["name: {}\nlimits_table: x\n", "limits_table: x\nsub_arrays: {{a: {{telescopes: {}}}}}\n"]
)
def test_aliases_are_not_written_out(place, refused, text):
    """Half a million entries in 300 bytes must not become as many in memory, not even in the error."""
    (place / "plan.yml").write_text(text.format(_bomb(6)))
    refused(place, "plan.yml")
    tracemalloc.start()
    try:
        refused(place, "plan.yml")
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()


VALUES = {
    "no sub-array": ({"sub_arrays": {}}, ["sub_arrays"]),
    "sub-array as list": ({"sub_arrays": ["a"]}, ["sub_arrays", "['a']"]),
    "one telescope as text": ({"sub_arrays": {"a": {"telescopes": "LSTN-01"}}}, ["sub_arrays.a.telescopes", "LSTN-01"]),
    "telescope without name": ({"sub_arrays": {"a": {"telescopes": [None]}}}, ["sub_arrays.a.telescopes", "None"]),
    "telescope as mapping": (
        {"sub_arrays": {"a": {"telescopes": [{"b": 1}]}}},
        ["sub_arrays.a.telescopes", "{'b': 1}"],
    ),
    "multiplicity of none": ({"sub_arrays": {"a": {"multiplicity": 0}}}, ["sub_arrays.a.multiplicity", "0"]),
    "multiplicity yes": ({"sub_arrays": {"a": {"multiplicity": True}}}, ["sub_arrays.a.multiplicity", "True"]),
    "multiplicity beyond": (
        {"sub_arrays": {"a": {"telescopes": ["LSTN-01"], "multiplicity": 2}}},
        ["a", "multiplicity"],
    ),
    "unknown telescopes": ({"sub_arrays": {"a": {"telescopes": ["XST-01"]}}}, ["a", "XST-01"]),
    "reserved name": ({"sub_arrays": {"production": {}}}, ["sub_arrays", "production"]),
    "empty name": ({"sub_arrays": {"": {}}}, ["sub_arrays"]),
    "loss below 0": ({"loss_fraction": -0.1}, ["loss_fraction", "-0.1"]),
    "loss of all": ({"loss_fraction": 1.0}, ["loss_fraction", "1"]),
    "loss NaN": ({"loss_fraction": float("nan")}, ["loss_fraction", "nan"]),
    "loss as word": ({"loss_fraction": "little"}, ["loss_fraction", "little"]),
    "certainty": ({"confidence": 1}, ["confidence", "1"]),
    "index": ({"spectral_index": float("inf")}, ["spectral_index", "inf"]),
    "no file": ({"reduced_events": []}, ["reduced_events"]),
    "number as file": ({"reduced_events": 5}, ["reduced_events", "5"]),
    "long name of a file": ({"reduced_events": "x" * 400}, ["reduced_events", "xxx"]),
    "pattern that finds nothing": ({"reduced_events": "nothing*.hdf5"}, ["reduced_events", "nothing*.hdf5"]),
    "zenith without unit": ({"grid": {"zenith": 20}}, ["grid.zenith", "unit", "20"]),
    "zenith in metres": ({"grid": {"zenith": "20 m"}}, ["grid.zenith", "deg", "20 m"]),
    "zenith in nothing": ({"grid": {"zenith": {"value": 20, "unit": "deeg"}}}, ["grid.zenith", "deeg"]),
    "zenith NaN": ({"grid": {"zenith": "nan deg"}}, ["grid.zenith", "finite", "nan"]),
    "horizon": ({"grid": {"zenith": "90 deg"}}, ["grid.zenith", "90"]),
    "no zenith": ({"grid": {"zenith": []}}, ["grid.zenith"]),
    "azimuth missing": ({"grid": {"azimuth": None}}, ["grid.azimuth"]),
    "night sky as word": ({"grid": {"nsb_level": "dark"}}, ["grid.nsb_level", "dark"]),
    "outside as it likes": ({"grid": {"outside": "extrapolate"}}, ["grid.outside", "extrapolate", "nearest"]),
    "outside the pilots": ({"grid": {"zenith": "70 deg"}}, ["zenith 70", "outside"]),
    "same pointing twice": ({"grid": {"zenith": ["20 deg", "20 deg"]}}, ["grid.zenith", "20"]),
}


@pytest.mark.parametrize(("changes", "words"), VALUES.values(), ids=VALUES)
def test_values(place, refused, changes, words):
    if "grid" in changes:
        grid = {"zenith": "20 deg", "azimuth": "0 deg", "nsb_level": 0.24} | changes["grid"]
        changes = {"grid": {key: value for key, value in grid.items() if value is not None}}
    configure(place, PILOT_ONLY, **changes)
    line = refused(place, *words)
    assert line.count("plan.yml") <= 1


def test_misspelt_telescope_is_told(place):
    """A name that is in no pilot is more likely a slip than a telescope that never triggered."""
    telescopes = ["LSTN-01", "LSTN-02", "LSTN-03", "LTSN-04"]
    configure(place, PILOT_ONLY, sub_arrays={"large": {"telescopes": telescopes, "multiplicity": 2}})
    with pytest.warns(ProdconfWarning, match="LTSN-04"):
        plan = plan_production(place / "plan.yml")
    assert any("LTSN-04" in note for note in plan.notes)


def test_two_sub_arrays_without_a_grid(place):
    """The default grid is the pilots' own pointings, however many sub-arrays there are."""
    configure(place, PILOT_ONLY, sub_arrays={"all": {}, "stereo": {"multiplicity": 2}})
    plan = plan_production(place / "plan.yml")
    assert sorted(plan.grid["array_name"]) == ["all", "production", "stereo"]


def test_python_gives_the_same_errors():
    with pytest.raises(ProdconfError, match="unknown key redcued_events"):
        plan_production({"redcued_events": "x"})
    with pytest.raises(ProdconfError, match=r"reduced_events: .*nothing\.hdf5: no file found"):
        plan_production({"reduced_events": "nothing.hdf5"})
    with pytest.raises(ProdconfError, match=r"nothing\.yml"):
        plan_production("nothing.yml")


# --- the same file, the same name -------------------------------------------------------------------------------------
def test_a_file_listed_twice_counts_once(place, monkeypatch):
    configure(place, PILOT_ONLY)
    once = plan_production(place / "plan.yml")
    names = ["pilot.hdf5", "./pilot.hdf5", "*.hdf5", "../place/pilot.hdf5", str(place / "pilot.hdf5")]
    configure(place, PILOT_ONLY, reduced_events=names)
    again = plan_production(place / "plan.yml")
    assert list(again.limits["n_triggered"]) == list(once.limits["n_triggered"])
    assert [pilot.n_simulated for pilot in again.pilots] == [pilot.n_simulated for pilot in once.pilots]


def test_copies_count_once_and_are_told(place):
    shutil.copy(place / "pilot.hdf5", place / "copy.hdf5")
    configure(place, PILOT_ONLY, reduced_events="*.hdf5")
    plan = plan_production(place / "plan.yml")
    assert len(plan.pilots) == 1
    assert any("left out" in note for note in plan.notes)


def test_dl2_files_of_one_name_in_two_folders(place, figures):
    """Users keep `dark/gamma.fits` and `moon/gamma.fits`: their numbers must not be mixed up."""
    for folder in ("dark", "moon"):
        (place / folder).mkdir()
        shutil.copy(place / "pilot.fits", place / folder / "pilot.fits")
    entries = [{"files": f"{f}/pilot.fits", "nsb_level": level} for f, level in (("dark", 0.24), ("moon", 0.5))]
    configure(place, dl2_events=entries, reduced_events=None)
    plan = plan_production(place / "plan.yml", place / "out")
    assert set(plan.statistics["nsb_level"]) == {0.24, 0.5}
    assert (place / "out/report.html").stat().st_size > 10_000


# --- names that are something else elsewhere --------------------------------------------------------------------------
SCRIPT = "<script>alert(1)<"


def test_strange_file_names(place, run, figures):
    """Files may be called anything that the file system takes; the report shows the names and runs none of them."""
    reduced, dl2 = f"a {SCRIPT}b>\n$\\x$ é☃.hdf5", f"[x] {SCRIPT}c>*.fits"
    (place / "pilot.hdf5").rename(place / reduced)
    (place / "pilot.fits").rename(place / dl2)
    with h5py.File(place / reduced, "r+") as file:
        _info("file_name", f"{SCRIPT}d>".encode())(file)
    configure(place, reduced_events=reduced, limits_table=None, dl2_events=[{"files": dl2, "nsb_level": 0.24}])
    status, _, err = run("plan", place / "plan.yml", "-o", place / "out")
    assert (status, err) == (0, "")
    report = (place / "out/report.html").read_text(encoding="utf-8")
    assert SCRIPT not in report
    assert dl2 in unescape(report)
    assert "é☃.hdf5" in report


@pytest.mark.parametrize("name", [f"{SCRIPT}/script>", "$\\frac{1}$ & $", "{{ 7 * 7 }} %s", "é☃", "x" * 300])
def test_strange_sub_array_names(place, name):
    configure(place, PILOT_ONLY, name=name, sub_arrays={name: {}})
    plan_production(place / "plan.yml", place / "out")
    report = (place / "out/report.html").read_text(encoding="utf-8")
    assert SCRIPT not in report
    assert name in unescape(report)
    assert list(read_limits(place / "out/corsika_limits.ecsv")["array_name"]) == [name]
    assert name in list(Table.read(place / "out/grid.ecsv")["array_name"])


def test_sub_array_name_of_two_lines_is_refused(place, refused):
    configure(place, PILOT_ONLY, sub_arrays={"two\nlines": {}})
    refused(place, "sub-array: name must be a printable text")


def test_figures_take_names_as_they_are(place, figures):
    """A dollar sign begins no formula, a brace no template."""
    name = "$\\frac{1}$ {{ 7 }} <b>"
    configure(place, name=name, limits_table=None, sub_arrays={name: {}})
    plan_production(place / "plan.yml", place / "out")
    assert name in unescape((place / "out/report.html").read_text(encoding="utf-8"))


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_file_name_that_is_no_text(place, refused):
    os.rename(os.fsencode(place / "pilot.hdf5"), os.fsencode(place) + b"/pilot\xff.hdf5")
    configure(place, PILOT_ONLY, reduced_events="pilot*.hdf5")
    refused(place, "reduced_events")


# --- outputs ----------------------------------------------------------------------------------------------------------
def _out(folder, output, *more):
    return ["plan", folder / "plan.yml", "-o", output, *more]


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_output_that_is_a_file(place, refused, more):
    configure(place, LIMITS_ONLY)
    (place / "out").write_text("mine")
    refused(place, str(place / "out"), "file", arguments=_out(place, place / "out", *more))


def test_output_that_exists(place, refused):
    configure(place, LIMITS_ONLY)
    (place / "out").mkdir()
    (place / "out/report.html").write_text("mine")
    refused(place, str(place / "out"), "--overwrite")


def test_output_in_the_inputs(place, refused):
    configure(place, LIMITS_ONLY)
    refused(place, str(place), "not empty", arguments=_out(place, place))


def test_overwriting_never_takes_an_input(place, run):
    """The table of an earlier plan is the input of the next one in the same folder."""
    (place / "limits.ecsv").rename(place / "corsika_limits.ecsv")
    configure(place, LIMITS_ONLY, limits_table="corsika_limits.ecsv")
    before = everything(place)
    status, out, err = run(*_out(place, place, "--overwrite"))
    assert (status, out) == (1, "")
    assert "corsika_limits.ecsv" in err
    assert everything(place) == before


def test_empty_folder_is_taken(place, run):
    configure(place, LIMITS_ONLY)
    (place / "out").mkdir()
    assert run(*_out(place, place / "out"))[0] == 0
    assert sorted(os.listdir(place / "out")) == ["corsika_limits.ecsv", "grid.ecsv", "report.html"]


@pytest.mark.parametrize("output", ["limits.ecsv/out", "absent/out", "x" * 300, "a/" * 2500 + "out"])
def test_output_that_cannot_stand_there(place, refused, output):
    configure(place, LIMITS_ONLY)
    line = refused(place, "output", arguments=_out(place, place / output))[:200]
    assert str(place)[:100] in line


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")
@pytest.mark.parametrize("output", ["/proc/prodconf", "/proc/self/prodconf", "/dev/full"])
def test_output_where_nothing_can_be_written(place, refused, output):
    configure(place, LIMITS_ONLY)
    refused(place, output, arguments=_out(place, output))


def test_null_byte_in_the_output(place, refused):
    configure(place, LIMITS_ONLY)
    refused(place, "output", arguments=_out(place, "a\0b"), status=2)


@pytest.mark.parametrize("name", ["corsika_limits.ecsv", "report.html"])
def test_overwriting_is_all_or_nothing(place, refused, name):
    """A folder stands where a file is to go: the files of the earlier plan stay as they were."""
    configure(place, LIMITS_ONLY)
    (place / "out").mkdir()
    for other in ("corsika_limits.ecsv", "grid.ecsv", "report.html"):
        (place / "out" / other).write_text("of the earlier plan")
    (place / "out" / name).unlink()
    (place / "out" / name).mkdir()
    refused(place, name, arguments=_out(place, place / "out", "--overwrite"))


FULL_DISK = """
import resource, sys
from prodconf.core.errors import ProdconfError
{imports}
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    {work}
except ProdconfError as error:
    print(error)
"""
PLAN_IT = FULL_DISK.format(
    imports="from prodconf.plan.main_job import plan_production",
    work="plan_production(sys.argv[2], sys.argv[3], overwrite=True)",
)


def on_a_full_disk(code, size, *arguments):
    """Run code in a process that cannot write files above `size` bytes; return its output."""
    pytest.importorskip("resource")
    command = [sys.executable, "-c", code, str(size), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.parametrize("size", [300, 20_000], ids=["table", "report"])
def test_full_disk(place, size):
    """Nothing half-written, and the files of an earlier plan stay."""
    configure(place, LIMITS_ONLY)
    (place / "out").mkdir()
    (place / "out/report.html").write_text("of the earlier plan")
    before = everything(place)
    line = on_a_full_disk(PLAN_IT, size, place / "plan.yml", place / "out")
    assert everything(place) == before
    assert line.startswith(f"output {place / 'out'}")
    assert line.endswith("(File too large)")
