"""Limits from a table: rows exact, closed forms, one by one, scipy, real tables, symmetries, verdicts, bad requests."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, vstack
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from prodconf.core.errors import ArgumentError, ProdconfError, ProdconfWarning
from prodconf.limits.lookup import LookupRequest, array_labels, look_up_limits, select_rows
from prodconf.limits.rounding import Rounding, parse_rounding, round_limits
from prodconf.limits.table import LIMIT_UNITS, LIMITS, SEVERITY, read_limits

E, R, CONE = LIMITS
ZENITH, AZIMUTH, NSB = (20.0, 40.0, 52.0, 60.0), (0.0, 180.0), (0.24, 0.84)


def made(zenith=ZENITH, azimuth=AZIMUTH, nsb=NSB, *, seed=None, labels=None):
    """Rows that follow powers of sec z and NSB, or are random."""
    z, a, b = (axis.ravel() for axis in np.meshgrid(zenith, azimuth, nsb, indexing="ij"))
    sec, n = 1 / np.cos(np.deg2rad(z)), z.size
    energy, radius, cone = 0.02 * sec**2.5 * b**0.3, 1200 + 900 * np.log(sec) + 100 * np.log(b), np.full(n, 7.0)
    if seed is not None:
        rng = np.random.default_rng(seed)
        energy, radius, cone = rng.uniform(0.01, 0.1, n), rng.uniform(900, 2500, n), rng.uniform(4, 9, n)
    return QTable(
        {
            "primary_particle": ["gamma"] * n,
            "array_name": ["alpha"] * n,
            "zenith": z * u.deg,
            "azimuth": a * u.deg,
            "nsb_level": b if labels is None else np.full(n, np.nan),
            "nsb_label": [""] * n if labels is None else [labels[NSB.index(level)] for level in b],
            "lower_energy_limit": energy * u.TeV,
            "upper_radius_limit": radius * u.m,
            "viewcone_radius": cone * u.deg,
            "br_energy_min": np.full(n, 0.003) * u.TeV,
            "br_energy_max": 330 * sec * u.TeV,
            "br_core_scatter_max": np.full(n, 3000.0) * u.m,
            "br_viewcone_max": np.full(n, 10.0) * u.deg,
        }
    )


def with_intervals(table, seed=5):
    rng, result = np.random.default_rng(seed), table.copy()
    for limit, unit in LIMIT_UNITS.items():
        value = table[limit].to_value(unit)
        result[f"{limit}_low"] = value * rng.uniform(0.9, 0.99, value.size) * u.Unit(unit)
        result[f"{limit}_high"] = value * rng.uniform(1.01, 1.1, value.size) * u.Unit(unit)
        result[f"{limit}_verdict"] = rng.choice(["ok", "sample_limited", "truncated", ""], value.size)
    return result


def test_what_all_rows_agree_on_stays_to_the_bit():
    """One energy, and one inner edge of a cone, are those of the pilots at every place between them."""
    table = made(azimuth=(0.0,), nsb=(0.24,))
    for name in ("lower_energy_limit", "br_energy_min", "br_energy_max"):
        table[name] = np.full(len(table), 0.3) * u.TeV
    table["br_viewcone_min"] = np.full(len(table), 0.7) * u.deg
    found = look_up_limits(table, np.linspace(20, 60, 97), 0.0)
    assert set(found.limits[E].value) == set(found.upper_energy) == {0.3}
    assert set(found.viewcone_min) == {0.7}
    assert set(found.limits[E].words) == {"unstated"}
    assert set(found.core_scatter_min) == {0.0}


def wish(*, outside="refuse", rounding=None, **names):
    return LookupRequest(outside=outside, rounding=parse_rounding(rounding), **names)


def point_limits(table, zenith, azimuth, nsb=None, **how):
    """Places given one by one."""
    return look_up_limits(table, zenith, azimuth, nsb, wish(**how))


def lattice_limits(table, zenith, azimuth, nsb=None, **how):
    """All combinations of three axes, shape (nz, na, nn)."""
    zenith, azimuth = (np.atleast_1d(axis) for axis in (zenith, azimuth))
    if zenith.ndim > 1:
        return point_limits(table, zenith, azimuth, nsb, **how)
    return point_limits(table, zenith.reshape(-1, 1, 1), azimuth.reshape(-1, 1), nsb, **how)


def assert_like_single_look_ups(found, table, zenith, azimuth, nsb, **how):
    """Compare flattened results with look-ups of one place each."""
    for place in np.linspace(0, zenith.size - 1, min(zenith.size, 12)).astype(int):
        single = point_limits(table, zenith[place], azimuth[place], nsb[place], **how)
        for limit in LIMITS:
            ours, theirs = found.limits[limit], single.limits[limit]
            assert theirs.value.shape == ()
            np.testing.assert_allclose(ours.value.ravel()[place], theirs.value, rtol=1e-12)
            np.testing.assert_allclose(ours.sigma.ravel()[place], theirs.sigma, rtol=1e-9, atol=1e-13)
            assert ours.words.ravel()[place] == theirs.words
        np.testing.assert_allclose(found.upper_energy.ravel()[place], single.upper_energy, rtol=1e-12)
        assert found.outside.ravel()[place] == single.outside


# ---------------------------------------------------------------- truth


def test_closed_form_between_rows():
    z, a, b = np.linspace(20, 60, 17), np.array([0.0, 33.0, 359.0]), np.geomspace(0.24, 0.84, 5)
    found = lattice_limits(made(), z, a, b)
    sec, level = (1 / np.cos(np.deg2rad(z)))[:, None, None], b[None, None, :]
    assert found.limits[E].value.shape == (17, 3, 5)
    shown = np.broadcast_arrays(0.02 * sec**2.5 * level**0.3, found.limits[E].value)[0]
    np.testing.assert_allclose(found.limits[E].value, shown, rtol=1e-12)
    radius = np.broadcast_arrays(1200 + 900 * np.log(sec) + 100 * np.log(level), found.limits[R].value)[0]
    np.testing.assert_allclose(found.limits[R].value, radius, rtol=1e-12)
    np.testing.assert_allclose(found.upper_energy, np.broadcast_to(330 * sec, (17, 3, 5)), rtol=1e-12)
    assert np.all(found.limits[CONE].value == 7)
    np.testing.assert_allclose(found.limits[R].sigma, 0, atol=1e-6)
    assert not found.outside.any()
    assert (found.array_name, found.primary_particle, found.n_rows) == ("alpha", "gamma", 16)


def test_agrees_with_scipy_in_the_same_coordinates():
    table = made(seed=1)
    coordinate = lambda z: -np.log(np.cos(np.deg2rad(z)))  # noqa: E731
    grid = coordinate(np.array(ZENITH)), [0.0, 1.0], np.log(NSB)
    z, a, b = np.linspace(20, 60, 13), np.linspace(0, 350, 8), np.linspace(0.24, 0.84, 6)
    mesh = np.meshgrid(coordinate(z), (1 - np.cos(np.deg2rad(a))) / 2, np.log(b), indexing="ij")
    ask, found = np.stack([axis.ravel() for axis in mesh], axis=1), lattice_limits(table, z, a, b)
    radius = RegularGridInterpolator(grid, table["upper_radius_limit"].value.reshape(4, 2, 2))(ask)
    energy = np.exp(RegularGridInterpolator(grid, np.log(table["lower_energy_limit"].value).reshape(4, 2, 2))(ask))
    np.testing.assert_allclose(found.limits[R].value.ravel(), radius, rtol=1e-12)
    np.testing.assert_allclose(found.limits[E].value.ravel(), energy, rtol=1e-12)


@pytest.mark.parametrize("holes", [0, 1])
def test_lattice_points_and_single_look_ups_agree(holes):
    table = with_intervals(made(seed=2))[holes:]
    z = np.array([20.0, 31, 52, 60]) if not holes else np.array([41.0, 52, 60])  # next to a hole is outside
    a, b = np.array([0.0, 77, 180, 301]), np.array([0.24, 0.5, 0.84])
    flat = [axis.ravel() for axis in np.meshgrid(z, a, b, indexing="ij")]
    assert_like_single_look_ups(lattice_limits(table, z, a, b), table, *flat)
    assert_like_single_look_ups(point_limits(table, *flat), table, *flat)


@pytest.mark.parametrize("generation", ["v0.16", "v0.19", "v0.32", "v0.33"])
def test_rows_of_real_tables_come_back_to_the_bit(shared_data, generation):
    table = read_limits(shared_data / "limits" / f"corsika_limits_{generation}.ecsv")
    for name in sorted(set(array_labels(table))):
        rows = select_rows(table, array_name=str(name), primary_particle="gamma")
        words = not np.isfinite(rows["nsb_level"]).any()
        sky = np.array(rows["nsb_label"] if words else rows["nsb_level"])
        axes = [np.unique(column, return_inverse=True) for column in (rows["zenith"].value, rows["azimuth"].value, sky)]
        found = lattice_limits(table, *(axis for axis, _ in axes), array_name=str(name), primary_particle="gamma")
        at = tuple(place for _, place in axes)
        points = point_limits(table, rows["zenith"], rows["azimuth"], sky, array_name=str(name))
        for limit in LIMITS:
            own = rows[limit].to_value(LIMIT_UNITS[limit])
            for ours in (found.limits[limit].value[at], points.limits[limit].value):
                assert ours.tolist() == own.tolist()
            assert not found.limits[limit].sigma.any()
        assert not found.outside.any()


def test_leave_one_out_on_the_real_tables(shared_data):
    """Radius at 40 and 52 deg from the other zeniths, all series of all tables (relative rms in per cent)."""
    errors = {40.0: [], 52.0: []}
    straight = {40.0: [], 52.0: []}
    for generation in ("v0.16", "v0.32", "v0.33"):
        table = read_limits(shared_data / "limits" / f"corsika_limits_{generation}.ecsv")
        zenith = table["zenith"].value
        for name in sorted(set(array_labels(table))):
            for left_out in errors:
                rows = select_rows(table[zenith == left_out], array_name=str(name), primary_particle="gamma")
                sky = rows["nsb_label"] if generation == "v0.16" else rows["nsb_level"]
                where = (rows["zenith"], rows["azimuth"], np.array(sky))
                found = point_limits(table[zenith != left_out], *where, array_name=str(name), primary_particle="gamma")
                errors[left_out] += (found.limits[R].value / rows["upper_radius_limit"].value - 1).tolist()
                low, high = max(z for z in ZENITH if z < left_out), min(z for z in ZENITH if z > left_out)
                share = (left_out - low) / (high - low)
                ends = [
                    select_rows(table[zenith == z], array_name=str(name), primary_particle="gamma") for z in (low, high)
                ]
                line = (1 - share) * ends[0]["upper_radius_limit"].value + share * ends[1]["upper_radius_limit"].value
                straight[left_out] += (line / rows["upper_radius_limit"].value - 1).tolist()
    rms = {z: 100 * np.sqrt(np.mean(np.square(values))) for z, values in errors.items()}
    assert len(errors[40.0]) == 48
    assert rms[40.0] < 2.4
    assert rms[52.0] < 2.0
    lines = {z: 100 * np.sqrt(np.mean(np.square(values))) for z, values in straight.items()}
    assert lines[40.0] > 3 * rms[40.0]
    assert lines[52.0] > 1.7 * rms[52.0]


def test_leave_one_out_of_coarse_energies(shared_data):
    """Relative rms in per cent of the lower energy at 40 and 52 deg (v0.33), and that of a straight line."""
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv")
    zenith, energy = table["zenith"].value, table["lower_energy_limit"].value
    found = []
    for left_out, low, high in ((40.0, 20.0, 52.0), (52.0, 40.0, 60.0)):
        errors, lines = [], []
        for name in sorted(set(table["array_name"])):
            rows = table[(zenith == left_out) & (table["array_name"] == name)]
            where = rows["zenith"], rows["azimuth"], np.array(rows["nsb_level"])
            ours = point_limits(table[zenith != left_out], *where, array_name=str(name)).limits[E].value
            errors += (ours / rows["lower_energy_limit"].value - 1).tolist()
            ends = [energy[(zenith == z) & (table["array_name"] == name)] for z in (low, high)]
            share = (left_out - low) / (high - low)
            lines += (((1 - share) * ends[0] + share * ends[1]) / rows["lower_energy_limit"].value - 1).tolist()
        found.append([100 * np.sqrt(np.mean(np.square(each))) for each in (errors, lines)])
    assert found == [
        [pytest.approx(21.05, abs=0.1), pytest.approx(43.0, abs=0.1)],
        [pytest.approx(19.2, abs=0.1), pytest.approx(46.4, abs=0.1)],
    ]


def test_stated_uncertainty_covers_what_is_left_out(shared_data):
    """The error that is added between rows is the rms by which rows miss each other (here: 40 and 52 deg)."""
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv")
    found = lattice_limits(table, [30.0, 47.0], 90.0, 0.5, array_name="CTAO-North-Alpha").limits[R]
    relative = found.sigma / found.value
    assert np.ptp(relative) < 1e-12
    assert 0.01 < relative[0, 0, 0] < 0.05


# ---------------------------------------------------------------- symmetries


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(20, 60), min_size=1, max_size=4),
    st.lists(st.floats(-180, 540), min_size=1, max_size=4),
    st.lists(st.floats(0.24, 0.84), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_order_turns_and_units_change_nothing(zenith, azimuth, nsb, random):
    table = with_intervals(made(azimuth=(0.0, 120.0, 240.0), seed=3))
    found = lattice_limits(table, zenith, azimuth, nsb)
    rows = list(range(len(table)))
    random.shuffle(rows)
    converted = table[rows]
    converted["lower_energy_limit"] = converted["lower_energy_limit"].to(u.GeV)
    converted["upper_radius_limit"] = converted["upper_radius_limit"].to(u.km)
    converted["zenith"] = converted["zenith"].to(u.rad)
    again = lattice_limits(
        converted, np.deg2rad(zenith[::-1]) * u.rad, (np.array(azimuth) + 360) * u.deg, np.array(nsb[::-1])
    )
    for limit in LIMITS:
        one, other = found.limits[limit], again.limits[limit]
        np.testing.assert_allclose(other.value[::-1, :, ::-1], one.value, rtol=1e-9)
        np.testing.assert_allclose(other.sigma[::-1, :, ::-1], one.sigma, rtol=1e-4, atol=2e-6 * one.value.max())
    for limit in LIMITS:
        low, high = table[limit].value.min(), table[limit].value.max()
        value = found.limits[limit].value
        assert np.all((value >= low * (1 - 1e-12)) & (value <= high * (1 + 1e-12)))


def test_rows_of_a_table_with_a_hole_may_stand_in_any_order():
    table = made(seed=4)[1:]
    z, a, b = np.linspace(40, 60, 9), np.linspace(0, 330, 12), np.array([0.24, 0.5, 0.84])
    found = lattice_limits(table, z, a, b)
    for seed in range(4):
        shuffled = table[np.random.default_rng(seed).permutation(len(table))]
        again = lattice_limits(shuffled, z, a, b)
        np.testing.assert_allclose(again.limits[R].value, found.limits[R].value, rtol=1e-9)
        assert np.array_equal(again.limits[CONE].verdict, found.limits[CONE].verdict)
    assert any("15 of 16 combinations" in note for note in found.notes)


def test_a_hole_is_bridged_but_not_left():
    """A plane in the coordinates stays one, beyond the corner that is missing there is no answer."""
    table = made()[1:]
    found = lattice_limits(table, [41.0, 55.0], 0.0, [0.3, 0.8])
    sec = 1 / np.cos(np.deg2rad([41.0, 55.0]))[:, None]
    expected = 1200 + 900 * np.log(sec) + 100 * np.log([[0.3, 0.8]])
    np.testing.assert_allclose(found.limits[R].value[:, 0], expected, rtol=1e-9)
    place = r"zenith 20 deg, azimuth 0 deg, nsb_level 0\.24 is outside the table \(.*; 15 of 16 combinations\)"
    with pytest.raises(ProdconfError, match=place):
        lattice_limits(table, 20.0, 0.0, 0.24)
    near = lattice_limits(table, 20.0, [0.0, 180.0], 0.24, outside="nearest")
    assert near.outside.ravel().tolist() == [True, False]


# ---------------------------------------------------------------- verdicts, duplicates, skies


def test_verdicts_are_the_worst_of_the_rows_with_weight():
    table = made(azimuth=(0.0,), nsb=(0.24,))
    table["viewcone_radius"] = [7.0, 7, 7, 10] * u.deg  # the last is at the simulated edge
    table["upper_radius_limit_verdict"] = ["ok", "sample_limited", "ok", "ok"]
    found = lattice_limits(table, [20, 30, 40, 45, 52, 56, 60], 0.0)
    assert found.limits[CONE].words.ravel().tolist() == ["unstated"] * 5 + ["truncated"] * 2
    expected = ["ok", "sample_limited", "sample_limited", "sample_limited", "ok", "ok", "ok"]
    assert found.limits[R].words.ravel().tolist() == expected
    assert found.limits[R].verdict.dtype == np.int8


def test_undetermined_rows_spread_no_further_than_they_have_weight():
    table = made(seed=6)
    for limit in ("upper_radius_limit", "lower_energy_limit"):
        values = table[limit].value.copy()
        values[0] = np.nan  # zenith 20, azimuth 0, nsb 0.24
        table[limit] = values * table[limit].unit
    z, a, b = np.array([20.0, 30, 40, 50]), np.array([0.0, 90, 180]), np.array([0.24, 0.5, 0.84])
    found = lattice_limits(table, z, a, b)
    lost = np.zeros((4, 3, 3), dtype=bool)
    lost[:2, :2, :2] = True
    for limit in (found.limits[R], found.limits[E]):
        assert np.array_equal(np.isnan(limit.value), lost)
        assert np.array_equal(np.isnan(limit.sigma), lost)
        assert np.array_equal(limit.verdict == SEVERITY.index("undetermined"), lost)
    assert np.isfinite(found.limits[CONE].value).all()
    flat = [axis.ravel() for axis in np.meshgrid(z, a, b, indexing="ij")]
    assert_like_single_look_ups(found, table, *flat)


def test_rows_that_agree_are_one_and_those_that_do_not_are_refused():
    table = made(seed=7)
    found = lattice_limits(vstack([table, table[3:9]]), 33.0, [10.0, 200.0], [0.3, 0.7])
    once = lattice_limits(table, 33.0, [10.0, 200.0], [0.3, 0.7])
    assert np.array_equal(found.limits[R].value, once.limits[R].value)
    assert found.n_rows == 16
    assert "6 rows of the table repeat others, and count once" in found.notes
    other = table[3:4].copy()
    other["upper_radius_limit"] = [1.2345] * u.km
    with pytest.raises(ArgumentError, match=r"rows at one place must agree, got upper_radius_limit .* and 1234\.5 m"):
        point_limits(vstack([table, other]), 33.0, 0.0, 0.3)


def test_words_of_the_sky():
    table = made(seed=8, labels=("dark", "moon"))
    both = lattice_limits(table, [20, 30], [0, 90], ["moon", "dark"])
    for i, word in enumerate(("moon", "dark")):
        one = lattice_limits(table, [20, 30], [0, 90], word)
        assert one.limits[R].value.shape == (2, 2, 1)
        assert np.array_equal(both.limits[R].value[:, :, i], one.limits[R].value[:, :, 0])
        assert np.array_equal(both.limits[E].verdict[:, :, i], one.limits[E].verdict[:, :, 0])
    assert both.n_rows == 16
    points = point_limits(table, [20, 30, 20], [0, 90, 90], np.array(["dark", "moon", "moon"]))
    expected = [both.limits[R].value[place] for place in ((0, 0, 1), (1, 1, 0), (0, 1, 0))]
    assert points.limits[R].value.tolist() == pytest.approx(expected, rel=1e-14)
    with pytest.raises(ProdconfError, match=r"zenith 65 deg, azimuth 0 deg is outside the table \(zenith 20, 40"):
        lattice_limits(table, 65, 0, "dark")
    with pytest.raises(ProdconfError, match=r"nsb_level must be one of 'dark', 'moon', the words of the table .*, got"):
        lattice_limits(table, 30, 0, 0.24)
    with pytest.raises(ProdconfError, match="nsb_level must be one of 'dark', 'moon', got 'half'"):
        lattice_limits(table, 30, 0, ["dark", "half"])


def test_levels_with_a_unit_are_compared_as_they_stand():
    found = lattice_limits(made(nsb=(4.0, 5.0)), 30, 0, [4, 5] * u.MHz)
    assert "nsb is given in MHz" in found.notes[0]
    plain = lattice_limits(made(nsb=(4.0, 5.0)), 30, 0, [4, 5])
    assert np.array_equal(found.limits[E].value, plain.limits[E].value)
    assert not any("MHz" in note for note in plain.notes)


# ---------------------------------------------------------------- outside


def test_outside_is_refused_or_flagged():
    table = made(seed=9)
    with pytest.raises(ProdconfError, match=r"zenith 65 deg.*2 of 4 queries are; the policy .nearest. answers them"):
        lattice_limits(table, [60, 65], [0, 90], 0.5)
    near = lattice_limits(table, [60, 65, 10, 20], [0, 90], [0.24, 2.0], outside="nearest")
    edge = lattice_limits(table, [60, 60, 20, 20], [0, 90], [0.24, 0.84])
    assert np.array_equal(near.limits[R].value, edge.limits[R].value)
    assert near.outside[:, 0].tolist() == [[False, True], [True, True], [True, True], [False, True]]
    assert "12 of 16 places are outside" in near.notes[-1]
    assert not near.outside.flags.writeable or near.outside.dtype == np.bool_
    flat = [axis.ravel() for axis in np.meshgrid([60.0, 65, 10, 20], [0.0, 90], [0.24, 2.0], indexing="ij")]
    points = point_limits(table, *flat, outside="nearest")
    assert_like_single_look_ups(points, table, *flat, outside="nearest")
    table["upper_radius_limit_verdict"] = ["ok"] * len(table)
    flagged = lattice_limits(table, [60, 65], 0, 0.24, outside="nearest").limits[R]
    assert flagged.words.ravel().tolist() == ["ok", "unstated"]


def test_one_azimuth_says_nothing_about_others():
    table = made(azimuth=(0.0,))
    assert lattice_limits(table, 30, [0, 360], 0.5).limits[R].value.shape == (1, 2, 1)
    with pytest.raises(ProdconfError, match=r"azimuth 90 deg.*is outside the table"):
        lattice_limits(table, 30, [0, 90], 0.5)
    near = lattice_limits(table, 30, [0, 90], 0.5, outside="nearest")
    assert near.outside.ravel().tolist() == [False, True]
    with pytest.raises(ProdconfError, match=r"azimuth 200 deg.*is outside"):  # a gap of 300 deg, with a hole elsewhere
        lattice_limits(made(azimuth=(0.0, 60.0))[:-1], 40, 200, 0.5)


def test_a_table_with_one_zenith():
    table = made(zenith=(20.0,))
    assert lattice_limits(table, 20.0, [0, 90], 0.5).n_rows == 4
    with pytest.raises(ProdconfError, match=r"zenith 30 deg.*zenith 20 deg"):
        lattice_limits(table, 30.0, 0.0, 0.5)
    with pytest.raises(ProdconfError, match="pilots must span their axes"):
        lattice_limits(made(azimuth=(0.0,))[[0, 7]], 30.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"zenith": []}, "must hold at least one place"),
        ({"zenith": 90}, "zenith must lie in"),
        ({"zenith": 3 * u.m}, "zenith must have a unit convertible to deg, got m"),
        ({"azimuth": np.nan}, "azimuth must be finite"),
        ({"nsb": 0}, "nsb_level must be positive"),
        ({"nsb": [0.24, "dark"]}, "nsb_level must be numbers or words"),
        ({"nsb": "dark"}, "the table knows no words"),
        ({"nsb": None}, "nsb_level must be given, for the table has 2"),
        ({"outside": "linear"}, "outside must be"),
        ({"rounding": 0.5}, "rounding must be a number of digits"),
        ({"rounding": "5 s"}, "rounding must be"),
        ({"array_name": 3}, "array_name must be a text"),
        ({"array_name": "beta"}, "array_name must be one of 'alpha', got 'beta'"),
        ({"primary_particle": "proton"}, "primary_particle must be one of 'gamma'"),
    ],
)
@pytest.mark.parametrize("ask", [lattice_limits, point_limits])
@pytest.mark.parametrize("hole", [0, 1])
def test_bad_requests(request_, message, ask, hole):
    arguments = {"zenith": 41.0, "azimuth": 0.0, "nsb": 0.3} | request_
    with pytest.raises(ProdconfError, match=message):
        ask(made()[hole:], **arguments)


# ---------------------------------------------------------------- rounding


def test_rounding_at_rows_is_that_of_the_table():
    table = made(seed=10)
    for rounding in ("1 GeV, 25 m, 0.25 deg", "2", Rounding({"viewcone_radius": 6.0})):
        rounded = round_limits(table, parse_rounding(rounding))
        found = lattice_limits(table, ZENITH, AZIMUTH, NSB, rounding=rounding)
        for limit in LIMITS:
            assert found.limits[limit].value.ravel().tolist() == rounded[limit].value.tolist()


def test_rounding_is_outward_everywhere():
    plain, rounded = (
        lattice_limits(made(seed=11), np.linspace(20, 60, 30), [0, 50], 0.5, rounding=how)
        for how in (None, "5 GeV, 100 m, 1 deg")
    )
    assert np.all(rounded.limits[E].value <= plain.limits[E].value)
    assert np.all(rounded.limits[R].value >= plain.limits[R].value)
    assert np.all(rounded.limits[CONE].value >= plain.limits[CONE].value)
    assert np.all(rounded.limits[R].value - plain.limits[R].value < 100)
    assert np.array_equal(rounded.limits[R].sigma, plain.limits[R].sigma)
    table = made()
    table["br_energy_min"] = np.full(16, np.nan) * u.TeV
    with pytest.warns(ProdconfWarning, match=r"2 of 2 energy limits are below the step"):
        low = lattice_limits(table, [20, 30], 0, 0.24, rounding="1 TeV")
    assert np.all(low.limits[E].value > 0)


# ---------------------------------------------------------------- arrays, statements


def powers(zenith=(20.0, 40.0, 52.0, 60.0), azimuth=(0.0, 180.0), nsb=(0.24,), name="all", particle="gamma"):
    """Limits that are powers of sec z and NSB (energy), or linear in their logarithms (radius)."""
    z, a, b = (grid.ravel() for grid in np.meshgrid(zenith, azimuth, nsb, indexing="ij"))
    sec = 1 / np.cos(np.deg2rad(z))
    return QTable(
        {
            "primary_particle": np.full(z.size, particle),
            "array_name": np.full(z.size, name),
            "zenith": z * u.deg,
            "azimuth": a * u.deg,
            "nsb_level": b,
            "nsb_label": np.full(z.size, ""),
            "lower_energy_limit": 20 * sec**2.5 * (b / 0.24) ** 0.3 * u.GeV,
            "upper_radius_limit": (1.2 + 0.9 * np.log(sec) + 0.1 * np.log(b / 0.24)) * u.km,
            "viewcone_radius": np.full(z.size, 7.0) * u.deg,
            "br_energy_max": 330 * sec * u.TeV,
        }
    )


def test_words_and_telescope_lists_of_the_oldest_layout(shared_data):
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.16.ecsv")
    assert set(array_labels(table)) == {"[]", "[1]", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]"}
    found = point_limits(table, 40, 180, nsb="moon", array_name="[ 1 ]", primary_particle="gamma")
    assert found.limits[E].value == pytest.approx(0.006109977, rel=1e-7)
    assert found.limits[R].value == 2197.8192341644162
    assert found.array_name == "[1]"
    assert found.primary_particle == ""
    assert np.isnan(found.upper_energy).all()
    with pytest.raises(
        ProdconfError, match=r"nsb_level must be one of 'dark', 'moon', the words of the table .*, got 1"
    ):
        point_limits(table, 40, 180, nsb=1.0, array_name="[1]")
    with pytest.raises(ProdconfError, match="nsb_level must be given, for the table has 2: 'dark', 'moon'"):
        point_limits(table, 40, 180, array_name="[1]")


def test_second_implementation_on_a_real_table(shared_data):
    """Three nested one-dimensional interpolations, written out."""
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv")
    rows = table[table["array_name"] == "CTAO-North-Alpha"]
    x = np.log(1 / np.cos(np.deg2rad([20.0, 40, 52, 60])))
    asked_z, asked_b = np.log(1 / np.cos(np.deg2rad(47.0))), np.log(0.5)
    per_sky = []
    for nsb in (0.24, 0.84):
        sides = []
        for azimuth in (0.0, 180.0):
            chosen = rows[(rows["nsb_level"] == nsb) & (rows["azimuth"].value == azimuth)]
            chosen.sort("zenith")
            sides.append(np.interp(asked_z, x, chosen["upper_radius_limit"].value))
        per_sky.append(np.mean(sides))  # azimuth 90 lies half way
    expected = np.interp(asked_b, np.log([0.24, 0.84]), per_sky)
    found = point_limits(table, 47, 90, nsb=0.5, array_name="CTAO-North-Alpha")
    assert found.limits[R].value == pytest.approx(expected, rel=1e-12)
    assert found.limits[R].sigma > 0


def test_real_cones_at_the_simulated_edge_are_truncated(shared_data):
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.32.ecsv")
    found = point_limits(table, [30.0], [0.0], array_name="LSTN-01")
    assert found.limits[CONE].value == [10]
    assert found.limits[CONE].words == ["truncated"]
    assert found.limits[R].words == ["unstated"]


def test_stated_verdicts_and_guaranteed_limits_win():
    table = powers(azimuth=(0.0,))
    table["upper_radius_limit_verdict"] = ["ok", "ok", "sample_limited", ""]
    table["upper_radius_limit_guaranteed"] = [1500.0, np.nan, 1900.0, 2000.0] * u.m
    table["upper_radius_limit_low"] = [1300.0, np.nan, 1800.0, np.nan] * u.m
    table["upper_radius_limit_high"] = [1600.0, np.nan, np.inf, np.nan] * u.m
    found = point_limits(table, [20, 30, 40, 45, 60], 0.0).limits[R]
    assert list(found.words) == ["ok", "ok", "ok", "sample_limited", "unstated"]
    assert found.value[0] == 1500
    assert found.value[2] == table["upper_radius_limit"][1].to_value("m")
    assert found.sigma[0] == 75


def test_undetermined_rows_spread_and_are_named():
    table = powers(azimuth=(0.0,))
    radius = table["upper_radius_limit"].to_value("m")
    radius[2] = np.nan
    table["upper_radius_limit"] = radius * u.m
    found = point_limits(table, [20, 30, 45, 55], 0.0)
    assert np.isnan(found.limits[R].value).tolist() == [False, False, True, True]
    assert list(found.limits[R].words) == ["unstated", "unstated", "undetermined", "undetermined"]
    assert np.isfinite(found.limits[E].value).all()


def test_arrays_and_particles_are_never_mixed():
    table = vstack([powers(), powers(name="small"), powers(particle="proton")])
    assert len(select_rows(table, array_name="small", primary_particle="gamma")) == 8
    assert len(select_rows(table, primary_particle="Proton")) == 8
    with pytest.raises(ProdconfError, match="primary_particle must be given, for the table has 2: 'gamma', 'proton'"):
        select_rows(table, array_name="all")
    with pytest.raises(ProdconfError, match="array_name must be given, for the table has 2: 'all', 'small'"):
        select_rows(table, primary_particle="gamma")
    with pytest.raises(ProdconfError, match="array_name must be one of 'all', got 'small'"):
        select_rows(table, array_name="small", primary_particle="proton")
    with pytest.raises(ProdconfError, match="array_name must be a text"):
        select_rows(table, array_name=3, primary_particle="gamma")


def test_two_rows_at_one_place_are_one_if_they_agree():
    found = point_limits(vstack([powers(), powers()]), 30, 0)
    assert found.limits[R].value == point_limits(powers(), 30, 0).limits[R].value
    assert found.n_rows == 8
    jitter = powers()
    jitter["zenith"] += 1e-5 * u.deg
    jitter["upper_radius_limit"] *= 1 + 1e-12
    assert point_limits(vstack([powers(), jitter]), 30, 0).n_rows == 8


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("upper_radius_limit", 1500 * u.m),
        ("lower_energy_limit", 21 * u.GeV),
        ("viewcone_radius", 7.1 * u.deg),
        ("br_energy_max", 300 * u.TeV),
        ("viewcone_radius_verdict", "ok"),
        ("upper_radius_limit_guaranteed", 1300 * u.m),
    ],
)
def test_two_rows_at_one_place_that_contradict_each_other_are_refused(column, value):
    one, other = powers(), powers()[2:3]
    if column.endswith("verdict"):
        one[column], other[column] = [""] * len(one), [value]
    elif column not in one.colnames:
        one[column], other[column] = np.full(len(one), np.nan) * value.unit, [value.value] * value.unit
    else:
        other[column][0] = value
    with pytest.raises(
        ArgumentError, match=rf"rows at one place must agree, got {column}.* zenith 40 deg, azimuth 0 deg"
    ):
        point_limits(vstack([one, other]), 30, 0)
