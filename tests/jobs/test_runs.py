"""Jobs of a production: against the division of one point, brute force, and the sentences taken at their word."""

import math
import re

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.formulas.power_law import sample
from prodconf.jobs.cost import CostModel, shower_seconds, simulation_cost
from prodconf.jobs.runs import (
    JobPoints,
    RunSettings,
    job_points,
    plan_jobs,
    runs_per_point,
    showers_in_time,
    split_into_runs,
)

MODEL = CostModel(seconds_per_shower=0.5, seconds_per_tev=60.0, seconds_per_event=0.02)


def some_points(length=3):
    return JobPoints(np.linspace(0, 60, length), 180.0, np.geomspace(0.02, 0.2, length), 300.0, 1000.0, 8.0)


POINTS = some_points()


def planned(points=POINTS, **options):
    """Plan jobs with settings and demands in one."""
    settings = {name: options.pop(name) for name in list(options) if name in RunSettings.__dataclass_fields__}
    return plan_jobs(points, RunSettings(**settings), **options)


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=8).filter(any),
    st.integers(1, 20),
    st.integers(50, 5000),
    st.integers(1, 1000),
)
def test_points_are_divided_as_one_by_one(events, n_use, per_run, first):
    settings = RunSettings(per_run, first_run=first, first_event=7)
    jobs = plan_jobs(some_points(len(events)), settings, n_events=events, n_use=n_use)
    following, row = first, 0
    for point, wanted in enumerate(events):
        if wanted == 0:
            assert point not in jobs["point"]
            continue
        split = split_into_runs(wanted, RunSettings(per_run, first_run=following), n_use=n_use)
        part = jobs[row : row + split.n_runs]
        assert set(part["point"]) == {point}
        assert part["run_number"].tolist() == list(range(split.first_run, split.last_run + 1))
        assert set(part["n_showers"]) == {per_run}
        assert part["n_events"].sum() == split.n_events
        following, row = split.last_run + 1, row + split.n_runs
    assert row == len(jobs)
    assert jobs["job"].tolist() == list(range(row))
    assert set(jobs["first_event"]) == {7}


@given(st.floats(1, 1e5), st.floats(0.01, 100), st.floats(0, 300), st.floats(0, 3))
def test_the_most_showers_fit_and_one_more_does_not(seconds, mean, scatter, n_sigma):
    most = float(showers_in_time(seconds, mean, scatter, n_sigma=n_sigma))
    used = [m * mean + n_sigma * scatter * math.sqrt(m) for m in (most, most + 1)]
    assert used[0] <= seconds * (1 + 1e-9)
    assert used[1] > seconds * (1 - 1e-9)
    assert most == int(most)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=3, max_size=3),
    st.floats(0.5, 48),
    st.integers(1, 20),
    st.sampled_from([0.0, 1.0, 2.0]),
)
def test_runs_fit_the_wall_time_and_are_as_few_as_can_be(events, hours, n_use, n_sigma):
    mean, scatter = shower_seconds(POINTS.energy_min, 300.0, n_use=n_use, index=2.0, model=MODEL)
    most = [
        next(
            m
            for m in range(999_999)
            if (m + 1) * t + n_sigma * s * math.sqrt(m + 1) > 3600 * hours * (1 + 1e-12) or m > 50_000
        )
        for t, s in zip(mean, scatter, strict=True)
    ]
    if 0 in most:
        with pytest.raises(ProdconfError, match="hold one shower of every point"):
            plan_jobs(
                POINTS, RunSettings(wall_time=hours * u.h, cost=MODEL, n_sigma=n_sigma), n_events=events, n_use=n_use
            )
        return
    jobs = plan_jobs(
        POINTS, RunSettings(wall_time=hours * u.h, cost=MODEL, n_sigma=n_sigma), n_events=events, n_use=n_use
    )
    for point in range(3):
        part = jobs[jobs["point"] == point]
        showers = -(-events[point] // n_use)
        assert len(part) == -(-showers // most[point])
        assert set(part["n_showers"]) == {-(-showers // len(part))}
        assert showers <= part["n_showers"].sum() < showers + len(part)
        np.testing.assert_allclose(part["cpu_hours"].to_value("h"), part["n_showers"] * mean[point] / 3600)
        assert part["cpu_hours"].max() <= hours * u.h * (1 + 1e-9)


def test_hours_are_those_of_the_events_thrown():
    jobs = plan_jobs(POINTS, RunSettings(wall_time="1 d", cost=MODEL), n_events=[1e5, 2e5, 3e5], n_use=10)
    thrown = np.bincount(jobs["point"], weights=jobs["n_events"])
    cost = simulation_cost(thrown, n_use=10, index=2, energy_min=POINTS.energy_min, energy_max=300.0, model=MODEL)
    assert jobs["cpu_hours"].sum().to_value("h") == pytest.approx(cost.cpu_hours.sum())


def test_deviations_kept_free_are_kept_by_drawn_runs():
    """Narrow spectrum: the sum is near to Gaussian, so two deviations are exceeded by about 2.3 per cent."""
    mean, scatter = (float(x) for x in shower_seconds(1.0, 3.0, n_use=1, index=2.0, model=MODEL))
    length = int(showers_in_time(36_000, mean, scatter, n_sigma=2))
    energy = sample(np.random.default_rng(3), 5000 * length, index=2.0, energy_min=1.0, energy_max=3.0)
    seconds = length * 0.52 + 60.0 * energy.reshape(5000, length).sum(axis=1)
    assert 0.01 < (seconds > 36_000).mean() < 0.035


@pytest.mark.parametrize(("first", "per_run"), [(1, 3), (900_000, 20), (999_990, 50_000)])
def test_the_length_that_is_told_fits_and_no_shorter_one(first, per_run):
    common = {"n_events": [3e7, 5e6, 11], "n_use": 10, "first_run": first}
    with pytest.raises(ProdconfError, match="showers_per_run must be at least") as caught:
        planned(showers_per_run=per_run, **common)
    enough = int(re.search(r"at least (\d+)", str(caught.value))[1])
    jobs = planned(showers_per_run=enough, **common)
    assert jobs["run_number"].max() <= 999_999
    with pytest.raises(ProdconfError):
        planned(showers_per_run=enough - 1, **common)


@pytest.mark.parametrize("n_sigma", [0.0, 2.0])
def test_the_time_that_is_told_fits_and_a_minute_less_does_not(n_sigma):
    common = {"n_events": [3e9, 5e8, 0], "n_use": 10, "cost": MODEL, "n_sigma": n_sigma}
    with pytest.raises(ProdconfError, match="wall_time must be at least") as caught:
        planned(wall_time="1 h", **common)
    enough = int(re.search(r"at least (\d+) min", str(caught.value))[1])
    jobs = planned(wall_time=enough * u.min, **common)
    assert jobs["run_number"].max() <= 999_999
    with pytest.raises(ProdconfError):
        planned(wall_time=(enough - 1) * u.min, **common)


def test_the_last_run_number_can_be_used_and_no_further():
    jobs = plan_jobs(POINTS, RunSettings(showers_per_run=10, first_run=999_997), n_events=[100, 100, 100], n_use=10)
    assert jobs["run_number"].tolist() == [999_997, 999_998, 999_999]
    with pytest.raises(ProdconfError, match="showers_per_run must be at least 15"):
        plan_jobs(POINTS, RunSettings(showers_per_run=10, first_run=999_997), n_events=[100, 150, 150], n_use=10)


def test_points_without_events_have_no_say_in_the_wall_time():
    slow = JobPoints([20.0, 20.0], 0.0, [0.03, 290.0], 300.0, 1000.0, 8.0)
    jobs = plan_jobs(slow, RunSettings(wall_time="1 h", cost=MODEL), n_events=[1e4, 0], n_use=10)
    assert set(jobs["point"]) == {0}
    with pytest.raises(ProdconfError, match="one shower of every point"):
        plan_jobs(slow, RunSettings(wall_time="1 h", cost=MODEL), n_events=[1e4, 1], n_use=10)


def test_runs_never_pass_the_last_event_number():
    cheap = CostModel(seconds_per_shower=1e-6)
    jobs = plan_jobs(POINTS, RunSettings(wall_time="18 h", cost=cheap, first_event=500_000), n_events=1e8, n_use=10)
    assert jobs["n_showers"].max() + 500_000 - 1 <= 999_999


@settings(max_examples=30)
@given(st.permutations(range(5)))
def test_the_order_of_points_does_not_change_a_point(order):
    points, events = some_points(5), np.array([1e4, 0, 3e4, 5e3, 7e4])
    order = np.array(order)
    turned = JobPoints(points.zenith[order], 180.0, points.energy_min[order], 300.0, 1000.0, 8.0)
    one = runs_per_point(plan_jobs(points, RunSettings(wall_time="6 h", cost=MODEL), n_events=events, n_use=10), points)
    other = runs_per_point(
        plan_jobs(turned, RunSettings(wall_time="6 h", cost=MODEL), n_events=events[order], n_use=10), turned
    )
    for name in ("n_runs", "n_showers", "n_events"):
        assert one[name][order].tolist() == other[name].tolist()


def test_points_are_added_up():
    jobs = plan_jobs(POINTS, RunSettings(wall_time="6 h", cost=MODEL, first_run=50), n_events=[1e5, 0, 3e5], n_use=10)
    table = runs_per_point(jobs, POINTS)
    assert table["n_runs"].sum() == len(jobs)
    assert table["n_events"].sum() == jobs["n_events"].sum()
    assert table["first_run"][1] == table["last_run"][1] == table["n_runs"][1] == 0
    assert table["first_run"][0] == 50
    assert table["last_run"][2] == jobs["run_number"][-1] == 49 + len(jobs)
    assert table["cpu_hours"].sum().to_value("h") == pytest.approx(jobs["cpu_hours"].sum().to_value("h"))
    assert table["label"].tolist() == ["point0", "point1", "point2"]
    with pytest.raises(ProdconfError, match="jobs must be those of the 2 points"):
        runs_per_point(jobs, some_points(2))


def test_the_table_survives_a_file(tmp_path):
    jobs = plan_jobs(POINTS, RunSettings(wall_time="6 h", cost=MODEL), n_events=1e4, n_use=10, spectral_index=-2.3)
    jobs.write(tmp_path / "jobs.ecsv")
    back = QTable.read(tmp_path / "jobs.ecsv")
    assert dict(back.meta) == dict(jobs.meta) == {"n_use": 10, "spectral_index": -2.3, "n_points": 3}
    assert back["run_number"].tolist() == jobs["run_number"].tolist()
    assert back["cpu_hours"].unit == u.h


def test_units_of_points_are_converted():
    points = JobPoints(
        np.deg2rad([20.0, 40.0]) * u.rad, 180 * u.deg, 30 * u.GeV, 3e14 * u.eV, 1 * u.km, 60 * u.arcmin, ["a", "b"]
    )
    np.testing.assert_allclose(points.zenith, [20.0, 40.0])
    np.testing.assert_allclose(points.energy_min, 0.03)
    np.testing.assert_allclose(points.energy_max, 300.0)
    assert points.core_scatter_radius.tolist() == [1000.0, 1000.0]
    np.testing.assert_allclose(points.viewcone, 1.0)
    assert len(points) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"zenith": [10, 95]}, r"zenith must lie in \[0, 90\) deg, got 95 deg at point 1"),
        ({"zenith": [[10, 20]]}, "zenith must be one number or 2 in a row"),
        ({"zenith": []}, "zenith must be one number or 1 in a row"),
        ({"azimuth": np.inf}, "azimuth must be finite"),
        ({"energy_min": 0}, "energy_min must be positive, got 0 TeV at point 0"),
        ({"energy_max": 0.001}, "energy_max must not be below energy_min"),
        ({"energy_max": 5 * u.m}, "energy_max must have a unit convertible to TeV"),
        ({"core_scatter_radius": -5}, "core_scatter_radius must be positive"),
        ({"viewcone": 91}, r"viewcone must lie in \[0, 90\] deg"),
        ({"labels": ["a"]}, "labels must be one word for each of 2 points"),
        ({"labels": "ab"}, "labels must be one word for each of 2 points"),
        ({"labels": ["a", "b c"]}, "labels must be plain words"),
        ({"labels": ["a", "$(b)"]}, "labels must be plain words"),
        ({"labels": ["a", "-b"]}, "labels must be plain words"),
    ],
)
def test_wrong_points_are_told_in_a_sentence(change, words):
    good = {"zenith": [10, 20], "azimuth": 0, "energy_min": 0.03, "energy_max": 300, "core_scatter_radius": 900}
    with pytest.raises(ProdconfError, match=words):
        JobPoints(**{"viewcone": 5, **good} | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "either showers_per_run or wall_time must be given, got none"),
        ({"showers_per_run": 5, "wall_time": "1 h", "cost": MODEL}, "got both"),
        ({"wall_time": "1 h"}, "cost must be given"),
        ({"wall_time": "1 m", "cost": MODEL}, "wall_time: must have a unit convertible to h"),
        ({"wall_time": 1, "cost": MODEL}, "wall_time: needs a unit"),
        ({"wall_time": "0 h", "cost": MODEL}, "wall_time must be positive"),
        ({"wall_time": "1 h", "cost": CostModel(bytes_per_event=1)}, "cost must give every shower a time"),
        ({"wall_time": "1 h", "cost": {"seconds_per_shower": "1 s"}}, "model must be a CostModel"),
        ({"wall_time": "1 h", "cost": MODEL, "n_sigma": -1}, "n_sigma must not be negative"),
        ({"showers_per_run": 0}, "showers_per_run must be a whole number from 1 to 999999"),
        ({"showers_per_run": 1.5}, "showers_per_run must be a whole number"),
        ({"showers_per_run": 5, "n_events": 0}, "n_events must be positive for one point at least"),
        ({"showers_per_run": 5, "n_events": [1, 2]}, "n_events must be one number or one for each of 3 points"),
        ({"showers_per_run": 5, "n_events": np.nan}, "n_events must be finite"),
        ({"showers_per_run": 5, "n_events": 1e300}, "n_events must add up to at most 1e.13"),
        ({"showers_per_run": 5, "n_use": 21}, "n_use must be a whole number from 1 to 20"),
        ({"showers_per_run": 5, "first_run": 0}, "first_run must be a whole number from 1 to 999999"),
        ({"showers_per_run": 5, "first_event": 10**6}, "first_event must be a whole number"),
        ({"showers_per_run": 5, "spectral_index": 2}, r"spectral_index must lie in \[-20, 0\]"),
    ],
)
def test_bad_input_is_told_in_a_sentence(change, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        planned(**{"n_events": 1000, "n_use": 10} | change)
    assert "\n" not in str(caught.value)


def test_points_must_be_points():
    with pytest.raises(ProdconfError, match="points must be JobPoints, got dict"):
        plan_jobs({}, RunSettings(showers_per_run=1), n_events=1, n_use=1)


def some_grid(**change):
    """Return the table of a grid of two points."""
    columns = {
        "Azimuth": [0.0, np.pi] * u.rad,
        "zenith_angle": [20.0, 40.0] * u.deg,
        "nsb_level": [0.24, 0.835],
        "lower_energy_limit": [30.0, 60.0] * u.GeV,
        "lower_energy_limit_sigma": [1.0, 1.0] * u.GeV,
        "upper_radius_limit": [0.9, 1.1] * u.km,
        "viewcone_radius": [480.0, 240.0] * u.arcmin,
        "upper_energy": [300.0, 330.0] * u.TeV,
        "n_events": [1e4, 2e4],
    }
    return QTable({name: value for name, value in (columns | change).items() if value is not None})


def test_points_of_a_grid_are_converted_and_labelled():
    points = job_points(some_grid())
    expected = [[20, 40], [0, 180], [0.03, 0.06], [300, 330], [900, 1100], [8, 4]]
    names = ("zenith", "azimuth", "energy_min", "energy_max", "core_scatter_radius", "viewcone")
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_allclose(getattr(points, name), values, rtol=1e-12)
    assert points.labels == ("nsb_level=0.24", "nsb_level=0.835")
    assert job_points(some_grid(nsb_level=None)).labels == ("point0", "point1")
    assert job_points(some_grid(nsb_level=[b"dark", b"moon; rm"])).labels == ("nsb_level=dark", "nsb_level=moon--rm")
    assert job_points(some_grid(), energy_max="1 PeV").energy_max.tolist() == [1000, 1000]
    assert job_points(some_grid(upper_energy=None), energy_max=[1, 2] * u.TeV).energy_max.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "energy_max", "words"),
    [
        ({"viewcone_radius": None}, None, "grid must have the column viewcone_radius for jobs"),
        ({"zenith_angle": None}, None, "grid must have a column of zenith for jobs"),
        ({"upper_energy": None}, None, "energy_max must be given"),
        ({"upper_energy": [np.nan, 1] * u.TeV}, None, "energy_max must be given"),
        ({"lower_energy_limit": [np.nan, 1] * u.TeV}, None, "energy_min must be finite"),
        ({}, "300", "energy_max: must have a unit convertible to TeV"),
        ({}, "300 m", "energy_max: must have a unit convertible to TeV"),
        ({}, "1 GeV", "energy_max must not be below energy_min"),
    ],
)
def test_grids_that_lack_something_are_told_in_a_sentence(change, energy_max, words):
    with pytest.raises(ProdconfError, match=words):
        job_points(some_grid(**change), energy_max=energy_max)


def slices(length):
    """Return one direction cut into slices of energy, each with its own area and cone."""
    edges = np.geomspace(0.02, 300.0, length + 1)
    radii, cones = np.linspace(500, 1900, length), np.linspace(3, 9, length)
    return JobPoints(20.0, 180.0, edges[:-1], edges[1:], radii, cones)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 20), st.floats(-3, 0)), min_size=1, max_size=5).filter(
        lambda rows: any(row[0] for row in rows)
    ),
    st.booleans(),
)
def test_points_with_their_own_uses_and_spectra_are_divided_as_one_by_one(rows, timed):
    events, n_use, index = (list(column) for column in zip(*rows, strict=True))
    points, how = slices(len(rows)), {"wall_time": "40 h"} if timed else {"showers_per_run": 500}
    jobs = planned(points, n_events=events, n_use=n_use, spectral_index=index, cost=MODEL, **how)
    assert not {"n_use", "spectral_index"} & set(jobs.meta)
    assert np.array_equal(jobs["n_events"], jobs["n_showers"] * jobs["n_use"])
    for point in range(len(rows)):
        part = jobs[jobs["point"] == point]
        if not events[point]:
            assert len(part) == 0
            continue
        one = JobPoints(
            20.0, 180.0, points.energy_min[point], points.energy_max[point], points.core_scatter_radius[point], 5.0
        )
        alone = planned(one, n_events=events[point], n_use=n_use[point], spectral_index=index[point], cost=MODEL, **how)
        assert alone.meta["n_use"] == n_use[point]
        assert set(part["n_use"]) == {n_use[point]}
        assert set(part["spectral_index"]) == {index[point]}
        for name in ("n_showers", "n_events"):
            assert part[name].tolist() == alone[name].tolist()
        np.testing.assert_allclose(part["cpu_hours"].value, alone["cpu_hours"].value, rtol=1e-12)


def test_sums_over_slices_reconcile_to_the_last_event():
    points, n_use, events = slices(3), [5, 10, 20], [123_457, 10_001, 1]
    jobs = plan_jobs(
        points, RunSettings(showers_per_run=999), n_events=events, n_use=n_use, spectral_index=[-2.3, -2.0, -1.0]
    )
    total = runs_per_point(jobs, points)
    runs = [-(-wanted // (uses * 999)) for wanted, uses in zip(events, n_use, strict=True)]
    assert total["n_runs"].tolist() == runs
    assert total["n_events"].tolist() == [number * 999 * uses for number, uses in zip(runs, n_use, strict=True)]
    assert jobs["n_events"].sum() == total["n_events"].sum()


def test_one_number_stays_metadata_and_many_become_a_column():
    plain = plan_jobs(POINTS, RunSettings(showers_per_run=5), n_events=1000, n_use=10)
    assert plain.meta == {"n_use": 10, "spectral_index": -2.0, "n_points": 3}
    assert type(plain.meta["n_use"]) is int
    mixed = plan_jobs(POINTS, RunSettings(showers_per_run=5), n_events=1000, n_use=[10, 10, 10])
    assert mixed.meta == {"spectral_index": -2.0, "n_points": 3}
    assert mixed["n_use"].dtype.kind == "i"
    for name in plain.colnames:
        assert mixed[name].tolist() == plain[name].tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_use": [1, 2]}, r"n_use must be one number or one for each of 3 points, got shape \(2,\)"),
        ({"n_use": [1, 2, 21]}, "n_use must be a whole number from 1 to 20, got 21"),
        ({"n_use": [1, 2, 2.5]}, "n_use must be a whole number from 1 to 20, got 2.5"),
        ({"n_use": [1, 2, np.nan]}, "n_use must be finite"),
        ({"n_use": "5"}, "n_use must be numbers"),
        ({"n_use": 5 * u.m}, "n_use must have no unit"),
        ({"n_use": []}, r"n_use must be one number or one for each of 3 points, got shape \(0,\)"),
        ({"spectral_index": [-2, -2]}, "spectral_index must be one number or one for each of 3 points"),
        ({"spectral_index": [-2, -2, 1.5]}, r"spectral_index must lie in \[-20, 0\], got 1.5 at index 2"),
        ({"spectral_index": [[-2, -2, -2]]}, r"got shape \(1, 3\)"),
        ({"spectral_index": [-2, -2, np.inf]}, "spectral_index must be finite"),
        ({"n_use": [1, 2, 20], "n_events": 1e30}, "n_events must add up to at most .* divide the production"),
    ],
)
def test_numbers_of_points_that_do_not_fit_are_told(change, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        planned(**{"n_events": 1000, "n_use": 10, "showers_per_run": 5} | change)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 10**7), st.integers(1, 20), st.integers(1, 5000))
def test_runs_by_brute_force(n_events, n_use, per_run):
    per_run, size = per_run + 10, (per_run + 10) * n_use  # at least ten, so that run numbers suffice
    split = split_into_runs(n_events, RunSettings(per_run), n_use=n_use)
    assert split.n_events == split.n_runs * size == split.n_showers * n_use
    assert split.n_events - size < n_events <= split.n_events


def test_run_numbers_stay_within_six_digits():
    assert split_into_runs(999_999, RunSettings(1), n_use=1).last_run == 999_999
    with pytest.raises(ProdconfError, match="showers_per_run must be at least 2 "):
        split_into_runs(1_000_000, RunSettings(1), n_use=1)
    with pytest.raises(ProdconfError, match="at least 100 "):
        split_into_runs(1_000_000, RunSettings(7, first_run=990_000), n_use=1)
    assert split_into_runs(1_000_000, RunSettings(100, first_run=990_000), n_use=1).last_run == 999_999


@pytest.mark.parametrize("n_events", [0, -1, float("nan"), float("inf"), "many"])
def test_bad_numbers_of_events(n_events):
    with pytest.raises(ProdconfError, match="n_events"):
        split_into_runs(n_events, RunSettings(1), n_use=1)
