"""Directions against astropy point by point, the magnetic field against vectors and published numbers."""

import datetime
import math
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, HADec, SkyCoord, angular_separation
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.sky.sites import (
    SITES,
    Site,
    altaz_from_hour_angle,
    altaz_from_icrs,
    altaz_to_icrs,
    geomagnetic_angle,
    hour_angle_from_altaz,
    require_site,
    require_time,
)

NIGHT = "2025-06-01T02:00:00"
PLACES = {
    name: EarthLocation(lat=s.latitude * u.deg, lon=s.longitude * u.deg, height=s.height * u.m)
    for name, s in SITES.items()
}


def directions(n, *, seed=1, lowest=80.0):
    """Zenith and azimuth of directions uniform on the sky above an altitude."""
    rng = np.random.default_rng(seed)
    return np.rad2deg(np.arccos(rng.uniform(np.cos(np.deg2rad(lowest)), 1, n))), rng.uniform(-180, 540, n)


def apart(one, other):
    """Great-circle distance of two lists of (longitude, latitude) in deg."""
    return np.rad2deg(angular_separation(*np.deg2rad([*one, *other])))


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("night", [NIGHT, "2019-01-15T23:30:00"])
def test_every_direction_is_astropys(name, night):
    zenith, azimuth = directions(30)
    ra, dec = altaz_to_icrs(zenith, azimuth, site=name, time=night)
    frame = AltAz(obstime=Time(night), location=PLACES[name])
    for z, a, r, d in zip(zenith, azimuth, ra, dec, strict=True):  # one at a time, as a caller of astropy would
        sky = SkyCoord(alt=(90 - z) * u.deg, az=a * u.deg, frame=frame).icrs
        assert apart((sky.ra.deg, sky.dec.deg), (r, d)) < 1e-9
    assert ((ra >= 0) & (ra < 360)).all()
    back = SkyCoord(ra * u.deg, dec * u.deg).transform_to(frame)
    ours = altaz_from_icrs(ra, dec, site=name, time=night)
    np.testing.assert_allclose(apart((back.az.deg, back.alt.deg), (ours[1], 90 - ours[0])), 0, atol=1e-9)


def test_there_and_back_in_pieces_and_shapes():
    zenith, azimuth = directions(120_000, seed=2)
    ra, dec = altaz_to_icrs(zenith, azimuth, site="South", time=NIGHT)
    again = altaz_from_icrs(ra, dec, site="South", time=NIGHT)
    np.testing.assert_allclose(again[0], zenith, atol=1e-7)
    np.testing.assert_allclose(apart((again[1], 90 - again[0]), (azimuth, 90 - zenith)), 0, atol=1e-9)
    few = altaz_to_icrs(zenith[99_990:100_010], azimuth[99_990:100_010], site="South", time=NIGHT)
    np.testing.assert_array_equal(few, (ra[99_990:100_010], dec[99_990:100_010]))
    lattice = altaz_to_icrs(zenith[:3, None], azimuth[None, :4], site="South", time=NIGHT)
    assert lattice[0].shape == lattice[1].shape == (3, 4)
    assert lattice[0][2, 3] == altaz_to_icrs(zenith[2], azimuth[3], site="South", time=NIGHT)[0]
    assert altaz_to_icrs([], [], site="South", time=NIGHT)[0].shape == (0,)


def test_a_million_directions_take_less_than_three_seconds():
    zenith, azimuth = directions(200_000, seed=3)
    altaz_to_icrs(0.0, 0.0, site="North", time=NIGHT)
    start = time.process_time()
    altaz_to_icrs(zenith, azimuth, site="North", time=NIGHT)
    assert time.process_time() - start < 0.6


@settings(max_examples=40, deadline=None)
@given(zenith=st.floats(0, 89), azimuth=st.floats(0, 360), turns=st.integers(-2, 2))
def test_units_and_turns_of_azimuth_change_nothing(zenith, azimuth, turns):
    plain = altaz_to_icrs(zenith, azimuth, site="North", time=NIGHT)
    units = altaz_to_icrs(np.deg2rad(zenith) * u.rad, azimuth * 60 * u.arcmin, site="North", time=NIGHT)
    turned = altaz_to_icrs(zenith, azimuth + 360.0 * turns, site="North", time=NIGHT)
    assert apart(plain, units) < 1e-9
    assert apart(plain, turned) < 1e-9
    assert np.isclose(
        geomagnetic_angle(zenith, azimuth + 360.0 * turns, site="North"),
        geomagnetic_angle(zenith, azimuth, site="North"),
    )


@pytest.mark.parametrize("name", SITES)
def test_hour_angle_and_declination_are_astropys(name):
    zenith, azimuth = directions(200, seed=4)
    common = {"obstime": Time(NIGHT), "location": PLACES[name]}
    local = SkyCoord(alt=(90 - zenith) * u.deg, az=azimuth * u.deg, frame=AltAz(**common))
    reference = local.transform_to(HADec(**common))
    hour_angle, dec = hour_angle_from_altaz(zenith, azimuth, site=name)
    # astropy's hour angle follows the pole, which moves by less than half an arc second
    assert apart((reference.ha.deg, reference.dec.deg), (hour_angle, dec)).max() < 2e-4
    assert ((hour_angle > -180) & (hour_angle <= 180)).all()
    back = altaz_from_hour_angle(hour_angle, dec, site=name)
    np.testing.assert_allclose(apart((back[1], 90 - back[0]), (azimuth, 90 - zenith)), 0, atol=1e-9)
    assert ((back[1] >= 0) & (back[1] < 360)).all()


@settings(max_examples=60, deadline=None)
@given(dec=st.floats(-90, 90), hour_angle=st.floats(-180, 180), latitude=st.floats(-90, 90))
def test_hour_angle_closed_form(dec, hour_angle, latitude):
    site = Site("x", latitude, 0.0, 0.0)
    zenith, azimuth = altaz_from_hour_angle(hour_angle, dec, site=site)
    phi, d, h = np.deg2rad([latitude, dec, hour_angle])
    cosine = np.sin(phi) * np.sin(d) + np.cos(phi) * np.cos(d) * np.cos(h)
    assert np.isclose(np.cos(np.deg2rad(zenith)), cosine, atol=1e-12)
    assert np.isclose(np.sin(np.deg2rad(zenith)) * np.sin(np.deg2rad(azimuth)), -np.cos(d) * np.sin(h), atol=1e-12)


def test_geomagnetic_angle_is_that_of_vectors():
    zenith, azimuth = directions(500, seed=5, lowest=89.0)
    z, a = np.deg2rad([zenith, azimuth])
    pointing = np.stack([np.sin(z) * np.cos(a), np.sin(z) * np.sin(a), np.cos(z)], axis=-1)
    for site in SITES.values():
        horizontal, down = site.magnet
        field = (np.cos(np.deg2rad(site.declination)), np.sin(np.deg2rad(site.declination)))
        vector = np.array([horizontal * field[0], horizontal * field[1], -down])
        assert np.isclose(np.linalg.norm(vector), site.field_strength)
        cross = np.linalg.norm(np.cross(pointing, vector), axis=-1) / site.field_strength
        angle = geomagnetic_angle(zenith, azimuth, site=site)
        np.testing.assert_allclose(np.sin(np.deg2rad(angle)), cross, atol=1e-12)
        np.testing.assert_allclose(np.cos(np.deg2rad(angle)), pointing @ vector / site.field_strength, atol=1e-12)


def test_the_field_of_the_sites():
    north, south = SITES["CTAO-North"], SITES["CTAO-South"]
    # La Palma on 29 November 2021 at 10 km, with its change per year, as the LST collaboration states it
    years = 2025.0 - 2021.91
    assert north.declination == pytest.approx(-4.8443 + 0.1653 * years, abs=0.05)
    assert north.inclination == pytest.approx(37.3663 - 0.07 * years, abs=0.05)
    assert north.field_strength == pytest.approx(38.5896, rel=0.005)
    assert south.magnet[1] < 0 < south.magnet[0]  # South of the magnetic equator the field points upwards
    # MAGNET 25.2 40.88 and ARRANG 10.4 are what VERITAS gives to CORSIKA
    veritas = Site(
        "VERITAS", 31.675, -110.952, 1268.0, math.degrees(math.atan2(40.88, 25.2)), 10.4, math.hypot(25.2, 40.88)
    )
    assert veritas.magnet == pytest.approx((25.2, 40.88))


def test_the_sites_are_where_ctao_says():
    ctao = {
        "CTAO-North": EarthLocation(lat="28d45m43.7904s", lon="-17d53m31.218s", height=2147 * u.m),
        "CTAO-South": EarthLocation(lat="-24d41m0.34s", lon="-70d18m58.84s", height=2150 * u.m),
    }
    for name, place in ctao.items():
        offset = [(getattr(place, axis) - getattr(PLACES[name], axis)).to_value("m") for axis in "xyz"]
        assert np.linalg.norm(offset) < 1


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("north", "CTAO-North"),
        ("CTA_North", "CTAO-North"),
        ("La Palma", "CTAO-North"),
        ("PARANAL", "CTAO-South"),
        ("South", "CTAO-South"),
    ],
)
def test_sites_by_name(given, name):
    assert require_site(given) is SITES[name]
    assert require_site(SITES[name]) is SITES[name]


def test_a_place_in_every_form():
    place = PLACES["CTAO-South"]
    forms = [
        place,
        f"{place.lat.deg} deg, {place.lon.deg} deg, {place.height.to_value('km')} km",
        {"lat": place.lat, "lon": place.lon, "height": place.height},
        {
            "Latitude": {"value": place.lat.rad, "unit": "rad"},
            "longitude": f"{place.lon.deg} deg",
            "altitude": "2150 m",
        },
    ]
    reference = altaz_to_icrs(30.0, 60.0, site="South", time=NIGHT)
    for form in forms:
        site = require_site(form)
        assert math.isnan(site.inclination)
        assert apart(altaz_to_icrs(30.0, 60.0, site=form, time=NIGHT), reference) < 1e-9
        with pytest.raises(ProdconfError, match="site 'user' must have inclination and declination"):
            geomagnetic_angle(30.0, 60.0, site=form)
    full = {"name": "here", "lat": "1 deg", "lon": "2 deg", "height": "3 m"}
    full |= {"inclination": "40 deg", "declination": "-3 deg", "field_strength": "30 uT"}
    assert require_site(full) == Site("here", 1.0, 2.0, 3.0, 40.0, -3.0, 30.0)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (None, "observing_location must be given, CTAO-North, CTAO-South"),
        ("Namibia", "must be one of CTAO-North, CTAO-South or .* got 'Namibia'"),
        ("1 deg, 2 deg", "got '1 deg, 2 deg'"),
        ("1, 2, 3", "latitude: must have a unit convertible to deg"),
        ("91 deg, 0 deg, 0 m", r"latitude of site 'user' must lie in \[-90, 90\] deg, got 91"),
        ("1 deg, 2 deg, 3 deg", "height: must have a unit convertible to m"),
        ({"lat": 1.0, "lon": "2 deg", "height": "3 m"}, "latitude: needs a unit"),
        ({"lat": "1 deg", "lon": "2 deg"}, "height is missing"),
        ({"lat": "1 deg", "latitude": "1 deg", "lon": "2 deg", "height": "3 m"}, "latitude is given twice"),
        ({"lat": "1 deg", "lon": "2 deg", "height": "3 m", "colour": 1}, "unknown key colour"),
        ({"lat": "1 deg", "lon": "2 deg", "height": "nan m"}, "height: must be one finite number"),
        (28.76, "must be a name, a mapping or an EarthLocation, got 28.76"),
        (EarthLocation(lat=[1, 2] * u.deg, lon=[1, 2] * u.deg), "must be one place, got 2"),
        (EarthLocation.from_geocentric(0, 0, 0, unit="m"), "height of site 'user' must lie"),
    ],
)
def test_places_that_are_none(location, message):
    with pytest.raises(ProdconfError, match=message) as caught:
        require_site(location)
    assert "\n" not in str(caught.value)


def test_a_site_checks_its_numbers():
    with pytest.raises(ProdconfError, match="latitude of site 'x' must be one number in deg, got 'a'"):
        Site("x", "a", 0.0, 0.0)
    with pytest.raises(ProdconfError, match="height of site 'x' must be finite"):
        Site("x", 0.0, 0.0, math.nan)
    with pytest.raises(ProdconfError, match=r"inclination of site 'CTAO-North' must lie in \[-90, 90\] deg, got 120"):
        replace(SITES["CTAO-North"], inclination=120.0)
    assert Site("x", 1 * u.rad, 0.0, 1 * u.km).height == 1000.0


@pytest.mark.parametrize(
    "moment",
    [
        "2025-06-01T02:00:00",
        "2025-06-01 02:00",
        "2025-06-01T02:00:00.000Z",
        datetime.datetime(2025, 6, 1, 2),
        datetime.datetime(2025, 6, 1, 2, tzinfo=datetime.UTC),
        datetime.datetime(2025, 6, 1, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        Time("2025-06-01T02:00:00"),
        Time("2025-06-01T02:00:00").tai,
        Time("2025-06-01T02:00:00").ut1,
    ],
)
def test_one_moment_in_every_form(moment):
    read = require_time(moment)
    assert read.scale == "utc"
    assert abs((read - Time(NIGHT)).to_value("s")) < 1e-3


def test_a_date_is_its_midnight():
    assert require_time(datetime.date(2025, 6, 1)).isot == require_time("2025-06-01").isot == "2025-06-01T00:00:00.000"


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (None, "observing_time must be given for celestial coordinates"),
        ("yesterday", "must be one date and time as in .* got 'yesterday'"),
        ("2025-06-01T25:00:00", "must be one date and time"),
        ("2025-06-31", "must be one date and time"),
        ("2025-06-01T02:00:00+02:00", "must be one date and time"),
        ("2025:152", "must be one date and time"),
        (2025.4, "must be one date and time"),
        (["2025-06-01", "2025-06-02"], "must be one date and time"),
        (Time(["2025-06-01", "2025-06-02"]), "must be one date and time"),
        (Time("2025-06-01", scale="local"), "must be one date and time"),
        ("1971-12-31", "must lie in the years 1972 to 2049, got '1971-12-31'"),
        ("2050-01-01", "must lie in the years 1972 to 2049"),
        ("9999-01-01", "must lie in the years 1972 to 2049"),
    ],
)
def test_moments_that_are_none(moment, message):
    with pytest.raises(ProdconfError, match=message) as caught:
        require_time(moment)
    assert "\n" not in str(caught.value)


def test_nothing_is_downloaded_for_a_moment_beyond_the_table(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    early = altaz_to_icrs(20.0, 180.0, site="North", time=NIGHT)
    late = altaz_to_icrs(20.0, 180.0, site="North", time="2049-06-01T02:00:00")  # and no warning
    assert abs(late[1] - early[1]) < 0.5  # the same declination but for precession
    assert altaz_to_icrs(20.0, 180.0, site="North", time="1972-06-01")[0] >= 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: altaz_to_icrs(90.0, 0.0, site="North", time=NIGHT),
            r"zenith must lie in \[0, 90\) deg, above the horizon, got 90",
        ),
        (
            lambda: altaz_to_icrs([20, -1], 0.0, site="North", time=NIGHT),
            r"zenith must lie in \[0, 90\) deg, above the horizon, got -1",
        ),
        (lambda: altaz_to_icrs(20, np.nan, site="North", time=NIGHT), "azimuth must be finite"),
        (
            lambda: altaz_to_icrs(20 * u.m, 0.0, site="North", time=NIGHT),
            "zenith must have a unit convertible to deg, got m",
        ),
        (lambda: altaz_to_icrs("low", 0.0, site="North", time=NIGHT), "zenith must be numbers"),
        (
            lambda: altaz_to_icrs([1, 2], [1, 2, 3], site="North", time=NIGHT),
            r"fit together, got \(3,\)",
        ),
        (lambda: altaz_to_icrs(20.0, 0.0, site="North", time=None), "observing_time must be given"),
        (lambda: altaz_to_icrs(20.0, 0.0, site=None, time=NIGHT), "observing_location must be given"),
        (lambda: altaz_from_icrs(0.0, 91.0, site="North", time=NIGHT), r"dec must lie in \[-90, 90\] deg, got 91"),
        (lambda: altaz_from_hour_angle(0.0, -91.0, site="North"), "dec must lie in"),
        (lambda: altaz_from_hour_angle([0.0, 1.0], [1.0, 2.0, 3.0], site="North"), "fit together"),
        (lambda: hour_angle_from_altaz(120.0, 0.0, site="North"), "zenith must lie in"),
        (lambda: geomagnetic_angle(np.inf, 0.0, site="North"), "zenith must be finite"),
    ],
)
def test_directions_that_are_none(call, message):
    with pytest.raises(ProdconfError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
