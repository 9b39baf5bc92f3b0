"""Grids on the sky: as many points as area says, equally many everywhere, and every azimuth that has a wanted sine."""

import time

import numpy as np
import pytest
from astropy import units as u
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.sky.pointing_sets import cos_zenith_sin_delta, read_sky, sky_area, uniform_density
from prodconf.sky.sites import SITES, Site, geomagnetic_angle

WHOLE_SKY = 4 * np.pi * (180 / np.pi) ** 2


def vectors(zenith, azimuth):
    """Unit vectors North, East, up."""
    z, a = np.deg2rad([zenith, azimuth])
    return np.stack([np.sin(z) * np.cos(a), np.sin(z) * np.sin(a), np.cos(z)], axis=-1)


def inside(azimuth, window):
    """Say which azimuths lie in a directed window."""
    width = (window[1] - window[0]) % 360
    width = width if width > 1e-6 else 360
    return np.mod(azimuth - window[0] + 1e-8, 360) <= width + 2e-8


windows = st.tuples(st.floats(-180, 360), st.floats(20, 360)).map(lambda w: (w[0], w[0] + w[1]))
zeniths = st.tuples(st.floats(0, 60), st.floats(10, 89.9)).filter(lambda z: z[1] > z[0] + 10)


def test_area_by_counting_random_directions():
    rng = np.random.default_rng(1)
    zenith, azimuth = np.rad2deg(np.arccos(rng.uniform(-1, 1, 10**6))), rng.uniform(0, 360, 10**6)
    for low, high, first, last in [(0, 60, 0, 360), (20, 45, 310, 20), (0, 89, -180, 180), (30, 31, 20, 310)]:
        hits = ((zenith >= low) & (zenith < high) & inside(azimuth, (first, last))).sum()
        expected = sky_area((low, high), (first, last)) / WHOLE_SKY * 10**6
        assert abs(hits - expected) < 4 * np.sqrt(expected)


@settings(max_examples=80, deadline=None)
@given(density=st.floats(0.005, 2.0), zenith=zeniths, azimuth=windows)
def test_the_number_is_that_of_the_area_but_for_the_edge(density, zenith, azimuth):
    assume(density * sky_area(zenith, azimuth) > 5)
    z, a = uniform_density(density, zenith=zenith, azimuth=azimuth)
    width = azimuth[1] - azimuth[0]
    edge = np.deg2rad(width) * np.sum(np.sin(np.deg2rad(zenith))) * 180 / np.pi + 2 * (zenith[1] - zenith[0])
    assert abs(len(z) - density * sky_area(zenith, azimuth)) < 1 + 0.5 * edge * np.sqrt(density)
    assert z.min() >= zenith[0]
    assert z.max() <= zenith[1]
    assert inside(a, azimuth).all()
    assert ((a >= 0) & (a < 360)).all()
    assert (np.diff(z) >= 0).all()


@pytest.mark.parametrize("density", [0.02, 0.3, 3.0])
def test_the_density_is_the_same_everywhere(density):
    z, a = uniform_density(density, zenith=(0, 80))
    points = vectors(z, a)
    rng = np.random.default_rng(2)
    cap = np.sqrt(60 / density / np.pi)  # deg; a cap of 60 points
    if cap > 20:
        cap = 20.0
    centres = vectors(
        np.rad2deg(np.arccos(rng.uniform(np.cos(np.deg2rad(80 - cap)), 1, 300))), rng.uniform(0, 360, 300)
    )
    counts = (points @ centres.T > np.cos(np.deg2rad(cap))).sum(axis=0)
    expected = density * 2 * np.pi * (1 - np.cos(np.deg2rad(cap))) * (180 / np.pi) ** 2
    assert np.abs(counts - expected).max() < 1.7 * np.sqrt(np.sqrt(expected)) + 2  # far below the random sqrt(n) x 3
    assert counts.mean() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("density", [0.01, 0.1, 1.0])
def test_no_two_points_are_close(density):
    from scipy.spatial import cKDTree

    z, a = uniform_density(density, zenith=(0, 85))
    chord = cKDTree(vectors(z, a)).query(vectors(z, a), k=2)[0][:, 1]
    nearest = np.rad2deg(2 * np.arcsin(chord / 2)) * np.sqrt(density)  # in units of the side of a square lattice
    assert nearest.min() > 0.75
    assert nearest.max() < 1.1


def test_windows_turn_the_same_lattice():
    whole = uniform_density(0.1, zenith=(10, 60), azimuth=(0, 360))
    for same in ((-360, 0), (360, 0), (0.0, 360.0)):
        np.testing.assert_allclose(uniform_density(0.1, zenith=(10, 60), azimuth=same), whole, atol=1e-9)
    one = uniform_density(0.1, zenith=(10, 60), azimuth=(310, 20))
    other = uniform_density(0.1, zenith=(10, 60), azimuth=(-50, 20))
    np.testing.assert_allclose(one, other, atol=1e-9)
    assert len(one[0]) < len(uniform_density(0.1, zenith=(10, 60), azimuth=(20, 310))[0]) / 3
    np.testing.assert_array_equal(uniform_density(0.1 / u.deg**2, zenith=(10, 60)), whole)
    np.testing.assert_allclose(uniform_density((0.1 / u.deg**2).to("1/sr"), zenith=(10 * u.deg, 60 * u.deg)), whole)


def test_a_large_grid_is_quick_and_a_small_window_cheap():
    start = time.process_time()
    z, _ = uniform_density(90.0, zenith=(0, 60))
    uniform_density(300.0, zenith=(40, 41), azimuth=(10, 11))
    assert time.process_time() - start < 1.0
    assert len(z) == pytest.approx(90 * sky_area((0, 60)), abs=1)


def brute_sines(zenith, site):
    """Sine of the geomagnetic angle on a fine circle, from vectors."""
    azimuth = np.linspace(0, 360, 36_001)[:-1]
    d, i = np.deg2rad([site.declination, site.inclination])
    field = np.array([np.cos(i) * np.cos(d), np.cos(i) * np.sin(d), -np.sin(i)])
    return np.linalg.norm(np.cross(vectors(np.full(azimuth.size, zenith), azimuth), field), axis=-1)


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("shape", [(5, 4), (3, 7), (2, 2)])
def test_every_azimuth_with_a_wanted_sine_is_there(name, shape):
    site = SITES[name]
    z, a = cos_zenith_sin_delta(*shape, site=name, zenith=(5, 65))
    np.testing.assert_allclose(np.cos(np.deg2rad(np.unique(z))), np.linspace(*np.cos(np.deg2rad([5, 65])), shape[0]))
    for zenith in np.unique(z):
        circle, here = brute_sines(zenith, site), np.sort(a[z == zenith])
        sine = np.sin(np.deg2rad(geomagnetic_angle(zenith, here, site=name)))
        wanted = np.linspace(circle.min(), circle.max(), shape[1])
        assert np.abs(sine[:, None] - wanted).min(axis=1).max() < 1e-5
        for i, value in enumerate(wanted[1:-1], start=1):  # crossings of the fine circle
            crossings = np.sum((circle > value) != (np.roll(circle, 1) > value))
            assert np.sum(np.abs(sine - wanted[i]) < 1e-5) == crossings
        assert np.sum(np.abs(sine - wanted[0]) < 1e-5) == 1
        assert np.sum(np.abs(sine - wanted[-1]) < 1e-5) in (1, 2)
        mirrored = np.sort(np.mod(2 * site.declination - here, 360))
        np.testing.assert_allclose(np.mod(mirrored - np.sort(here) + 180, 360), 180, atol=1e-3)
        assert np.diff(here, append=here[0] + 360).min() > 0.05


@settings(max_examples=60, deadline=None)
@given(
    inclination=st.floats(-85, 85),
    declination=st.floats(-180, 180),
    zenith=zeniths,
    shape=st.tuples(st.integers(2, 6), st.integers(2, 6)),
)
def test_any_field_gives_no_point_twice_and_equal_steps(inclination, declination, zenith, shape):
    site = Site("x", 0.0, 0.0, 0.0, inclination, declination)
    z, a = cos_zenith_sin_delta(*shape, site=site, zenith=zenith)
    assert shape[0] <= len(z) <= 4 * shape[0] * shape[1]
    assert z[0] == zenith[0]
    assert z[-1] == zenith[1]
    assert np.isfinite(a).all()
    for angle in np.unique(z):
        here = a[z == angle]
        if here.size > 1:
            assert np.diff(here, append=here[0] + 360).min() > 0.05
            circle = brute_sines(angle, site)
            sine = np.sin(np.deg2rad(geomagnetic_angle(angle, here, site=site)))
            assert sine.min() == pytest.approx(circle.min(), abs=1e-3)
            assert sine.max() == pytest.approx(circle.max(), abs=1e-3)
            step = (circle.max() - circle.min()) / (shape[1] - 1)
            assert np.abs((sine - circle.min()) / step - np.rint((sine - circle.min()) / step)).max() * step < 2e-3


def test_zenith_and_windows_of_azimuth():
    z, a = cos_zenith_sin_delta(3, 4, site="North", zenith=(0, 60))
    assert ((z == 0).sum(), a[0]) == (1, 0.0)
    whole = set(zip(z.round(6), a.round(6), strict=True))
    z, a = cos_zenith_sin_delta(3, 4, site="North", zenith=(0, 60), azimuth=(100, 260))
    part = set(zip(z[1:].round(6), a[1:].round(6), strict=True))
    assert part == {(zen, azi) for zen, azi in whole if 100 <= azi <= 260 and zen > 0}
    assert a[0] == 100
    one = cos_zenith_sin_delta(1, 3, site="South", zenith=(40, 40))
    assert set(one[0]) == {40.0}


def test_the_entry_of_a_file(tmp_path):
    import yaml

    text = """
    sky: {density: 0.01 / deg2, zenith: [0, 60], azimuth: [310, 20], units: deg}
    delta: {scheme: cos_zenith_sin_delta, binning: [4, 6], zenith: [20, 60], units: deg}
    """
    entries = yaml.safe_load(text)
    direct = uniform_density(0.01, zenith=(0, 60), azimuth=(310, 20))
    np.testing.assert_array_equal(read_sky(entries["sky"]), direct)
    texts = {
        "density": {"value": 0.01, "unit": "1 / deg2"},
        "zenith": ["0 rad", "60 deg"],
        "azimuth": [-50 * u.deg, "20 deg"],
    }
    np.testing.assert_allclose(read_sky(texts), direct, atol=1e-9)
    arrays = {
        "scheme": "uniform",
        "density": 0.01 / u.deg**2,
        "zenith": [0, 60] * u.deg,
        "azimuth": [310, 20],
        "unit": "deg",
    }
    np.testing.assert_array_equal(read_sky(arrays), direct)
    assert entries["sky"]["zenith"] == [0, 60]
    delta = read_sky(entries["delta"], site="South")
    np.testing.assert_array_equal(delta, cos_zenith_sin_delta(4, 6, site="South", zenith=(20, 60)))


GOOD = {"density": "0.01 / deg2", "zenith": [0, 60], "units": "deg"}
DELTA = {"scheme": "cos_zenith_sin_delta", "binning": [4, 6], "zenith": [0, 60], "units": "deg"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("0.01 / deg2", "sky: must be a mapping"),
        ({}, "sky: zenith is missing"),
        ({"zenith": ["0 deg", "60 deg"]}, "sky: density is missing for the scheme uniform"),
        (GOOD | {"density": 0.01}, "sky: density: must be as in"),
        (GOOD | {"density": "0.01 / deg"}, "sky: density: must be as in"),
        (GOOD | {"density": "-1 / deg2"}, "density must lie in"),
        (GOOD | {"density": "nan / deg2"}, "sky: density: must be as in"),
        (GOOD | {"density": "1e-7 / deg2"}, "density must give a point in the window, got .* expected"),
        (GOOD | {"density": "300 / deg2"}, "density must give at most 1000000 points"),
        (GOOD | {"density": "3000 / deg2"}, r"density must lie in \(0, 400\] points per deg2, got 3000"),
        (GOOD | {"units": None}, "sky: zenith: needs a unit"),
        (GOOD | {"units": "m"}, "sky: zenith: must have a unit convertible to deg"),
        (GOOD | {"zenith": [60, 0]}, "zenith must be a window .* got 60 to 0"),
        (GOOD | {"zenith": [0, 90]}, "zenith must be a window .* got 0 to 90"),
        (GOOD | {"zenith": [20, 20]}, "zenith must be a window"),
        (GOOD | {"zenith": 20}, "sky: zenith must be two numbers in deg, got 20"),
        (GOOD | {"zenith": [0, 30, 60]}, "sky: zenith must be two numbers in deg"),
        (GOOD | {"zenith": [0, True]}, "sky: zenith"),
        (GOOD | {"azimuth": [20, 20]}, "azimuth must be a window .* got 20 to 20"),
        (GOOD | {"azimuth": [0, 400]}, "azimuth must be a window .* got 0 to 400"),
        (GOOD | {"binning": [4, 6]}, "sky: binning does not go with the scheme uniform"),
        (GOOD | {"colour": 1}, "sky: unknown key colour"),
        (DELTA | {"scheme": ["x"]}, "sky: scheme: Input should be 'uniform' or 'cos_zenith_sin_delta'"),
        (DELTA | {"density": "1 / deg2"}, "sky: density does not go with"),
        (DELTA | {"binning": 4}, "sky: binning: Input should be a valid tuple, got 4"),
        (DELTA | {"binning": [4, 1]}, "n_delta must be at least 2"),
        (DELTA | {"binning": [1, 4]}, "n_zenith must be 1 for one zenith angle and more for a range"),
        (DELTA | {"binning": [4.5, 4]}, "sky: binning.0: Input should be a valid integer"),
        (DELTA | {"binning": [4, 5000]}, "n_delta must be a whole number from 1 to 1000, got 5000"),
        (DELTA | {"zenith": [50, 60], "azimuth": [10, 10.5]}, "azimuth must hold a point of the grid"),
    ],
)
def test_entries_that_are_none(entry, message):
    with pytest.raises(ProdconfError, match=message) as caught:
        read_sky(entry, site="North")
    assert "\n" not in str(caught.value)


def test_the_field_must_be_known():
    with pytest.raises(ProdconfError, match="observing_location must be given"):
        read_sky(DELTA)
    with pytest.raises(ProdconfError, match="must have inclination and declination"):
        read_sky(DELTA, site="28.76 deg, -17.89 deg, 2200 m")
