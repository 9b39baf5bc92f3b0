"""The CORSIKA input block: read back as CORSIKA reads it, against vectors, exact fractions and brute force."""

from dataclasses import replace
from fractions import Fraction

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.core.particles import PARTICLE_IDS, particle_id
from prodconf.jobs.corsika import CorsikaInput, corsika_azimuth, input_block, render_number

CARD = CorsikaInput(
    particle=1,
    energy_min=0.003,
    energy_max=330.0,
    spectral_index=-2.0,
    zenith=20.0,
    azimuth=180.0,
    viewcone_min=0.0,
    viewcone_max=10.0,
    core_scatter_radius=1900.0,
    n_use=20,
    n_showers=100_000,
)


def keywords(text):
    """Read a card: keyword to numbers; whole-line comments skipped."""
    lines = [line.split() for line in text.splitlines() if not line.startswith("*")]
    return {line[0]: [Fraction(part) for part in line[1:]] for line in lines}


def test_the_card_of_the_real_production():
    text = input_block(CARD)
    assert text.endswith("\n")
    assert [line for line in text.splitlines() if line[0] != "*"] == [
        "RUNNR    1",
        "EVTNR    1",
        "NSHOW    100000",
        "PRMPAR   1",
        "ESLOPE   -2.0",
        "ERANGE   3.0 330000.0",
        "THETAP   20.0 20.0",
        "PHIP     0.0 0.0",
        "VIEWCONE 0.0 10.0",
        "CSCAT    20 190000.0 0.0",
    ]


@given(st.floats(-720, 720), st.floats(-180, 180), st.floats(0.1, 89))
def test_particles_come_from_the_pointing(azimuth, declination, zenith):
    """Momentum in the axes magnetic North, West, up (guide, figure 1), turned to geographic axes by a matrix."""
    phi, theta, d = np.deg2rad([corsika_azimuth(azimuth, declination), zenith, declination])
    momentum = np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), -np.cos(theta)])
    # magnetic North lies D East of North, so it has the components (cos D, -sin D) on (North, West)
    to_geographic = np.array([[np.cos(d), np.sin(d), 0], [-np.sin(d), np.cos(d), 0], [0, 0, 1]])
    a, h = np.deg2rad([azimuth, 90 - zenith])
    pointing = np.array([np.cos(h) * np.cos(a), -np.cos(h) * np.sin(a), np.sin(h)])
    assert to_geographic @ -momentum == pytest.approx(pointing, abs=1e-12)


@pytest.mark.parametrize(("azimuth", "phip"), [(0, 180), (90, 90), (180, 0), (270, 270), (163, 17), (-20, 200)])
def test_azimuths_without_declination(azimuth, phip):
    assert corsika_azimuth(azimuth) == pytest.approx(phip)


@given(st.floats(-1e4, 1e4), st.floats(-180, 180))
def test_phip_is_in_one_turn_also_as_text(azimuth, declination):
    assert 0 <= corsika_azimuth(azimuth, declination) < 360
    text = keywords(input_block(replace(CARD, azimuth=azimuth, declination=declination)))["PHIP"]
    assert text[0] == text[1]
    assert 0 <= text[0] < 360


@given(st.floats(1e-6, 1e6), st.sampled_from([0, 2, 3]))
def test_numbers_round_outward_and_lose_nothing(value, power):
    exact = Fraction(value) * 10**power
    low = Fraction(render_number(value, power=power, rounding="ROUND_FLOOR"))
    high = Fraction(render_number(value, power=power, rounding="ROUND_CEILING"))
    noise = exact / 10**15
    assert low - noise <= exact <= high + noise
    assert high - low <= exact / 10**8
    assert Fraction(render_number(value, power=power)) in (low, high)


@given(st.floats(1e-3, 1.0), st.floats(1.0, 1e3), st.floats(1, 1e5), st.floats(0, 90))
def test_the_block_encloses_the_record(low, high, radius, cone):
    record = replace(CARD, energy_min=low, energy_max=high, core_scatter_radius=radius, viewcone_max=cone)
    card, slack = keywords(input_block(record)), 1 + Fraction(1, 10**14)
    assert card["ERANGE"][0] <= Fraction(low) * 1000 * slack
    assert card["ERANGE"][1] * slack >= Fraction(high) * 1000
    assert card["CSCAT"][1] * slack >= Fraction(radius) * 100
    assert card["VIEWCONE"][1] * slack >= Fraction(cone)
    assert [float(x) for x in card["ERANGE"]] == pytest.approx([1000 * low, 1000 * high], rel=1e-9)


def test_quantities_of_any_unit_make_the_same_record():
    one = replace(
        CARD,
        particle="gamma",
        energy_min="3 GeV",
        energy_max=330e12 * u.eV,
        zenith={"value": 20, "unit": "deg"},
        azimuth=np.pi * u.rad,
        viewcone_max=600 * u.arcmin,
        core_scatter_radius=190000 * u.cm,
        declination=0 * u.deg,
    )
    assert input_block(one) == input_block(CARD)
    assert one.n_events == 2_000_000
    assert type(one.energy_min) is float


def test_comments_cannot_become_keywords():
    text = input_block(CARD, comments=["first\nNSHOW 5\x00\r\nEXIT", "wörd " * 40, ""])
    assert len(keywords(text)) == 10
    assert all(len(line) <= 80 and line.isascii() and line.isprintable() for line in text.splitlines())


def test_low_pointings_are_remarked():
    assert "CURVED" not in input_block(replace(CARD, zenith=60.0))
    assert "CURVED" in input_block(replace(CARD, zenith=61.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_use": 21}, "n_use must be a whole number from 1 to 20, got 21"),
        ({"n_use": 0}, "n_use"),
        ({"n_use": True}, "n_use"),
        ({"n_use": 2.5}, "n_use must be a whole number"),
        ({"n_showers": 0}, "n_showers"),
        ({"n_showers": 999_999, "first_event": 2}, "event number within 999999"),
        ({"run_number": 0}, "run_number"),
        ({"run_number": 1_000_000}, "run_number"),
        ({"zenith": 90}, "zenith must be below 90 deg"),
        ({"zenith": -1}, "zenith"),
        ({"azimuth": float("inf")}, "azimuth must be finite"),
        ({"declination": 181}, "declination"),
        ({"viewcone_max": 91}, "viewcone_max"),
        ({"viewcone_min": 11}, "viewcone_min must not be above viewcone_max"),
        ({"energy_min": 0}, "energy_min must be positive"),
        ({"energy_min": 331}, "energy_min must not be above energy_max"),
        ({"energy_max": float("nan")}, "energy_max must be finite"),
        ({"energy_max": "330"}, "energy_max: must have a unit convertible to TeV"),
        ({"core_scatter_radius": -5}, "core_scatter_radius must be positive"),
        ({"core_scatter_radius": np.array([1.0])}, "core_scatter_radius must be one number"),
        ({"spectral_index": 2}, "spectral_index"),
        ({"particle": 0}, "particle"),
        ({"particle": 5657}, "particle"),
        ({"particle": "graviton"}, "particle must be one of gamma"),
        ({"particle": 1.5}, "particle must be a whole number"),
        ({"energy_max": 1 * u.m}, "energy_max must be one number in TeV, got 1.0 m"),
        ({"zenith": "20 parsnips"}, "zenith"),
        ({"declination": "west"}, "declination"),
        ({"core_scatter_radius": None}, "core_scatter_radius must be one number"),
    ],
)
def test_bad_records(change, message):
    with pytest.raises(ProdconfError, match=message):
        replace(CARD, **change)


def test_names_of_particles():
    assert particle_id(" Proton ") == 14 == particle_id("14")
    for name, number in PARTICLE_IDS.items():
        if number > 200:  # nuclei: 100 A + Z
            assert 1.9 <= (number // 100) / (number % 100) <= 2.2, name


def test_block_wants_a_record():
    with pytest.raises(ProdconfError, match="record must be a CorsikaInput, got dict"):
        input_block({})
    with pytest.raises(ProdconfError, match="comments must be a list"):
        input_block(CARD, comments="one text")
