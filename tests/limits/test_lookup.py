"""Limits between the rows of a table: rows exact, closed forms, a second implementation, verdicts, bad requests."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, vstack

from prodconf.core.errors import ProdconfError
from prodconf.limits.lookup import LIMIT_UNITS, array_labels, look_up_limits, row_verdicts, select_rows
from prodconf.limits.table import read_limits


def made(zenith=(20.0, 40.0, 52.0, 60.0), azimuth=(0.0, 180.0), nsb=(0.24,), name="all", particle="gamma"):
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


def test_between_rows_follows_the_closed_form():
    table = made(nsb=(0.24, 1.2))
    z = np.linspace(20, 60, 33)
    found = look_up_limits(table, z, 0.0, nsb_level=0.5)
    sec = 1 / np.cos(np.deg2rad(z))
    assert found.lower_energy_limit.value == pytest.approx(0.02 * sec**2.5 * (0.5 / 0.24) ** 0.3, rel=1e-12)
    assert found.upper_radius_limit.value == pytest.approx(
        1200 + 900 * np.log(sec) + 100 * np.log(0.5 / 0.24), rel=1e-12
    )
    assert found.upper_energy == pytest.approx(330 * sec, rel=1e-12)
    assert found.viewcone_radius.value == pytest.approx(7, rel=1e-14)
    assert found.upper_radius_limit.sigma == pytest.approx(0, abs=1e-6)
    assert not found.outside.any()
    assert found.n_rows == 16


@pytest.mark.parametrize("generation", ["v0.19", "v0.32", "v0.33"])
def test_rows_of_real_tables_come_back_to_the_bit(shared_data, generation):
    table = read_limits(shared_data / "limits" / f"corsika_limits_{generation}.ecsv")
    for name in sorted(set(table["array_name"]))[:3]:
        rows = table[table["array_name"] == name]
        for row in rows:
            found = look_up_limits(
                table,
                row["zenith"].value,
                row["azimuth"].value,
                nsb_level=row["nsb_level"],
                array_name=str(name),
                primary_particle="gamma",
            )
            for limit, unit in LIMIT_UNITS.items():
                assert getattr(found, limit).value[0] == row[limit].to_value(unit)
                assert getattr(found, limit).sigma[0] == 0


def test_words_and_telescope_lists_of_the_oldest_layout(shared_data):
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.16.ecsv")
    assert set(array_labels(table)) == {"[]", "[1]", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]"}
    found = look_up_limits(table, 40, 180, nsb_level="moon", array_name="[ 1 ]", primary_particle="gamma")
    assert found.lower_energy_limit.value[0] == pytest.approx(0.006109977, rel=1e-7)
    assert found.upper_radius_limit.value[0] == 2197.8192341644162
    assert found.array_name == "[1]"
    assert found.primary_particle == ""
    assert np.isnan(found.upper_energy).all()
    with pytest.raises(ProdconfError, match="nsb_level must be one of 'dark', 'moon', the words of the table, got 1"):
        look_up_limits(table, 40, 180, nsb_level=1.0, array_name="[1]")
    with pytest.raises(ProdconfError, match="nsb_level must be given, for the table has 2: 'dark', 'moon'"):
        look_up_limits(table, 40, 180, array_name="[1]")


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
    found = look_up_limits(table, 47, 90, nsb_level=0.5, array_name="CTAO-North-Alpha")
    assert found.upper_radius_limit.value[0] == pytest.approx(expected, rel=1e-12)
    assert found.upper_radius_limit.sigma[0] > 0


def test_real_cones_at_the_simulated_edge_are_truncated(shared_data):
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.32.ecsv")
    found = look_up_limits(table, [30.0], [0.0], array_name="LSTN-01")
    assert found.viewcone_radius.value == [10]
    assert found.viewcone_radius.verdict == ["truncated"]
    assert found.upper_radius_limit.verdict == ["unstated"]


def test_stated_verdicts_and_guaranteed_limits_win():
    table = made(azimuth=(0.0,))
    table["upper_radius_limit_verdict"] = ["ok", "ok", "sample_limited", ""]
    table["upper_radius_limit_guaranteed"] = [1500.0, np.nan, 1900.0, 2000.0] * u.m
    table["upper_radius_limit_low"] = [1300.0, np.nan, 1800.0, np.nan] * u.m
    table["upper_radius_limit_high"] = [1600.0, np.nan, np.inf, np.nan] * u.m
    found = look_up_limits(table, [20, 30, 40, 45, 60], 0.0).upper_radius_limit
    assert list(found.verdict) == ["ok", "ok", "ok", "sample_limited", "unstated"]
    assert found.value[0] == 1500
    assert found.value[2] == table["upper_radius_limit"][1].to_value("m")
    assert found.sigma[0] == 75


def test_undetermined_rows_spread_and_are_named():
    table = made(azimuth=(0.0,))
    radius = table["upper_radius_limit"].to_value("m")
    radius[2] = np.nan
    table["upper_radius_limit"] = radius * u.m
    found = look_up_limits(table, [20, 30, 45, 55], 0.0)
    assert np.isnan(found.upper_radius_limit.value).tolist() == [False, False, True, True]
    assert list(found.upper_radius_limit.verdict) == ["unstated", "unstated", "undetermined", "undetermined"]
    assert row_verdicts(table, "upper_radius_limit")[2] == "undetermined"
    assert np.isfinite(found.lower_energy_limit.value).all()


def test_arrays_and_particles_are_never_mixed():
    table = vstack([made(), made(name="small"), made(particle="proton")])
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


def test_outside_is_refused_or_flagged():
    table = made()
    with pytest.raises(ProdconfError, match=r"zenith 65 deg.* is outside"):
        look_up_limits(table, [30, 65], [0, 0])
    found = look_up_limits(table, [30, 65], [0, 0], outside="nearest")
    assert found.outside.tolist() == [False, True]
    assert found.upper_radius_limit.value[1] == look_up_limits(table, 60, 0).upper_radius_limit.value[0]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"zenith": float("nan")}, "zenith must be finite"),
        ({"zenith": -5}, "zenith must lie in"),
        ({"azimuth": [0, 90, 180], "zenith": [20, 30]}, "zenith, azimuth and nsb_level"),
        ({"nsb_level": -1}, "nsb_level must be positive"),
        ({"nsb_level": "dark"}, "the table knows no words"),
        ({"nsb_level": [0.24, "dark"]}, "nsb_level must be numbers"),
        ({"outside": "guess"}, "outside must be"),
    ],
)
def test_bad_requests(request_, message):
    with pytest.raises(ProdconfError, match=message):
        look_up_limits(made(), **({"zenith": 30, "azimuth": 0} | request_))


def test_two_rows_at_one_place_are_one_if_they_agree():
    found = look_up_limits(vstack([made(), made()]), 30, 0)
    assert found.upper_radius_limit.value == look_up_limits(made(), 30, 0).upper_radius_limit.value
    assert found.n_rows == 8
    jitter = made()
    jitter["zenith"] += 1e-5 * u.deg
    jitter["upper_radius_limit"] *= 1 + 1e-12
    assert look_up_limits(vstack([made(), jitter]), 30, 0).n_rows == 8


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
    one, other = made(), made()[2:3]
    if column.endswith("verdict"):
        one[column], other[column] = [""] * len(one), [value]
    elif column not in one.colnames:
        one[column], other[column] = np.full(len(one), np.nan) * value.unit, [value.value] * value.unit
    else:
        other[column][0] = value
    with pytest.raises(
        ProdconfError, match=rf"rows at one place must agree, got {column}.* zenith 40 deg, azimuth 0 deg"
    ):
        look_up_limits(vstack([one, other]), 30, 0)
