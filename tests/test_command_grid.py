"""`prodconf grid`: from axes to jobs, and what it does to bad input."""

import json
import re

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.table import QTable

from prodconf.limits.table import read_limits, stack_limits, write_limits

AXES = {
    "azimuth": {"range": [0, 180], "binning": 2, "units": "deg"},
    "zenith_angle": {"values": [20, 40], "units": "deg"},
    "nsb_level": [0.24],
}
COST = {"seconds_per_shower": "1 s", "seconds_per_tev": "20 s / TeV", "seconds_per_event": "0.1 s"}


@pytest.fixture
def place(tmp_path):
    """A folder with axes, limits and a cost model."""
    zenith, azimuth = (a.ravel() for a in np.meshgrid([20.0, 40.0, 60.0], [0.0, 180.0], indexing="ij"))
    limits = QTable(
        {
            "primary_particle": ["gamma"] * 6,
            "array_name": ["4LST"] * 6,
            "zenith": zenith * u.deg,
            "azimuth": azimuth * u.deg,
            "nsb_level": np.full(6, 0.24),
            "lower_energy_limit": 0.005 * (1 + zenith / 20) * u.TeV,
            "upper_radius_limit": (800 + 10 * zenith) * u.m,
            "viewcone_radius": np.full(6, 8.1) * u.deg,
            "br_energy_max": np.full(6, 300.0) * u.TeV,
        }
    )
    write_limits(limits, tmp_path / "limits.ecsv")
    (tmp_path / "axes.yml").write_text(yaml.safe_dump({"axes": AXES}))
    (tmp_path / "cost.yml").write_text(yaml.safe_dump(COST))
    return tmp_path


def test_a_grid_without_limits(run, place):
    status, out, err = run("grid", place / "axes.yml", "-o", place / "grid.json")
    assert (status, err) == (0, "")
    assert "4 points" in out
    points = json.loads((place / "grid.json").read_text())
    assert [point["azimuth"]["value"] for point in points] == [0, 0, 180, 180]


def test_a_grid_with_rounded_limits_and_plots(run, place):
    status, out, err = run(
        "grid", place / "axes.yml", "--limits", place / "limits.ecsv", "--round-outward", "1 GeV, 25 m, 0.25 deg",
        "--coordinates", "ra_dec", "--site", "CTAO-North", "--time", "2026-11-22T03:00:00",
        "-o", place / "grid.ecsv", "--plots", place / "plots",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "unstated" in out
    table = QTable.read(place / "grid.ecsv")
    assert (table["viewcone_radius"].value == 8.25).all()
    assert table["upper_radius_limit"].value.tolist() == [1000, 1200, 1000, 1200]
    assert {"ra", "dec"} <= set(table.colnames)
    assert len(list((place / "plots").glob("*.png"))) >= 6


def jobs(place, *more):
    return (
        "grid", place / "axes.yml", "--limits", place / "limits.ecsv", "--particle", "gamma", "--site", "CTAO-North",
        "--required-events", "1e5", "--n-use", "10", "--cost", place / "cost.yml", "--jobs", place / "jobs",
        "-o", place / "grid.ecsv", *more,
    )  # fmt: skip


def test_from_axes_to_jobs(run, place):
    more = ("--showers-per-run", 2000, "--first-run", 101, "--batch", "htcondor", "--batch", "slurm")
    status, out, err = run(*jobs(place, *more, "--command", "run_corsika {card}"))
    assert (status, err) == (0, "")
    assert "20 jobs, 4e+05 events" in out
    table = QTable.read(next((place / "jobs").glob("*.ecsv")))
    assert table["run_number"].tolist() == list(range(101, 121))
    assert sum(table["n_events"]) == 4e5
    cards = sorted((place / "jobs").rglob("*101*"))
    text = next(path.read_text() for path in cards if path.is_file() and "RUNNR" in path.read_text())
    assert re.search(r"^RUNNR +101$", text, re.MULTILINE)
    assert re.search(r"^ERANGE +10\.0 300000\.0$", text, re.MULTILINE)
    assert re.search(r"^THETAP +20\.0 20\.0$", text, re.MULTILINE)
    assert re.search(r"^CSCAT +10 100000\.0 0\.0$", text, re.MULTILINE)
    grid = QTable.read(place / "grid.ecsv")
    assert (np.asarray(grid["n_events"]) == 1e5).all()
    assert grid["cpu_time"].unit == u.h


def test_runs_of_a_wall_time(run, place):
    status, _, err = run(*jobs(place, "--wall-time", "2 h"))
    assert (status, err) == (0, "")
    table = QTable.read(next((place / "jobs").glob("*.ecsv")))
    hours = np.asarray(getattr(table["cpu_hours"], "value", table["cpu_hours"]))
    assert hours.max() <= 2
    assert hours.max() > 1


def test_events_of_a_plan(run, place):
    plan = QTable(
        {
            "array_name": ["production"] * 4 + ["4LST"],
            "zenith": [20, 40, 20, 40, 20] * u.deg,
            "azimuth": [0, 0, 180, 180, 0] * u.deg,
            "nsb_level": [0.24] * 5,
            "n_events": [1e4, 2e4, 3e4, 4e4, np.nan],
        }
    )
    plan.write(place / "plan.ecsv")
    command = ("grid", place / "axes.yml", "--limits", place / "limits.ecsv", "-o", place / "grid.ecsv", "--overwrite")
    status, _, err = run(*command, "--required-events", place / "plan.ecsv")
    assert (status, err) == (0, "")
    assert np.asarray(QTable.read(place / "grid.ecsv")["n_events"]).tolist() == [1e4, 2e4, 3e4, 4e4]
    plan[:2].write(place / "plan.ecsv", overwrite=True)
    status, _, err = run(*command, "--required-events", place / "plan.ecsv")
    assert status == 1
    assert "has no number of events for zenith 20 deg, azimuth 180 deg" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "either showers_per_run or wall_time must be given"),
        (("--showers-per-run", 2000, "--batch", "slurm"), "command"),
        (("--showers-per-run", 2000, "--limits", "nowhere.ecsv"), "nowhere.ecsv"),
        (("--showers-per-run", 2000, "--site", "28 deg, -17 deg, 2200 m"), "magnetic declination"),
        (("--showers-per-run", 2000, "--required-events", "many"), "many: required_events cannot be read"),
        (("--wall-time", "1 s"), "wall_time"),
        (("--showers-per-run", 0), "showers_per_run"),
        (("--showers-per-run", 1, "--required-events", "1e9"), "showers_per_run must be at least"),
        (("--showers-per-run", 2000, "--first-run", 999_990), "first_run"),
        (("--wall-time", "2 h", "--time-limit", "1 h"), "--time-limit must not be below --wall-time"),
        (("--showers-per-run", 2000, "-o", "grid.txt"), "output_file must end in"),
        (("--showers-per-run", 2000, "--plots", "{jobs}"), "must be two folders"),
    ],
)
def test_bad_jobs_are_one_sentence_and_leave_no_jobs(run, place, more, words):
    status, _, err = run(*jobs(place, *(place / "jobs" if text == "{jobs}" else text for text in more)))
    assert status == 1
    assert words in err
    assert "Traceback" not in err
    assert not (place / "jobs").exists()


def test_jobs_need_what_they_need(run, place):
    status, _, err = run("grid", place / "axes.yml", "--jobs", place / "jobs", "-o", place / "grid.ecsv")
    assert status == 1
    assert "--limits must be given with --jobs" in err
    assert not (place / "grid.ecsv").exists()


@pytest.mark.parametrize(
    ("option", "needs"),
    [
        (("--batch", "slurm"), "--jobs"),
        (("--time-limit", "1 h"), "--jobs"),
        (("--energy-max", "1 TeV"), "--required-events"),
        (("--nearest",), "--limits"),
        (("--array", "4LST"), "--limits"),
    ],
)
def test_options_that_would_do_nothing_are_refused(run, place, option, needs):
    status, _, err = run("grid", place / "axes.yml", *option, "-o", place / "grid.ecsv")
    assert status == 1
    assert f"{option[0]} means nothing without {needs}" in err


def test_the_events_are_an_input(run, place):
    assert run("grid", place / "axes.yml", "--required-events", "7", "-o", place / "grid.ecsv")[0] == 0
    command = ("grid", place / "axes.yml", "--required-events", place / "grid.ecsv", "--overwrite")
    status, _, err = run(*command, "-o", place / "grid.ecsv")
    assert status == 1
    assert "grid.ecsv" in err
    assert run(*command, "-o", place / "again.ecsv")[0] == 0  # a grid is a table of required events


def test_a_card_says_what_its_limits_are_worth(run, place):
    axes = AXES | {"zenith_angle": ["60 deg", "65 deg"]}
    (place / "axes.yml").write_text(yaml.safe_dump({"axes": axes}))
    status, out, _ = run(*jobs(place, "--showers-per-run", 10_000, "--nearest"))
    assert status == 0
    assert "2 points beyond the table" in out
    table = QTable.read(place / "jobs" / "jobs.ecsv")
    assert ["extrapolated" in str(text) for text in table["remark"]] == (table["zenith"].value == 65).tolist()
    cards = [(place / "jobs" / "cards" / name).read_text() for name in table["card"]]
    assert ["beyond the table" in card for card in cards] == (table["zenith"].value == 65).tolist()


def test_axes_that_no_card_knows_are_told(run, place):
    (place / "axes.yml").write_text(yaml.safe_dump({"axes": AXES | {"offset": ["0 deg"], "x": [1], "y": [1, 2]}}))
    status, out, err = run(*jobs(place, "--showers-per-run", 2000))
    assert status == 0
    assert "axes offset, x, y: no input card depends on them" in err
    assert "40 jobs" in out


def test_nothing_is_replaced(run, place):
    command = ("grid", place / "axes.yml", "-o", place / "grid.ecsv")
    assert run(*command)[0] == 0
    status, _, err = run(*command)
    assert status == 1
    assert "exists" in err
    assert run(*command, "--overwrite")[0] == 0
    status, _, err = run("grid", place / "axes.yml", "-o", place / "axes.yml", "--overwrite")
    assert status == 1
    assert yaml.safe_load((place / "axes.yml").read_text()) == {"axes": AXES}


# --- a thrown range has two ends --------------------------------------------------------------------------------------
JOBS = ("--required-events", 100_000, "--showers-per-run", 50_000, "--site", "CTAO-North", "--particle", "gamma")


def hollow(place, **inner):
    """Let the limits of the place begin at inner edges."""
    table = read_limits(place / "limits.ecsv")
    for name, values in inner.items():
        table[name] = values
    write_limits(table, place / "limits.ecsv", overwrite=True)


def test_hollow_cones_come_to_the_cards(run, place):
    """The inner edge is interpolated with the limits: 1 deg at 20 deg zenith, 3 deg at 40 deg."""
    hollow(place, br_viewcone_min=[1.0, 1.0, 3.0, 3.0, 4.0, 4.0] * u.deg)
    grid = ("grid", place / "axes.yml", "--limits", place / "limits.ecsv")
    assert run(*grid, "-o", place / "grid.ecsv", "--jobs", place / "jobs", *JOBS)[0] == 0
    assert QTable.read(place / "grid.ecsv")["viewcone_min"].to_value("deg").tolist() == pytest.approx([1, 3, 1, 3])
    cards = sorted((place / "jobs").rglob("*.inp"))
    lines = [line for card in cards for line in card.read_text().splitlines() if line.startswith("VIEWCONE")]
    assert lines == 2 * (2 * ["VIEWCONE 1.0 8.1"] + 2 * ["VIEWCONE 3.0 8.1"])
    assert set(QTable.read(place / "jobs" / "jobs.ecsv")["viewcone_min"].to_value("deg")) == {1.0, 3.0}
    assert run(*grid, "-o", place / "grid.json")[0] == 0
    assert [point["viewcone_min"]["value"] for point in json.loads((place / "grid.json").read_text())] == [1, 3, 1, 3]


def test_rings_of_cores_are_no_cards(run, place):
    hollow(place, br_core_scatter_min=np.full(6, 150.0) * u.m)
    grid = ("grid", place / "axes.yml", "--limits", place / "limits.ecsv", "-o", place / "grid.ecsv")
    status, _, err = run(*grid, "--jobs", place / "jobs", *JOBS)
    assert (status, err.count("\n")) == (1, 1)
    assert "cores from 150 m on cannot be thrown" in err
    assert not (place / "jobs").exists()
    assert not (place / "grid.ecsv").exists()
    assert run(*grid)[0] == 0
    assert set(QTable.read(place / "grid.ecsv")["core_scatter_min"].to_value("m")) == {150.0}


def test_rows_that_differ_in_their_inner_edge_do_not_count_once(run, place):
    table = read_limits(place / "limits.ecsv")
    other = table[:1].copy()
    other["br_viewcone_min"] = [2.0] * u.deg
    write_limits(stack_limits([table, other]), place / "limits.ecsv", overwrite=True)
    _, _, err = run("grid", place / "axes.yml", "--limits", place / "limits.ecsv", "-o", place / "grid.ecsv")
    assert "rows at one place must agree, got br_viewcone_min 0.0 and 2.0 deg" in err


def test_the_hollow_cone_and_the_one_energy_of_pilots_come_to_the_cards(run, shared_data, tmp_path):
    cases = shared_data / "cases"
    for name, file, line in (
        ("hollow_limits", "hollow.hdf5", "VIEWCONE 2.0 2.37"),
        ("mono_energetic", "mono_300GeV.hdf5", "ERANGE   300.0 300.0"),
    ):
        pilot, table = cases / name / file, tmp_path / f"{name}.ecsv"
        how = ("--telescopes", "all", "--loss-fraction", 0.05)
        assert run("limits", pilot, *how, "-o", table)[0] == 0
        limits = read_limits(table)
        assert ("br_viewcone_min" in limits.colnames) == (name == "hollow_limits")
        grid = ("grid", cases / "hollow_limits/axes.yml", "--limits", table, "-o", tmp_path / f"{name}.json")
        assert run(*grid, "--jobs", tmp_path / name, *JOBS)[0] == 0
        cards = "\n".join(card.read_text() for card in (tmp_path / name).rglob("*.inp"))
        assert line in cards
    assert limits["lower_energy_limit"].to_value("TeV").tolist() == [0.3]
    assert limits["lower_energy_limit_verdict"].tolist() == ["ok"]
    assert 200 < limits["upper_radius_limit"][0].to_value("m") < 300
