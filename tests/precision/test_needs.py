"""Needs of every bin: against the numbers of a pilot, closed forms, and simulated pilots and productions."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prodconf.core.errors import ProdconfError
from prodconf.events.dl2 import DL2File
from prodconf.formulas.power_law import integral
from prodconf.precision.needs import PilotBins, ThrownRanges, needs_at, pilot_bins, sure_factor, with_left_out
from prodconf.precision.pilots import disc_factors, pilot_statistics
from prodconf.precision.targets import BinTargets, Metric, Metrics
from prodconf.sky.interpolation import PilotPoints, grid_weights

TARGET = Metric(target=0.05, energy_min=0.05, energy_max=3.0, description="")


@pytest.fixture(scope="module")
def pilots(small_sample):
    files = [DL2File(path) for path in sorted(small_sample.folder.glob("*.dl2.fits*"))]
    return [pilot_statistics(file, TARGET, nsb_level=0.24) for file in files]


def weights_of(pilots, zenith):
    points = PilotPoints([p.zenith for p in pilots], [p.azimuth for p in pilots], [0.24] * len(pilots))
    zenith = np.atleast_1d(np.asarray(zenith, dtype=float))
    return grid_weights(points, zenith, np.zeros_like(zenith), np.full_like(zenith, 0.24))


def needs(pilots, zenith, bins=None, **changes):
    size = np.size(zenith)
    given = {"energy_min": np.full(size, 0.001), "energy_max": np.full(size, 1000.0), "radius": 1000.0, "viewcone": 5.0}
    confidence = changes.pop("confidence", 0.95)
    thrown = ThrownRanges(**given | changes)
    return needs_at(
        pilot_bins(pilots) if bins is None else bins, weights_of(pilots, zenith), thrown, confidence=confidence
    )


def synthetic(counts, target=0.05, n_use=1, design=1.0):
    """One pilot that knows some effective events in each bin."""
    counts = np.atleast_2d(counts).astype(float)
    pilots = tuple(
        SimpleNamespace(zenith=20.0 + 20 * i, azimuth=0.0, n_use=n_use, thrown_area=1e6, source=f"pilot {i}", index=2.0)
        for i in range(len(counts))
    )
    full = np.ones_like(counts)
    edges = np.geomspace(0.1, 10, counts.shape[1] + 1)
    return PilotBins(pilots, edges, full, counts, full / target**2, design * full, counts, 0 * full, full > 0)


# --- the promise ------------------------------------------------------------------------------------------------------
@given(
    k=st.floats(0.5, 1e6), target=st.floats(0.002, 0.5), confidence=st.floats(0.5, 0.999), n_bins=st.integers(1, 100)
)
def test_the_factor_is_a_quantile_of_f(k, target, confidence, n_bins):
    found = float(sure_factor(k, target**-2, confidence=confidence, n_bins=n_bins))
    wanted = stats.f.ppf(confidence ** (1 / n_bins), 2 / target**2, 2 * k)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_factor_falls_with_the_pilot_and_rises_with_the_bins():
    k = np.array([1.0, 10.0, 100.0, 1e4])
    assert (np.diff(sure_factor(k, 2500.0)) < 0).all()
    assert sure_factor(100.0, 2500.0, n_bins=20) > sure_factor(100.0, 2500.0) > 1
    assert sure_factor(100.0, np.inf) < sure_factor(100.0, 400.0)  # without the scatter of the production
    assert sure_factor(0.0, 400.0) == np.inf


@pytest.mark.parametrize(("k", "target", "n_bins"), [(20, 0.05, 1), (60, 0.02, 8), (300, 0.1, 30)])
def test_the_promise_is_kept(k, target, n_bins):
    """Poisson pilots and productions; every bin of a production must reach the effective events asked for."""
    rng, aim = np.random.default_rng(7), target**-2
    pilot = np.maximum(rng.poisson(k, (8000, n_bins)), 1)
    thrown = aim / pilot * sure_factor(pilot, aim, n_bins=n_bins)
    kept = (rng.poisson(k * thrown) >= aim - 1).all(axis=1).mean()
    assert 0.94 < kept < 0.985


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((-1.0, 100.0), "n_effective"),
        ((np.nan, 100.0), "n_effective"),
        ((10.0, 0.0), "wanted"),
        ((10.0, np.nan), "wanted"),
    ],
)
def test_wrong_counts_are_refused(arguments, word):
    with pytest.raises(ProdconfError, match=word):
        sure_factor(*arguments)
    with pytest.raises(ProdconfError, match="confidence"):
        sure_factor(10.0, 100.0, confidence=1.0)


# --- bins at pointings ------------------------------------------------------------------------------------------------
def test_needs_are_density_times_disc_cone_and_spectrum(pilots):
    found, bins = needs(pilots, [p.zenith for p in pilots]), pilot_bins(pilots)
    cone = 2 * np.pi * (1 - np.cos(np.deg2rad(5.0)))
    for i, pilot in enumerate(pilots):
        grown, checked = disc_factors(pilot, 1000.0), 0
        for j, pair in enumerate(zip(pilot.energy_edges[:-1], pilot.energy_edges[1:], strict=True)):
            a = int(np.argmin(np.abs(np.log(bins.edges[:-1] / pair[0]))))
            if not np.allclose(bins.edges[a : a + 2], pair, rtol=1e-5):
                continue
            density = pilot.density[j] if pilot.requested[j] else 0.0
            wanted = density * integral(*pair, pilot.index) * grown[j] * np.pi * 1000.0**2 * cone
            np.testing.assert_allclose(found.events[i, a], np.nan_to_num(wanted), rtol=1e-5)
            assert found.blind[i, a] == (pilot.requested[j] and np.isnan(pilot.density[j]))
            checked += 1
        assert checked > 15


def test_between_pilots_needs_are_read_at_equal_energies_over_threshold():
    """Needs of the same shape, moved along the energy and scaled: closed form between two pilots."""
    edges = np.geomspace(0.01, 100, 81)
    centre, threshold = np.sqrt(edges[1:] * edges[:-1]), np.array([0.1, 1.0])

    def shape(energy):
        return 1 + (1 / energy) ** 3

    per_area = np.array([[1.0], [4.0]]) * shape(centre / threshold[:, None])
    flat = synthetic(np.full((2, 80), 1e4))
    bins = dataclasses.replace(flat, edges=edges, per_area=per_area, threshold=threshold)
    pilots, zenith = list(bins.pilots), 30.0
    share = np.asarray(weights_of(pilots, zenith).matrix.toarray())[0]
    found = needs(pilots, zenith, bins=bins)
    scale, moved = 4.0 ** share[1], threshold[0] ** share[0] * threshold[1] ** share[1]
    inside = (centre * threshold.min() / moved > centre[0]) & (centre * threshold.max() / moved < centre[-1])
    ratio = found.events[0] / found.etendue[0] / (scale * shape(centre / moved))
    assert inside.sum() > 30
    np.testing.assert_allclose(ratio[inside], 1, rtol=0.01)  # linear between the centres of bins
    equal = needs(pilots, zenith, bins=dataclasses.replace(bins, threshold=None)).events[0] / found.events[0]
    near = (centre > 0.5 * moved) & (centre < moved)
    assert (equal[near] > 1.3).all()  # too high near the threshold, as with real pilots
    sigma = np.sqrt(found.doubt.between[0][inside])
    np.testing.assert_allclose(sigma, np.sqrt(share.prod() / 4) * np.log(4), rtol=0.02)
    assert (found.doubt.between[0][~inside] > 0).all()


def test_the_error_of_interpolation_is_measured_on_pilots_between_others():
    """Three pilots whose needs bend by a known amount in ln sec zenith."""
    bins = synthetic(np.full((3, 10), 1e8))
    level = np.array([0.0, 1.5, 2.0])
    bins = dataclasses.replace(bins, per_area=np.exp(level)[:, None] * np.ones(10))
    points = PilotPoints([p.zenith for p in bins.pilots], [0.0] * 3, [0.24] * 3)
    place = np.log(1 / np.cos(np.deg2rad([20.0, 40.0, 60.0])))
    share = (place[1] - place[0]) / (place[2] - place[0])
    wanted = (1.5 - 2.0 * share) ** 2 / (share * (1 - share) * 2.0**2)
    np.testing.assert_allclose(with_left_out(bins, points).between, wanted, rtol=1e-4)
    two = PilotPoints([20.0, 60.0], [0.0] * 2, [0.24] * 2)
    pair = synthetic(np.full((2, 10), 1e8))
    assert with_left_out(pair, two).between == pair.between  # nobody stands between others


def test_bins_beyond_the_energies_are_not_held(pilots):
    found = needs(pilots, pilots[0].zenith, energy_min=[0.2], energy_max=[1.0])
    touched = (found.edges[1:] > 0.2001) & (found.edges[:-1] < 0.9999)
    assert found.held[0][touched].all()
    assert not found.held[0][~touched].any()
    assert not found.events[0][~touched].any()
    cut = needs(pilots, pilots[0].zenith, energy_min=[found.edges[touched.argmax()] * 1.1], energy_max=[0.9])
    np.testing.assert_array_equal(cut.held, found.held)  # a bin that is thrown in part is held as a whole


def test_uses_and_discs_change_the_design_effect(pilots):
    bins, zenith = pilot_bins(pilots), pilots[0].zenith
    first = int(np.argmin(np.abs(pilots[0].energy_edges - bins.edges[0])))
    own = slice(first, first + bins.edges.size - 1)
    for uses, radius in ((1, 1000.0), (20, 1000.0), (5, 400.0)):
        found = needs(pilots, zenith, radius=radius, n_use=uses)
        base = needs(pilots, zenith, radius=1000.0, n_use=5)
        ratio = found.passed[0] / base.passed[0]
        wanted = disc_factors(pilots[0], radius, n_use=uses)[own] / disc_factors(pilots[0], 1000.0)[own]
        known = np.isfinite(ratio)
        np.testing.assert_allclose(ratio[known], wanted[known], rtol=1e-12)
    with pytest.raises(ProdconfError, match="n_use must be 1"):
        needs(list(synthetic([[9, 9]]).pilots), 20.0, bins=synthetic([[9, 9]]), n_use=5)


def test_replicas_scatter_as_the_counts():
    bins = synthetic([[25, 100, 400]])
    found = needs(list(bins.pilots), 20.0, bins=bins)
    logs = np.log([one[0] / found.events[0] for one in found.replicas(np.random.default_rng(1), 4000)])
    np.testing.assert_allclose(logs.std(axis=0), 1 / np.sqrt([25, 100, 400]), rtol=0.06)
    halfway = synthetic([[100], [100]])
    found = needs(list(halfway.pilots), 30.0, bins=halfway)
    logs = np.log([one[0] / found.events[0] for one in found.replicas(np.random.default_rng(1), 4000)])
    share = np.asarray(weights_of(list(halfway.pilots), 30.0).matrix.toarray())[0]
    np.testing.assert_allclose(logs.std(), 0.1 * np.sqrt((share**2).sum()), rtol=0.06)


def test_more_pilots_bring_the_promise_closer():
    bins = synthetic([[10, 40, 90]])
    found = needs(list(bins.pilots), 20.0, bins=bins)
    np.testing.assert_allclose(found.sure_with(1.0), found.sure)
    np.testing.assert_allclose(
        found.sure_with(4.0)[0] / found.events[0], sure_factor(4 * bins.n_effective[0], 400.0, n_bins=3)
    )


def test_a_bin_bends_with_the_spectrum_it_is_thrown_with(pilots):
    found, bins = needs(pilots, pilots[0].zenith), pilot_bins(pilots)
    np.testing.assert_allclose(found.bend(2.0), 1.0, rtol=1e-12)
    j, gamma = 8, 3.2
    slope = (weights_of(pilots, pilots[0].zenith).matrix @ bins.slope)[0, j]
    energy = np.geomspace(*bins.edges[j : j + 2], 10_001)
    means = [np.trapezoid(energy ** (slope - g), energy) / np.trapezoid(energy**-g, energy) for g in (2.0, gamma)]
    np.testing.assert_allclose(found.bend(gamma)[0, j], means[0] / means[1], rtol=1e-6)
    assert abs(slope) > 0.3


def test_less_is_promised_on_smaller_discs_of_reused_showers():
    """What is not known of the design effect weighs more there; showers that are used once have none."""
    for n_use, design, factor in ((1, 1.0, 1.0), (10, 1.1, 1.2)):
        bins = synthetic([[30, 30]], n_use=n_use, design=design)
        raised = [
            found.sure[0] / found.events[0]
            for found in (needs(list(bins.pilots), 20.0, bins=bins, radius=radius) for radius in (564.19, 100.0))
        ]
        assert (raised[1] >= raised[0] * factor * (1 - 1e-6)).all()
        own = raised[0] / sure_factor(30.0, 400.0, n_bins=2) - 1
        assert (np.abs(own) < 1e-12).all() if n_use == 1 else ((own > 0) & (own < 0.002)).all()


# --- targets ----------------------------------------------------------------------------------------------------------
def test_targets_per_bin_scale_the_needs(pilots):
    flat, zenith = needs(pilots, pilots[0].zenith), pilots[0].zenith
    edges = [f"{edge!r} TeV" for edge in flat.edges.tolist()]
    looser = {"edges": edges, "uncertainty": [0.1] * (len(edges) - 1)}
    bins = pilot_bins(pilots, targets=BinTargets(per_bin=looser))
    held = flat.events[0] > 0
    np.testing.assert_allclose(needs(pilots, zenith, bins=bins).events[0][held], flat.events[0][held] / 4, rtol=1e-9)
    some = {"edges": edges, "uncertainty": [0.1 if 5 <= j < 9 else None for j in range(len(edges) - 1)]}
    found = needs(pilots, zenith, bins=pilot_bins(pilots, targets=BinTargets(per_bin=some)))
    assert np.flatnonzero(found.held[0]).tolist() == [5, 6, 7, 8]


def test_targets_per_bin_stand_alone(small_sample):
    file = DL2File(sorted(small_sample.folder.glob("*.dl2.fits*"))[0])
    looser = BinTargets(per_bin={"edges": ["0.1 TeV", "1 TeV"], "uncertainty": [0.1]})
    both = Metrics(uncertainty_effective_area=TARGET, energy_estimate=TARGET)
    with pytest.raises(ProdconfError, match="targets per bin must stand alone"):
        pilot_bins([pilot_statistics(file, both)], targets=looser)
