"""The study of statistics against the plan, scaling laws by hand, and showers used another number of times."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import study_sample as shared
from astropy import units as u
from astropy.table import QTable
from scipy import integrate

from prodconf.core.errors import ProdconfError
from prodconf.jobs.cost import CostModel
from prodconf.plan.main_job import plan_production
from prodconf.plan.summary import statistics_table
from prodconf.precision.pilots import disc_factors
from prodconf.studies.pilots import evaluate
from prodconf.studies.settings import StudySettings, plan_anew
from prodconf.studies.statistics import statistics_study

COST = {
    "seconds_per_shower": "2 s",
    "seconds_per_tev": "30 s / TeV",
    "seconds_per_event": "0.5 s",
    "bytes_per_event": "3 kB",
}


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return shared.sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return shared.read_once(sample)


def area_only(pilots):
    """Return the pilots with a target on the effective area alone (one formula to check by hand)."""
    metrics = pilots.inputs.metrics.model_copy(update={"energy_estimate": None})
    return replace(pilots, inputs=replace(pilots.inputs, metrics=metrics), plans={})


def row_of(plan, pilot: str) -> QTable.Row:
    """Return the row of a plan's grid at a pilot."""
    zenith, azimuth = (float(word.split()[1].rstrip("°")) for word in pilot.split(", ")[:2])
    rows = plan.grid[plan.grid["array_name"] == "production"]
    near = (np.abs(rows["zenith"].to_value("deg") - zenith) < 0.1) & (
        np.abs(rows["azimuth"].to_value("deg") - azimuth) < 0.1
    )
    (place,) = np.flatnonzero(near)
    return rows[place]


# ---------------------------------------------------------------- the plan


def test_without_a_question_the_answer_is_the_plans(sample, pilots):
    plan = shared.plan_once(sample)
    for name in pilots.event_names:
        study, row = statistics_study(pilots, StudySettings(pilot=name)), row_of(plan, name)
        assert study.n_events == pytest.approx(row["n_events"], rel=1e-12)
        assert study.sigma == pytest.approx(row["n_events_sigma"], rel=1e-12)
        assert study.record.status == row["n_events_status"]
        low, high = (row[f"{end}_energy_limit"].to_value("TeV") for end in ("lower", "upper"))
        assert study.settings.energy_range == pytest.approx((low, high), rel=1e-12)
        assert study.settings.radius == pytest.approx(row["upper_radius_limit"].to_value("m"), rel=1e-12)
        assert study.settings.viewcone == pytest.approx(row["viewcone_radius"].to_value("deg"), rel=1e-12)
        assert (study.settings.spectral_index, study.settings.n_use, study.settings.target) == (2.0, shared.N_USE, 0.05)
        assert study.bound >= study.n_events * (1 - 1e-9)
        assert study.bound == pytest.approx(row["n_events_bound"], rel=0.05)
        assert study.cost is None


def test_questions_about_limits_are_those_of_the_plan(pilots):
    name = pilots.event_names[1]
    asked = {"loss_fraction": 0.05, "confidence": 0.68, "sub_array": "large telescopes", "multiplicity": 3}
    row = row_of(plan_anew(pilots, StudySettings(**asked)), name)
    assert statistics_study(pilots, StudySettings(pilot=name, **asked)).n_events == pytest.approx(
        row["n_events"], rel=1e-12
    )
    assert row["n_events"] != pytest.approx(statistics_study(pilots, StudySettings(pilot=name)).n_events, rel=1e-3)


def test_at_what_the_pilot_threw_the_bins_are_those_of_the_table_of_statistics(pilots):
    """Radius, cone and energies of the pilot: `n_required` of `statistics.ecsv`, bin by bin."""
    name, place = pilots.event_names[-1], len(pilots.event_names) - 1
    file = pilots.inputs.files[place][0]
    low, high = file.energy_range
    thrown = {"radius": file.core_scatter_max, "viewcone": file.viewcone_max}
    study = statistics_study(pilots, StudySettings(pilot=name, energy_range=(low, high), **thrown))
    need = study.record
    ranges = {"energy_min": low, "energy_max": high, **thrown}
    table = statistics_table([evaluate(pilots, name)], [need], [ranges])
    np.testing.assert_allclose(study.per_bin, table["n_required"], rtol=1e-9)
    assert study.n_events == pytest.approx(np.nanmax(table["n_required"][table["decides"]]), rel=1e-9)


# ---------------------------------------------------------------- scaling


def test_target(pilots):
    """N goes with target^-2 where the effective area decides."""
    own = area_only(pilots)
    one = statistics_study(own)
    for target in (0.01, 0.1, 0.3):
        other = statistics_study(own, StudySettings(target=target))
        assert other.n_events == pytest.approx(one.n_events * (0.05 / target) ** 2, rel=1e-9)
        assert other.settings.target == target
        assert other.record.deciding_bin == one.record.deciding_bin


def design_of(pilots, name: str) -> np.ndarray:
    return np.maximum(evaluate(pilots, name).design_effect, 1.0)


def share_inside(pilots, name: str, radius: float, study) -> float:
    """Return the share of triggers within a disc, from the note; NaN where the note says that no number follows."""
    words = " ".join(study.notes)
    if "No number follows" in words:
        return np.nan
    if "cuts off" not in words:
        return 1.0
    lost = pilots.tails(name).share_lost(radius=radius)
    assert 0 < lost < 0.5
    return 1 - lost


def determined(study):
    """Bins that are held to the targets and of which all of them know something: one of these decides."""
    known, low, high = study.held & np.isfinite(study.per_bin), study.edges[:-1], study.edges[1:]
    for first, last in study.record.undetermined:
        known &= (high <= first * (1 + 1e-6)) | (low >= last * (1 - 1e-6))
    return known


@pytest.mark.parametrize("n_use", [1, 2, 5, 10, 40])
@pytest.mark.parametrize("radius", [150.0, 800.0, 1600.0, 2500.0])
def test_radius_and_uses_bin_by_bin(pilots, radius, n_use):
    """N ∝ R² D', with D' = 1 + (D - 1) (n - 1) / (n_p - 1) (R_p / R)², at most n (or D n / n_p)."""
    name, thrown = pilots.event_names[0], pilots.inputs.files[0][0].core_scatter_max
    base = statistics_study(pilots, StudySettings(pilot=name, radius=thrown, energy_range=(0.01, 100.0)))
    other = statistics_study(pilots, StudySettings(pilot=name, radius=radius, n_use=n_use, energy_range=(0.01, 100.0)))
    design = design_of(pilots, name)
    grown = 1 + (design - 1) * (n_use - 1) / (shared.N_USE - 1) * (thrown / radius) ** 2
    grown = np.minimum(grown, n_use * np.maximum(1, design / shared.N_USE))
    inside = share_inside(pilots, name, radius, other)
    if np.isnan(inside):
        assert np.isnan(other.n_events)
        return
    expected = base.per_bin * (radius / thrown) ** 2 * grown / design / inside
    np.testing.assert_allclose(other.per_bin, expected, rtol=1e-9)
    assert other.n_events == pytest.approx(np.nanmax(other.per_bin[determined(other)]), rel=1e-9)
    if n_use == 1 and inside == 1:
        single = statistics_study(
            pilots, StudySettings(pilot=name, radius=2 * radius, n_use=1, energy_range=(0.01, 100.0))
        )
        assert single.n_events == pytest.approx(4 * other.n_events, rel=1e-9)


def test_cone(pilots):
    """N ∝ 1 - cos of the cone: the density of events per direction stays."""
    one = statistics_study(pilots, StudySettings(viewcone=9.0))
    for cone in (8.5, 30.0, 90.0):
        ratio = (1 - np.cos(np.radians(cone))) / (1 - np.cos(np.radians(9.0)))
        assert statistics_study(pilots, StudySettings(viewcone=cone)).n_events == pytest.approx(
            one.n_events * ratio, rel=1e-9
        )


@pytest.mark.parametrize("index", [1.0, 1.5, 2.0, 2.7, 3.5])
def test_spectral_index(pilots, index):
    """
    A bin needs its events whatever the spectrum: the whole production is those over the share of the bin in E^-index.

    Done with quadrature for the deciding bin, against what the index of the pilot gives.
    """
    own = area_only(pilots)

    def share(study, j, gamma):
        def flux(log_energy):
            return np.exp((1 - gamma) * log_energy)

        file = own.inputs.files[0][0]
        low, high = np.clip(study.edges[j : j + 2], *file.energy_range)
        return (
            integrate.quad(flux, np.log(low), np.log(high))[0]
            / (integrate.quad(flux, *np.log(study.settings.energy_range))[0])
        )

    base = statistics_study(own, StudySettings(energy_range=(0.02, 50.0)))
    study = statistics_study(own, StudySettings(energy_range=(0.02, 50.0), spectral_index=index))
    for j in np.flatnonzero(study.held & np.isfinite(study.per_bin)):
        events = base.per_bin[j] * share(base, j, 2.0)
        assert study.per_bin[j] == pytest.approx(events / share(study, j, index), rel=1e-7)
    assert study.settings.spectral_index == index


def test_the_energy_range_restricts_the_deciding_bin(pilots):
    whole = statistics_study(pilots, StudySettings(energy_range=(0.004, 330.0)))
    known = determined(whole)
    assert whole.record.deciding_bin == np.flatnonzero(known)[np.argmax(whole.per_bin[known])]
    for low, high in ((0.05, 1.0), (0.1, 0.7), (0.3, 5.0), (0.0631, 0.2512)):
        study = statistics_study(pilots, StudySettings(energy_range=(low, high)))
        inside = (study.edges[:-1] >= low * (1 - 1e-6)) & (study.edges[1:] <= high * (1 + 1e-6))
        np.testing.assert_array_equal(study.held, whole.held & inside)
        known = determined(study)
        assert study.record.deciding_bin == np.flatnonzero(known)[np.argmax(study.per_bin[known])]
        assert study.n_events == pytest.approx(study.per_bin[known].max(), rel=1e-12)


def test_quantities_are_taken(pilots):
    plain = statistics_study(pilots, StudySettings(energy_range=(0.1, 10.0), radius=1700.0, viewcone=9.0))
    united = statistics_study(
        pilots,
        StudySettings(energy_range=(100 * u.GeV, 10 * u.TeV), radius=1.7 * u.km, viewcone=np.radians(9.0) * u.rad),
    )
    assert united.n_events == pytest.approx(plain.n_events, rel=1e-9)


# ---------------------------------------------------------------- uses of a shower, by simulation


def test_design_effects_of_other_numbers_of_uses_are_those_of_showers_thrown_so(pilots):
    """
    Beta-binomial showers: mean probability .05, CV² 1.5, the pilot with 20 uses, the production with 1 to 60.

    D' from the pilot's D on the same disc within 3 % of what showers of n uses have
    (4 × 10^5 showers: statistical error below 1 %).
    """
    rng, mean, cv2, n_pilot = np.random.default_rng(9), 0.05, 1.5, 20
    total = (1 - mean) / (mean * cv2) - 1  # a + b of the beta law: CV² = (1 - P) / (P (a + b + 1))
    probability = rng.beta(mean * total, (1 - mean) * total, 400_000)

    def design(n):
        passes = rng.binomial(n, probability)
        k = passes.sum()
        p = k / (n * passes.size)
        return (np.sum(passes.astype(float) ** 2) - k**2 / passes.size) / (k * (1 - p))

    pilot = design(n_pilot)
    assert pilot == pytest.approx(1 + (n_pilot - 1) * mean * cv2 / (1 - mean), rel=0.03)
    record = replace(evaluate(pilots), n_use=n_pilot, thrown_area=np.pi * 500.0**2, design_effect=np.array([pilot]))
    for n in (1, 2, 5, 10, 60):
        from_pilot = disc_factors(record, 500.0, n_use=n)[0] * pilot
        assert from_pilot == pytest.approx(design(n), rel=0.03)


def test_uses_of_a_pilot_that_used_each_shower_once_are_refused(pilots):
    """Nothing is known of the second use; one use is allowed."""
    name = pilots.event_names[0]
    file, level = pilots.inputs.files[0]
    single = copy.copy(file)
    single.header = replace(file.header, n_use=1)
    assert single.n_use == 1
    files = ((single, level), *pilots.inputs.files[1:])
    own = replace(pilots, inputs=replace(pilots.inputs, files=files), plans={})
    with pytest.raises(ProdconfError, match="n_use must be 1"):
        statistics_study(own, StudySettings(pilot=name, n_use=5))
    assert statistics_study(own, StudySettings(pilot=name, n_use=1)).settings.n_use == 1


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("n_use", [1, 7])
def test_cost_by_hand(pilots, n_use):
    study = statistics_study(
        pilots, StudySettings(energy_range=(0.05, 80.0), n_use=n_use, cost=COST, spectral_index=2.3)
    )
    number = integrate.quad(lambda x: np.exp(-1.3 * x), *np.log([0.05, 80.0]))[0]
    mean = integrate.quad(lambda x: np.exp(-0.3 * x), *np.log([0.05, 80.0]))[0] / number
    showers = np.ceil(np.ceil(study.n_events) / n_use)
    assert study.cost.cpu_hours == pytest.approx(showers * (2 + 30 * mean + 0.5 * n_use) / 3600, rel=1e-6)
    assert study.cost.storage == pytest.approx(showers * n_use * 3000 / 1e9, rel=1e-9)
    assert study.cost.n_showers == showers
    same = statistics_study(
        pilots,
        StudySettings(
            energy_range=(0.05, 80.0), n_use=n_use, spectral_index=2.3, cost=CostModel(2.0, 30.0, 0.5, 3000.0)
        ),
    )
    assert same.cost.cpu_hours == study.cost.cpu_hours
    words = dict(row[:2] for row in study.table)
    assert words["CPU hours"]
    assert words["storage"].endswith("GB")


# ---------------------------------------------------------------- remarks and refusals


def test_what_is_cut_or_beyond_the_pilot_is_said(pilots):
    assert statistics_study(pilots).notes == ("The limits are those that all 2 sub-arrays of the plan need together.",)
    words = " ".join(
        statistics_study(pilots, StudySettings(energy_range=(0.02, 500.0), radius=100.0, viewcone=1.0)).sentences
    )
    assert "Energies below 0.02 TeV are cut" in words
    assert "No number follows: the radius of 100 and the viewcone of 1 cuts off more triggers than are known" in words
    assert "beyond it nothing is known" in words
    beyond = " ".join(statistics_study(pilots, StudySettings(radius=5000.0, viewcone=20.0)).sentences)
    assert "Beyond 1600 m the pilot threw nothing" in beyond
    assert "Beyond 8.5 deg the pilot threw nothing" in beyond


def test_a_range_without_a_bin_of_the_target_asks_for_nothing(pilots):
    for energies in ((100.0, 200.0), (0.5, 0.51)):
        study = statistics_study(pilots, StudySettings(energy_range=energies))
        assert not study.held.any()
        assert np.isnan(study.n_events)
        assert "nothing is asked" in " ".join(study.sentences)
        assert ("events", "not determined") in [row[:2] for row in study.table]
        assert study.figure.axes


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"target": 0.0}, "target"),
        ({"target": -0.1}, "target"),
        ({"target": np.nan}, "target"),
        ({"energy_range": (1.0, 1.0)}, "energy_range must increase"),
        ({"energy_range": (2.0, 1.0)}, "energy_range must increase"),
        ({"energy_range": (0.0, 1.0)}, "energy_range must increase"),
        ({"energy_range": (1.0, np.inf)}, "energy_range"),
        ({"energy_range": (1.0, "2 m")}, "energy_range"),
        ({"energy_range": (1.0 * u.m, 2.0)}, "energy_range"),
        ({"energy_range": 1.0}, "energy_range"),
        ({"energy_range": (1.0, 2.0, 3.0)}, "energy_range"),
        ({"radius": 0.0}, "radius must be above 0"),
        ({"radius": -5.0}, "radius must be above 0"),
        ({"radius": np.nan}, "radius"),
        ({"viewcone": 0.0}, "viewcone must be above 0"),
        ({"viewcone": 91.0}, "viewcone must be above 0"),
        ({"n_use": 0}, "n_use must be a whole number"),
        ({"n_use": 2.5}, "n_use must be a whole number"),
        ({"n_use": True}, "n_use"),
        ({"spectral_index": np.nan}, "spectral_index"),
        ({"spectral_index": 1000.0}, "spectral_index"),
        ({"spectral_index": -1000.0}, "spectral_index"),
        ({"cost": {"seconds": "1 s"}}, "unknown key"),
        ({"cost": {"seconds_per_shower": 1.0}}, "seconds_per_shower"),
        ({"cost": {}}, "must be positive"),
        ({"pilot": "nowhere"}, "pilot must be one of"),
    ],
    ids=str,
)
def test_bad_questions_are_refused_in_one_sentence(pilots, asked, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        statistics_study(pilots, StudySettings(**asked))
    assert "\n" not in str(caught.value)


def test_the_study_of_a_written_plan(sample, pilots, tmp_path):
    """The same numbers from files with another target, read from the start."""
    metrics = {
        "uncertainty_effective_area": {
            "target_error": {"value": 0.02},
            "energy_range": {"value": [0.05, 5.0], "unit": "TeV"},
        }
    }
    path = shared.changed(sample, tmp_path, metrics=metrics)
    name = pilots.event_names[2]
    row = row_of(plan_production(path), name)
    assert statistics_study(area_only(pilots), StudySettings(pilot=name, target=0.02)).n_events == pytest.approx(
        row["n_events"], rel=1e-12
    )
