"""The study of the grid: pointings against density times solid angle, totals against sums, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import study_sample as shared
from scipy import integrate

from prodconf.core.errors import ProdconfError
from prodconf.events.groups import PilotGroup
from prodconf.plan.main_job import production_at
from prodconf.plan.pointings import places_of_table
from prodconf.studies.grid import MOST_POINTS, grid_study, pilot_window
from prodconf.studies.settings import StudySettings, plan_anew
from prodconf.studies.statistics import statistics_study

COST = {"seconds_per_shower": "4 s", "seconds_per_tev": "20 s / TeV", "bytes_per_event": "2 kB"}
DEGREE2 = (180 / np.pi) ** 2


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return shared.sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return shared.read_once(sample)


def solid_angle(zenith, azimuth=(0, 360)) -> float:
    """Return square degrees by integration over the zenith angle."""
    ring = integrate.quad(np.sin, *np.radians(zenith))[0]
    return ring * np.radians((azimuth[1] - azimuth[0]) % 360 or 360) * DEGREE2


# ---------------------------------------------------------------- pointings


@pytest.mark.parametrize("density", [0.002, 0.02, 0.15])
@pytest.mark.parametrize("zenith", [(20.0, 60.0), (25.0, 40.0)])
@pytest.mark.parametrize("azimuth", [(0.0, 360.0), (90.0, 270.0), (300.0, 60.0)])
def test_points_are_density_times_solid_angle(pilots, density, zenith, azimuth):
    """Within what the edge of the window cuts: about the square root of the number."""
    study = grid_study(pilots, StudySettings(density=density, zenith=zenith, azimuth=azimuth))
    wanted = density * solid_angle(zenith, azimuth)
    assert study.n_points == pytest.approx(wanted, abs=1 + 1.5 * np.sqrt(wanted))
    rows = study.plan.grid
    assert len(rows) == study.n_points
    angles = rows["zenith"].to_value("deg")
    assert angles.min() >= zenith[0]
    assert angles.max() <= zenith[1]
    turned = (rows["azimuth"].to_value("deg") - azimuth[0]) % 360
    assert turned.max() <= ((azimuth[1] - azimuth[0]) % 360 or 360)


def test_by_default_the_window_is_that_of_the_pilots(pilots):
    study = grid_study(pilots)
    assert study.settings.zenith == pilot_window(plan_anew(pilots)) == pytest.approx((20.0, 60.0), abs=1e-3)
    assert study.settings.azimuth == (0.0, 360.0)
    assert study.settings.density == 0.005
    assert study.n_points == pytest.approx(0.005 * solid_angle((20, 60)), abs=8)


# ---------------------------------------------------------------- numbers


def test_totals_are_sums_over_the_points(pilots):
    study = grid_study(pilots, StudySettings(density=0.01))
    plan, own = plan_anew(pilots), study.plan.grid
    rows = production_at(plan, places_of_table(own))
    assert study.n_events == pytest.approx(sum(float(x) for x in rows["n_events"]), rel=1e-12)
    assert study.sigma == pytest.approx(sum(float(x) for x in rows["n_events_sigma"]), rel=1e-12)
    assert study.bound == pytest.approx(sum(float(x) for x in rows["n_events_bound"]), rel=1e-12)
    assert study.sigma > 0
    assert study.bound > study.n_events > 0
    assert np.isnan([study.cpu_hours, study.storage]).all()


def test_at_the_pilots_own_pointings_points_are_the_grid_of_the_plan(sample, pilots):
    plan = plan_anew(pilots)
    production = plan.production
    rows = production_at(plan, places_of_table(production))
    for column in rows.colnames:
        np.testing.assert_array_equal(np.asarray(rows[column]), np.asarray(production[column]), err_msg=column)
    own = shared.plan_once(sample).grid
    own = own[own["array_name"] == "production"]
    np.testing.assert_array_equal(rows["n_events"], own["n_events"])


def test_a_window_around_a_pilot_needs_what_the_pilot_needs(pilots):
    """Pointings within a hundredth of a degree in zenith of a pilot, and few degrees of azimuth."""
    study = grid_study(pilots, StudySettings(density=1.0, zenith=(59.9, 60.0 - 1e-4), azimuth=(0.0, 20.0)))
    name = next(one for one in pilots.event_names if one.startswith("zenith 60°, azimuth 0°"))
    assert study.n_events / study.n_points == pytest.approx(
        statistics_study(pilots, StudySettings(pilot=name)).n_events, rel=0.05
    )


@pytest.mark.parametrize("n_use", [None, 1, 25])
def test_cost_by_hand(pilots, n_use):
    """Every pointing by itself: whole showers, mean energy of the thrown spectrum by quadrature."""
    study = grid_study(pilots, StudySettings(density=0.004, cost=COST, n_use=n_use, spectral_index=2.4))
    hours = storage = 0.0
    uses = n_use or shared.N_USE
    for row in study.plan.grid:
        ends = np.log([row[f"{end}_energy_limit"].to_value("TeV") for end in ("lower", "upper")])
        mean = (
            integrate.quad(lambda x: np.exp(-0.4 * x), *ends)[0] / integrate.quad(lambda x: np.exp(-1.4 * x), *ends)[0]
        )
        showers = np.ceil(np.ceil(row["n_events"]) / uses)
        hours += showers * (4 + 20 * mean) / 3600
        storage += showers * uses * 2000 / 1e9
    assert study.cpu_hours == pytest.approx(hours, rel=1e-6)
    assert study.storage == pytest.approx(storage, rel=1e-9)
    words = dict(row[:2] for row in study.table)
    assert {"CPU hours", "storage"} < set(words)


def test_questions_are_those_of_the_plan(pilots):
    asked = {
        "loss_fraction": 0.05,
        "confidence": 0.7,
        "target": 0.1,
        "sub_array": "large telescopes",
        "multiplicity": 1,
    }
    study, plan = grid_study(pilots, StudySettings(density=0.004, **asked)), plan_anew(pilots, StudySettings(**asked))
    rows = production_at(plan, places_of_table(study.plan.grid))
    assert study.n_events == pytest.approx(float(rows["n_events"].sum()), rel=1e-12)
    assert study.n_events != pytest.approx(grid_study(pilots, StudySettings(density=0.004)).n_events, rel=1e-3)


def test_a_finer_target_needs_more_by_the_square(pilots):
    metrics = pilots.inputs.metrics.model_copy(update={"energy_estimate": None})
    own = replace(pilots, inputs=replace(pilots.inputs, metrics=metrics), plans={})
    assert grid_study(own, StudySettings(target=0.01)).n_events == pytest.approx(
        grid_study(own, StudySettings(target=0.05)).n_events * 25, rel=1e-9
    )


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"density": 5.0}, f"density must give at most {MOST_POINTS} pointings"),
        ({"density": 1e-9}, "density must give a point"),
        ({"density": 0.0}, "density must lie in"),
        ({"density": -1.0}, "density must lie in"),
        ({"density": np.nan}, "density"),
        ({"density": "many"}, "density"),
        ({"zenith": (10.0, 30.0)}, "is outside"),
        ({"zenith": (50.0, 70.0), "density": 0.1}, "is outside"),
        ({"zenith": (40.0, 40.0)}, "zenith"),
        ({"zenith": (50.0, 40.0)}, "zenith"),
        ({"zenith": (-5.0, 40.0)}, "zenith"),
        ({"zenith": (20.0, 95.0)}, "zenith"),
        ({"zenith": 30.0}, "zenith"),
        ({"zenith": (np.nan, 40.0)}, "zenith"),
        ({"azimuth": (90.0, 90.0)}, "azimuth"),
        ({"azimuth": 5.0}, "azimuth"),
        ({"nsb_level": 0.8}, "is outside"),
        ({"nsb_level": -1.0}, "nsb_level"),
        ({"nsb_level": np.nan}, "nsb_level"),
        ({"nsb_level": "dark"}, "nsb_level"),
        ({"n_use": 0}, "n_use must be a whole number"),
        ({"n_use": 1.5}, "n_use must be a whole number"),
        ({"target": 0.0}, "target"),
        ({"spectral_index": 21.0}, "spectral_index"),
        ({"cost": {}}, "must be positive"),
        ({"cost": {"seconds_per_use": "1 s"}}, "unknown key"),
    ],
    ids=str,
)
def test_bad_questions_are_refused_in_one_sentence(pilots, asked, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        grid_study(pilots, StudySettings(**asked))
    assert "\n" not in str(caught.value)


def test_the_policy_outside_the_pilots_is_the_plans(sample, tmp_path):
    asked = {"zenith": ["20 deg"], "azimuth": ["0 deg"], "nsb_level": [0.24], "outside": "nearest"}
    pilots = shared.read_pilots(shared.changed(sample, tmp_path, grid=asked))
    study = grid_study(pilots, StudySettings(zenith=(5.0, 30.0), density=0.02))
    assert study.plan.grid["outside_pilots"].any()
    assert np.isfinite(study.n_events)


def test_pilots_by_one_azimuth_say_what_they_cannot(small_sample):
    """The small sample knows the North only; a circle around the zenith is beyond it, and the message says so."""
    pilots = shared.read_once(small_sample.configuration)
    assert isinstance(pilots.inputs.groups[0], PilotGroup)
    with pytest.raises(ProdconfError, match="azimuth 0 deg"):
        grid_study(pilots)


def test_the_figure_shows_every_pointing(pilots):
    study = grid_study(pilots, StudySettings(density=0.01))
    figure = study.figure
    sizes = [len(one.get_offsets()) for one in figure.axes[0].collections]
    assert sum(sizes) == study.n_points
    assert str(study.n_points) in study.description
