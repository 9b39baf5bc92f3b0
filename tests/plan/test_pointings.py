"""Grids against interpolation by hand between pilots whose limits are given."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from prodconf.core.errors import ProdconfError
from prodconf.formulas.loss_tails import TailLimit, Verdict
from prodconf.limits.pilots import PilotLimits, PilotPoint
from prodconf.limits.rows import limits_table
from prodconf.plan.configuration import Grid
from prodconf.plan.pointings import Places, grid_of_pilots, places_of_grid, plan_grid, plan_points, production_limits
from prodconf.precision.pilots import PilotStatistics, Requirement
from prodconf.precision.targets import Metric, Metrics

LIMITS = ("lower_energy_limit", "upper_radius_limit", "viewcone_radius")


def limit(guaranteed: float, verdict: str = "ok", width: float = 0.0) -> TailLimit:
    """Make a limit whose 95 % interval is `width` wide; the plain value is another one."""
    return TailLimit(
        value=guaranteed * 1.5,
        guaranteed=guaranteed,
        interval_low=guaranteed - width / 2,
        interval_high=guaranteed + width / 2,
        verdict=Verdict(verdict),
        n_tail=3,
        n_events=1000,
        n_effective=900.0,
        loss_fraction=1e-3,
        confidence=0.95,
        loss_bound=1e-3,
        reason="",
    )


def pilot(zenith, energy, radius, viewcone, *, azimuth=0.0, nsb=0.24, name="full", maximum=330.0) -> PilotLimits:
    point = PilotPoint(zenith, azimuth, nsb, 1, 2.0, (0.003, maximum), (0.0, 2000.0), (0.0, 10.0))
    return PilotLimits(point, name, energy, radius, viewcone, {}, 1000, 100_000)


def table(*pilots: PilotLimits):
    return limits_table(pilots, primary="gamma", loss_fraction=1e-3)


def grid(zenith, *, azimuth=("0 deg",), nsb=(0.24,), outside="refuse") -> Grid:
    return Grid(zenith=[f"{z} deg" for z in zenith], azimuth=list(azimuth), nsb_level=list(nsb), outside=outside)


def need(density: float, *, sigma=0.0, bound=np.inf, status="ok") -> Requirement:
    return Requirement(density, sigma, bound, 0.0, 0, (1.0, 2.0), 400.0, status, (1.0, 2.0), (), np.array([True]))


def evaluation(zenith: float, *, azimuth=0.0, nsb=0.24, index=2.0) -> PilotStatistics:
    one = np.ones(1)
    values = dict.fromkeys(
        (
            "n_simulated",
            "n_passed",
            "design_effect",
            "relative_uncertainty",
            "effective_area",
            "bias_uncertainty",
            "n_effective",
            "density",
            "density_bound",
            "density_floor",
        ),
        one,
    )
    return PilotStatistics(
        source="x",
        zenith=zenith,
        azimuth=azimuth,
        nsb_level=nsb,
        index=index,
        axis="true",
        targets=Metrics(uncertainty_effective_area=Metric(target=0.05, energy_min=1.0, energy_max=2.0)),
        thrown_area=np.pi * 2000.0**2,
        n_use=1,
        decided_by=np.array(["uncertainty_effective_area"]),
        energy_edges=np.array([1.0, 2.0]),
        requested=np.array([True]),
        status=np.array(["ok"]),
        alone={},
        **values,
    )


def share(zenith: float, low: float = 20.0, high: float = 60.0) -> float:
    """Weight of the upper pilot: linear in ln sec zenith."""
    coordinate = [-np.log(np.cos(np.radians(z))) for z in (low, zenith, high)]
    return (coordinate[1] - coordinate[0]) / (coordinate[2] - coordinate[0])


TWO = (
    pilot(20.0, limit(0.01, width=0.002), limit(1000.0, width=80.0), limit(6.0)),
    pilot(60.0, limit(0.09, width=0.036), limit(2000.0, width=40.0), limit(8.0), maximum=990.0),
)


def test_limits_between_two_pilots():
    w = share(40.0)
    (production, full) = plan_grid(table(*TWO), [], [], grid=grid([40]))
    for row in (production, full):
        assert row["lower_energy_limit"].to_value(u.GeV) == pytest.approx(1e3 * 0.01 ** (1 - w) * 0.09**w)
        assert row["upper_radius_limit"].to_value(u.m) == pytest.approx((1 - w) * 1000 + w * 2000)
        assert row["viewcone_radius"].to_value(u.deg) == pytest.approx((1 - w) * 6 + w * 8)
        assert row["upper_energy_limit"].to_value(u.TeV) == pytest.approx(330 ** (1 - w) * 990**w)
        # Two pilots leave none to test the interpolation with: what is left is a quarter of the 95 % widths.
        assert row["upper_radius_limit_sigma"].value == pytest.approx(np.hypot((1 - w) * 20, w * 10))
        relative = np.hypot((1 - w) * 0.05, w * 0.1)
        assert row["lower_energy_limit_sigma"].value == pytest.approx(relative * row["lower_energy_limit"].value)
    assert (production["array_name"], full["array_name"]) == ("production", "full")
    assert np.isnan(production["n_events"])
    assert production["n_events_status"] == "undetermined"


def test_a_pilots_own_pointing_returns_its_limits():
    result, _ = production_limits(table(*TWO), Places(np.array([20.0, 60.0]), np.array([0.0, 360.0]), np.full(2, 0.24)))
    np.testing.assert_allclose(result["upper_radius_limit"].value, [1000, 2000])
    np.testing.assert_allclose(result["lower_energy_limit"].value, [0.01, 0.09])
    np.testing.assert_allclose(result["upper_radius_limit_sigma"].value, [20, 10])


def test_three_pilots_tell_the_error_of_the_interpolation():
    """The middle one predicted by the others is off by a known amount, which is added in quadrature elsewhere."""
    pilots = [pilot(z, limit(0.01), limit(r), limit(6.0)) for z, r in ((20, 1000.0), (45, 1100.0), (60, 2000.0))]
    predicted = 1000 + share(45.0) * 1000
    error = predicted / 1100 - 1
    at_30, at_45 = plan_grid(table(*pilots), [], [], grid=grid([30, 45]))[:2]
    w = share(30.0, 20.0, 45.0)
    assert at_30["upper_radius_limit"].value == pytest.approx(1000 + w * 100)
    assert at_30["upper_radius_limit_sigma"].value == pytest.approx(error * (1000 + w * 100))
    assert at_45["upper_radius_limit_sigma"].value == pytest.approx(0, abs=1e-9)


def test_azimuth_is_a_circle():
    """Pilots at 0 and 180 deg; half way between, on either side, is the mean; 345 deg is nearer to 0."""
    pilots = [pilot(20.0, limit(0.01), limit(r), limit(6.0), azimuth=a) for a, r in ((0.0, 1000.0), (180.0, 1400.0))]
    rows = plan_grid(table(*pilots), [], [], grid=grid([20], azimuth=["90 deg", "270 deg", "345 deg", "15 deg"]))[:4]
    radius = rows["upper_radius_limit"].value
    np.testing.assert_allclose(radius[:2], 1200)
    expected = 1000 + 400 * (1 - np.cos(np.radians(15))) / 2
    np.testing.assert_allclose(radius[2:], expected)


def test_nsb_is_logarithmic():
    pilots = [pilot(20.0, limit(0.01), limit(r), limit(6.0), nsb=b) for b, r in ((0.24, 1000.0), (0.96, 1400.0))]
    rows = plan_grid(table(*pilots), [], [], grid=grid([20], nsb=[0.48]))
    assert rows["upper_radius_limit"].value[0] == pytest.approx(1200)


def test_pointings_are_all_combinations():
    made = places_of_grid(grid([20, 40], azimuth=["0 deg", "180 deg"], nsb=[0.24, 0.84]))
    found = list(zip(made.nsb_level, made.zenith, made.azimuth, strict=True))
    assert found == [(b, z, a) for b in (0.24, 0.84) for z in (20, 40) for a in (0, 180)]


# ---------------------------------------------------------------- envelope and verdicts


def test_the_production_satisfies_every_sub_array():
    small = (
        pilot(20.0, limit(0.005), limit(900.0), limit(7.0), name="small"),
        pilot(60.0, limit(0.2), limit(2100.0), limit(7.5), name="small"),
    )
    rows = plan_grid(table(TWO[0], small[0], TWO[1], small[1]), [], [], grid=grid([20, 60]))
    assert list(rows["array_name"]) == ["production"] * 2 + ["full"] * 2 + ["small"] * 2
    production = rows[:2]
    np.testing.assert_allclose(production["lower_energy_limit"].value, [0.005, 0.09])
    np.testing.assert_allclose(production["upper_radius_limit"].value, [1000, 2100])
    np.testing.assert_allclose(production["viewcone_radius"].value, [7, 8])
    assert list(production["lower_energy_limit_from"]) == ["small", "full"]
    assert list(production["upper_radius_limit_from"]) == ["full", "small"]
    assert list(production["viewcone_radius_from"]) == ["small", "full"]
    np.testing.assert_allclose(production["upper_radius_limit_sigma"].value, [20, 0])


def test_verdicts_travel():
    """Between two pilots the worse verdict holds; at a pilot its own; over sub-arrays the worst."""
    pilots = [
        pilot(20.0, limit(0.01), limit(1000.0, "truncated"), limit(6.0, "sample_limited")),
        pilot(60.0, limit(0.09, "sample_limited"), limit(2000.0), limit(8.0)),
        pilot(20.0, limit(0.02, "truncated"), limit(500.0), limit(5.0), name="other"),
        pilot(60.0, limit(0.09), limit(500.0), limit(5.0), name="other"),
    ]
    rows = plan_grid(table(*pilots), [], [], grid=grid([20, 40, 60]))
    full = rows[rows["array_name"] == "full"]
    assert list(full["lower_energy_limit_verdict"]) == ["ok", "sample_limited", "sample_limited"]
    assert list(full["upper_radius_limit_verdict"]) == ["truncated", "truncated", "ok"]
    assert list(full["viewcone_radius_verdict"]) == ["sample_limited", "sample_limited", "ok"]
    production = rows[rows["array_name"] == "production"]
    assert list(production["lower_energy_limit_verdict"]) == ["truncated", "truncated", "sample_limited"]
    assert list(production["upper_radius_limit_verdict"]) == ["truncated", "truncated", "ok"]


def test_an_absent_limit_is_undetermined_wherever_it_has_weight():
    pilots = (TWO[0], pilot(60.0, limit(0.09), None, limit(8.0)))
    rows = plan_grid(table(*pilots), [evaluation(20), evaluation(60)], [need(1e-3)] * 2, grid=grid([20, 40, 60]))[:3]
    assert list(rows["upper_radius_limit_verdict"]) == ["ok", "undetermined", "undetermined"]
    assert np.isfinite(rows["upper_radius_limit"].value).tolist() == [True, False, False]
    assert np.isfinite(rows["n_events"]).tolist() == [True, False, False]
    assert list(rows["n_events_status"]) == ["ok", "undetermined", "undetermined"]


def test_a_limit_that_one_sub_array_lacks_comes_from_the_other_but_stays_flagged():
    pilots = (TWO[0], pilot(20.0, limit(0.005), None, limit(7.0), name="old"))
    (row,) = plan_grid(table(*pilots), [], [], grid=grid([20]))[:1]
    assert row["upper_radius_limit"].value == pytest.approx(1000)
    assert row["upper_radius_limit_verdict"] == "undetermined"


def test_pilots_that_know_no_ranges_can_be_planned_for():
    """Files of v0.16 hold no thrown ranges; their NSB level is stated by hand."""
    point = PilotPoint(20.0, 0.0, 0.24)
    one = PilotLimits(point, "full", limit(0.01), None, limit(6.0), {}, 7, 100)
    limits = table(one)
    (row,) = plan_grid(limits, [], [], grid=grid_of_pilots(limits))[:1]
    assert row["lower_energy_limit"].value == pytest.approx(0.01)
    assert np.isnan(row["upper_energy_limit"].value)
    assert row["upper_radius_limit_verdict"] == "undetermined"


# ---------------------------------------------------------------- outside


def test_outside_is_refused():
    with pytest.raises(ProdconfError, match="zenith 65 deg"):
        plan_grid(table(*TWO), [], [], grid=grid([40, 65]))
    with pytest.raises(ProdconfError, match="azimuth 90 deg"):
        plan_grid(table(*TWO), [], [], grid=grid([40], azimuth=["90 deg"]))
    with pytest.raises(ProdconfError, match=r"nsb_level 0\.84"):
        plan_grid(table(*TWO), [], [], grid=grid([40], nsb=[0.84]))


def test_statistics_outside_are_refused_as_well():
    with pytest.raises(ProdconfError, match="outside"):
        plan_grid(table(*TWO), [evaluation(20.0)], [need(1.0)], grid=grid([40]))


def test_nearest_is_flagged():
    needs = [need(1e-3), need(2e-3)]
    pilots = [evaluation(20.0), evaluation(60.0)]
    rows = plan_grid(table(*TWO), pilots, needs, grid=grid([10, 40, 65], outside="nearest"))[:3]
    assert rows["outside_pilots"].tolist() == [True, False, True]
    np.testing.assert_allclose(rows["upper_radius_limit"].value[[0, 2]], [1000, 2000])
    inside = plan_grid(table(*TWO), pilots, needs, grid=grid([20, 60]))[:2]
    np.testing.assert_allclose(rows["n_events"][[0, 2]], inside["n_events"])
    only = plan_grid(table(*TWO), pilots[:1], needs[:1], grid=grid([20, 40], outside="nearest"))[:2]
    assert only["outside_pilots"].tolist() == [False, True]


# ---------------------------------------------------------------- number of events


def events(density, energy, maximum, radius, viewcone):
    """Density times area, solid angle and the integral of E^-2."""
    cone = 2 * np.pi * (1 - np.cos(np.radians(viewcone)))
    return density * np.pi * radius**2 * cone * (1 / energy - 1 / maximum)


def test_number_of_events_by_hand():
    w, needs = share(40.0), [need(1e-3, sigma=1e-4, bound=2e-3), need(8e-3, sigma=4e-4, bound=9e-3)]
    rows = plan_grid(table(*TWO), [evaluation(20.0), evaluation(60.0)], needs, grid=grid([20, 40]))
    at_20, at_40 = rows[:2]
    assert at_20["n_events"] == pytest.approx(events(1e-3, 0.01, 330, 1000, 6))
    assert at_20["n_events_sigma"] == pytest.approx(0.1 * at_20["n_events"])
    assert at_20["n_events_bound"] == pytest.approx(2 * at_20["n_events"])
    box = (0.01 ** (1 - w) * 0.09**w, 330 ** (1 - w) * 990**w, 1000 + w * 1000, 6 + w * 2)
    assert at_40["n_events"] == pytest.approx(events(1e-3 ** (1 - w) * 8e-3**w, *box))
    assert at_40["n_events_bound"] == pytest.approx(events(2e-3 ** (1 - w) * 9e-3**w, *box))
    assert at_40["n_events_sigma"] / at_40["n_events"] == pytest.approx(np.hypot((1 - w) * 0.1, w * 0.05))
    assert np.isnan(rows["n_events"][2:]).all()
    assert list(rows["n_events_status"]) == ["ok", "ok", "not_requested", "not_requested"]


def test_reused_showers_count_for_less_on_a_smaller_disc():
    """D' - 1 = (D - 1) A / A', by hand for a pilot of 2000 m planned to 1000 m, at most the uses."""
    needs = [need(1e-3, bound=2e-3)]
    for n_use, design, after in ((20, 1.5, 3.0), (10, 4.0, 10.0), (1, 1.0, 1.0)):
        one = replace(evaluation(20.0), n_use=n_use, design_effect=np.array([design]))
        row = plan_grid(table(TWO[0]), [one], needs, grid=grid([20]))[0]
        assert row["n_events"] == pytest.approx(events(1e-3, 0.01, 330, 1000, 6) * after / design)
        assert row["n_events_bound"] == pytest.approx(2 * row["n_events"])


def test_status_and_bound_of_the_number_travel():
    needs = [need(1e-3, bound=2e-3, status="sample_limited"), need(8e-3, bound=np.inf, status="ok")]
    pilots = [evaluation(20.0), evaluation(60.0)]
    rows = plan_grid(table(*TWO), pilots, needs, grid=grid([20, 40, 60]))[:3]
    assert list(rows["n_events_status"]) == ["sample_limited", "sample_limited", "ok"]
    assert np.isfinite(rows["n_events_bound"]).tolist() == [True, False, False]
    none = [need(np.nan, sigma=np.nan, status="undetermined"), needs[1]]
    rows = plan_grid(table(*TWO), pilots, none, grid=grid([20, 40, 60]))[:3]
    assert list(rows["n_events_status"]) == ["undetermined", "undetermined", "ok"]
    assert np.isnan(rows["n_events"]).tolist() == [True, True, False]


# ---------------------------------------------------------------- grid of the pilots


def test_without_a_grid_the_pilots_stand_for_it():
    found = grid_of_pilots(table(*TWO))
    assert (found.zenith, found.azimuth, found.nsb_level) == ((20.0, 60.0), (0.0,), (0.24,))


def test_without_a_grid_several_sub_arrays_share_their_pilots():
    small = [pilot(z, limit(0.01), limit(500.0), limit(5.0), name="small") for z in (20.0, 60.0)]
    found = grid_of_pilots(table(TWO[0], small[0], TWO[1], small[1]))
    assert found.zenith == (20.0, 60.0)


def test_some_pilots_without_nsb_level_are_refused():
    with pytest.raises(ProdconfError, match="nsb_level of a pilot is not known"):
        grid_of_pilots(table(TWO[0], pilot(60.0, limit(0.1), limit(1.0), limit(1.0), nsb=None)))


# ---------------------------------------------------------------- pointings of a study


def test_points_are_the_production_rows_of_the_grid():
    """Every combination as a list of pointings: the same numbers to the bit, and the rows of the sub-arrays."""
    pilots = (*TWO, *[replace(one, sub_array="small") for one in TWO])
    needs, both = [need(1e-3, sigma=1e-4, bound=2e-3), need(8e-3, bound=9e-3)], [evaluation(20.0), evaluation(60.0)]
    asked = grid([20, 33, 60], nsb=[0.24])
    wanted = plan_grid(table(*pilots), both, needs, grid=asked)
    rows, arrays = plan_points(table(*pilots), both, needs, places_of_grid(asked))
    assert [str(one["array_name"][0]) for one in arrays] == ["full", "small"]
    for column in rows.colnames:
        np.testing.assert_array_equal(np.asarray(rows[column]), np.asarray(wanted[column])[:3], err_msg=column)
    for i, one in enumerate(arrays):
        radius = wanted["upper_radius_limit"][3 + 3 * i : 6 + 3 * i]
        np.testing.assert_array_equal(one["upper_radius_limit"], radius)


def test_points_without_statistics_have_limits_only():
    rows, _ = plan_points(table(*TWO), [], [], Places(np.array([30.0]), np.zeros(1), np.array([0.24])))
    assert np.isnan(rows["n_events"]).all()
    assert list(rows["n_events_status"]) == ["undetermined"]


def test_points_outside_are_refused_or_flagged():
    where = Places(np.array([30.0, 65.0]), np.zeros(2), np.full(2, 0.24))
    with pytest.raises(ProdconfError, match="zenith 65 deg"):
        plan_points(table(*TWO), [], [], where)
    rows, _ = plan_points(table(*TWO), [], [], replace(where, outside="nearest"))
    assert rows["outside_pilots"].tolist() == [False, True]


def test_uses_of_a_production_by_hand():
    """D' = 1 + (D - 1) (n - 1) / (n_p - 1) A / A': a pilot of 2000 m and 20 uses, planned to 1000 m and n uses."""
    one = replace(evaluation(20.0), n_use=20, design_effect=np.array([1.5]))
    where = Places(np.array([20.0]), np.zeros(1), np.array([0.24]))
    for n_use, after in ((None, 3.0), (20, 3.0), (1, 1.0), (5, 1 + 0.5 * 4 / 19 * 4), (3, 1 + 0.5 * 2 / 19 * 4)):
        rows, _ = plan_points(table(TWO[0]), [one], [need(1e-3, bound=2e-3)], where, n_use=n_use)
        assert rows["n_events"][0] == pytest.approx(events(1e-3, 0.01, 330, 1000, 6) * after / 1.5)
        assert rows["n_events_bound"][0] == pytest.approx(2 * rows["n_events"][0])
    with pytest.raises(ProdconfError, match="n_use must be 1"):
        plan_points(table(TWO[0]), [evaluation(20.0)], [need(1e-3)], where, n_use=2)


@pytest.mark.parametrize("azimuth", [0.0, 90.0, 180.0, 181.0, 270.0, 359.0])
def test_the_nearest_of_pilots_by_one_azimuth_is_found_all_around(azimuth):
    """Pilots by the North alone stand for the whole circle if they are asked to; half of it must not come out empty."""
    where = Places(np.array([20.0]), np.array([azimuth]), np.array([0.24]), "nearest")
    both = [evaluation(20.0), evaluation(60.0)]
    rows, _ = plan_points(table(*TWO), both, [need(1e-3), need(8e-3)], where)
    assert rows["upper_radius_limit"].value == pytest.approx([1000])
    assert rows["n_events"] == pytest.approx([events(1e-3, 0.01, 330, 1000, 6)])
    assert rows["outside_pilots"].tolist() == [azimuth not in (0.0,)]
