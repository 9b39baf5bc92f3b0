"""Energy estimate, angular resolution, migration: against closed forms, simulated scatter, pyirf, a bootstrap."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from prodconf.core.errors import ProdconfError
from prodconf.events.dl2 import DL2File, DL2Header, write_dl2
from prodconf.formulas.energy_quantiles import BinnedQuantiles
from prodconf.precision import energy as module
from prodconf.precision.counts import count_events
from prodconf.precision.energy import (
    angular_resolution,
    energy_estimate,
    migration_uncertainty,
    quantile_uncertainty,
    required_events_bias,
)

B, SIGMA = 0.05, 0.15
TRUTH = {
    "bias": np.expm1(B),
    "resolution": np.exp(B) * np.sinh(ndtri(0.84) * SIGMA),
    "mean": np.expm1(B + SIGMA**2 / 2),
    "std": np.exp(B + SIGMA**2 / 2) * np.sqrt(np.expm1(SIGMA**2)),
}


def sums(bins, shower, r, n):
    """What `count_events` holds of events with errors r, summed plainly; showers are numbered across the bins."""
    m = np.bincount(shower).astype(float)
    place = np.zeros(m.size, int)
    place[shower] = bins
    x = np.minimum(r, 1)
    total, squares = np.bincount(shower, x), np.bincount(shower, x**2)

    def per_bin(values, where=place):
        return np.bincount(where, values, minlength=n)

    return SimpleNamespace(
        n_true=np.bincount(bins, minlength=n).astype(float),
        true=SimpleNamespace(sums=np.array([per_bin(m**q) for q in (1, 2, 3, 4)]), squares=per_bin(m)),
        ratio=BinnedQuantiles.from_values(bins, r + 1, n),
        error_sums=np.array([per_bin(r, bins), per_bin(r**2, bins)]),
        clipped_sums=np.array([per_bin(x, bins), per_bin(x**2, bins)]),
        pair_sums=np.array([per_bin(total**2 - squares), per_bin((m - 1) * total), per_bin(m * (m - 1))]),
    )


def experiments(rng, n, showers, *, uses=1, passed=1.0, correlation=0.0):
    """Make n experiments, one per bin, with log-normal energy errors."""
    place = np.repeat(np.arange(n), rng.poisson(showers, n))
    m = rng.binomial(uses, passed, place.size)
    place, m = place[m > 0], m[m > 0]
    shower = np.repeat(np.arange(m.size), m)
    noise = np.sqrt(correlation) * rng.standard_normal(m.size)[shower]
    noise += np.sqrt(1 - correlation) * rng.standard_normal(shower.size)
    return sums(place[shower], shower, np.expm1(B + SIGMA * noise), n)


def gaussian(rng, n, k):
    """Make n experiments with k independent Gaussian errors of width 0.1."""
    return sums(np.repeat(np.arange(n), k), np.arange(n * k), 0.1 * rng.standard_normal(n * k), n)


def write_toy(path, rng, *, n_bins, showers_per_bin, uses=10, passed=0.3, correlation=0.3, width_spread=0.0, runs=10):
    """Write a DL2 file with the errors of `experiments` in every energy bin and a Rayleigh point spread."""
    edges = np.geomspace(0.01, 100, n_bins + 1).astype(np.float32).astype(float)
    n = n_bins * showers_per_bin
    energy = np.exp(rng.uniform(np.log(0.01), np.log(100), n)).astype(np.float32).astype(float)
    energy = energy.clip(edges[0], edges[-1])
    s = np.repeat(np.arange(n), rng.binomial(uses, passed, n))
    noise = np.sqrt(correlation) * rng.standard_normal(n)[s] + np.sqrt(1 - correlation) * rng.standard_normal(s.size)
    width = 0.1 * np.exp(width_spread * rng.standard_normal(n))[s]
    theta = width * np.sqrt(-2 * np.log1p(-rng.random(s.size)))
    altitude = np.full(n, 70.0)[s]
    offset_altitude = 70 + 2 * np.sqrt(rng.random(n))[s]  # fills the cone for all that matters here
    write_dl2(
        path,
        DL2Header(n // runs, uses, 500.0, 2.0, edges[0], edges[-1], -1.0, zenith=20.0, azimuth=0.0),
        energy_edges=edges,
        n_simulated=uses * np.histogram(energy, edges)[0],
        run=rng.integers(1, runs + 1, n)[s],
        energy_true=energy[s],
        energy_reco=energy[s] * np.exp(B + SIGMA * noise),
        azimuth_true=0 * altitude,
        altitude_true=offset_altitude,
        azimuth_reco=0 * altitude,
        altitude_reco=offset_altitude - theta,
    )
    return DL2File(path)


def columns(file, *names):
    """Columns of all chunks of a file."""
    chunks = list(file.chunks())
    return [np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Return a file whose 300 bins are experiments with re-used showers."""
    path = tmp_path_factory.mktemp("energy") / "toy.fits"
    return write_toy(path, np.random.default_rng(5), n_bins=300, showers_per_bin=100, width_spread=0.3)


# Closed forms


def test_standard_errors_of_a_gaussian():
    """The errors in units of sigma / sqrt(k) are 1, 1.253, 0.707, and 0.959 for half of the central 68 %."""
    estimate = energy_estimate(gaussian(np.random.default_rng(1), 20, 20_000))
    unit = 0.1 / np.sqrt(20_000)
    density = np.exp(-(ndtri(0.84) ** 2) / 2) / np.sqrt(2 * np.pi)
    half68 = np.sqrt(0.16 * 0.68 / 2) / density
    assert half68 == pytest.approx(0.9586, abs=1e-4)
    expected = {"mean": 1.0, "bias": np.sqrt(np.pi / 2), "std": np.sqrt(0.5), "resolution": half68}
    for name, value in expected.items():
        assert np.mean(getattr(estimate, f"{name}_uncertainty")) / unit == pytest.approx(value, rel=0.015), name


def test_resolution_at_one_sigma_is_0_962():
    """The known 0.962 is the covariance formula at the quantiles of one sigma."""
    p, density = ndtr(-1), np.exp(-0.5) / np.sqrt(2 * np.pi)
    assert np.sqrt(p * (1 - 2 * p) / 2) / density == pytest.approx(0.962, abs=5e-4)


def test_r68_of_a_gaussian_point_spread():
    """The error of R68 is 0.640 R68 / sqrt(k)."""
    rng = np.random.default_rng(2)
    theta = BinnedQuantiles.from_values(
        np.repeat(np.arange(20), 20_000), 0.1 * np.sqrt(-2 * np.log1p(-rng.random(400_000))), 20
    )
    relative = quantile_uncertainty(theta, 0.68) / theta.quantile(0.68) * np.sqrt(20_000)
    assert np.mean(relative) == pytest.approx(0.640, rel=0.015)


def test_error_grows_with_the_root_of_the_design_effect():
    """The interval of probability does not depend on the design effect."""
    ratio = gaussian(np.random.default_rng(3), 4, 1000).ratio
    once = quantile_uncertainty(ratio, 0.5)
    assert quantile_uncertainty(ratio, 0.5, design_effect=[1, 4, 9, 16]) == pytest.approx(once * [1, 2, 3, 4])


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.16, 0.84), (0.16, 0.16), (0.3, 0.7)])
def test_covariance_of_a_pair_is_that_of_a_bivariate_normal(p, q):
    """Plackett's integral agrees with scipy's two-dimensional distribution function."""
    rho = np.array([0.05, 0.3, 0.7, 0.95])
    corners = [multivariate_normal.cdf([ndtri(p), ndtri(q)], cov=[[1, r], [r, 1]]) - p * q for r in rho]
    assert module._pair_covariance(rho, p, q) == pytest.approx(corners, abs=1e-6)


def test_required_events_in_closed_form():
    """k = (1.253 sigma / delta)^2 passes of independent events with Gaussian errors."""
    estimate = energy_estimate(gaussian(np.random.default_rng(4), 20, 20_000))
    required, variance = required_events_bias(estimate, np.full(20, 80_000.0), 0.001)
    assert np.mean(required) / 4 == pytest.approx(np.pi / 2 * (0.1 / 0.001) ** 2, rel=0.03)
    assert np.std(required) / np.mean(required) == pytest.approx(np.sqrt(np.mean(variance)), rel=0.5)


# Monte Carlo


CASES = {
    "independent": {"showers": 400},
    "many": {"showers": 3000},
    "re-used": {"showers": 200, "uses": 5, "passed": 0.3, "correlation": 0.3},
    "re-used much": {"showers": 100, "uses": 10, "passed": 0.5, "correlation": 0.3},
    "alike": {"showers": 100, "uses": 10, "passed": 0.5, "correlation": 0.6},
}


@pytest.mark.parametrize("case", CASES)
def test_pulls_are_standard_normal(case):
    """The pulls of bias, resolution and mean have a width of 1 within 8 %, with and without re-use."""
    n = 300 if case == "many" else 1000
    estimate = energy_estimate(experiments(np.random.default_rng(6), n, **CASES[case]))
    for name in ("bias", "resolution", "mean", "std"):
        pull = (getattr(estimate, name) - TRUTH[name]) / getattr(estimate, f"{name}_uncertainty")
        assert np.std(pull) == pytest.approx(1, abs=0.12 if name == "std" else 0.08), name
        assert abs(np.mean(pull)) < 0.3


@pytest.mark.parametrize("case", CASES)
def test_noise_of_the_required_number(case):
    """The relative variance that is given is that of the simulated numbers, within 20 % of its root."""
    n = 300 if case == "many" else 1000
    counts = experiments(np.random.default_rng(7), n, **CASES[case])
    estimate = energy_estimate(counts)
    required, variance = required_events_bias(estimate, np.full(n, 1e4), 0.01)
    assert np.std(np.log(required)) == pytest.approx(np.sqrt(np.mean(variance)), rel=0.2)
    assert np.mean(required) == pytest.approx(1e4 * np.var(estimate.bias) / 0.01**2, rel=0.2)


def test_correlation_is_found_without_bias():
    """Few showers do not pull the correlation down, although the mean follows them."""
    for correlation in (0.2, 0.3, 0.5):
        counts = experiments(np.random.default_rng(8), 1000, 30, uses=10, passed=0.5, correlation=correlation)
        found = energy_estimate(counts).intra_shower_correlation
        assert np.mean(found) == pytest.approx(correlation, abs=0.03)


def test_bins_with_few_pairs_take_the_correlation_of_all():
    """Four pairs say nothing of a correlation; a bin without re-use has none."""
    rng = np.random.default_rng(17)
    counts = experiments(rng, 50, 100, uses=10, passed=0.5, correlation=0.3)
    common = energy_estimate(counts).intra_shower_correlation
    counts.pair_sums = counts.pair_sums * np.where(np.arange(50) == 7, 8 / counts.pair_sums[2], 1)
    few = energy_estimate(counts)
    others = np.arange(50) != 7
    assert few.intra_shower_correlation[others] == pytest.approx(common[others])
    assert few.intra_shower_correlation[7] == pytest.approx(np.mean(common), abs=0.01)
    assert few.bias_uncertainty[7] > 1.1 * quantile_uncertainty(counts.ratio, 0.5)[7]
    alone = energy_estimate(experiments(rng, 5, 100, uses=1, correlation=0.3))
    assert np.array_equal(alone.intra_shower_correlation, np.zeros(5))


# Files


def test_sums_of_a_file_agree_with_plain_sums(toy):
    """The estimate from `count_events` is that from the listed events."""
    true, reco, key = columns(toy, "energy_true", "energy_reco", "shower")
    bins = np.searchsorted(toy.energy_edges, true, side="right") - 1
    keep = (bins >= 0) & (bins < 300)
    shower = np.unique(key[keep], return_inverse=True)[1]
    plain = energy_estimate(sums(bins[keep], shower, reco[keep] / true[keep] - 1, 300))
    found = energy_estimate(count_events(toy))
    for name in found.__dataclass_fields__:
        assert getattr(found, name)[:-1] == pytest.approx(getattr(plain, name)[:-1], rel=1e-5, abs=1e-6), name
    weighted = energy_estimate(count_events(toy, index=2.5))
    assert weighted.n_effective == pytest.approx(found.n_effective, rel=0.02)


def test_pulls_from_a_file(toy):
    """Bias and resolution of a file with re-used showers have pulls of width 1."""
    estimate = energy_estimate(count_events(toy))
    assert np.mean(estimate.intra_shower_correlation) == pytest.approx(0.3, abs=0.02)
    for name in ("bias", "resolution"):
        pull = (getattr(estimate, name) - TRUTH[name]) / getattr(estimate, f"{name}_uncertainty")
        assert np.std(pull) == pytest.approx(1, abs=0.13)


def test_pulls_of_the_angular_resolution(toy):
    """Showers of different point spread are a design effect, which is found; the pulls have a width of 1."""
    found = angular_resolution(toy, toy.energy_edges)
    rng = np.random.default_rng(9)
    many = 0.1 * np.exp(0.3 * rng.standard_normal(10**6)) * np.sqrt(-2 * np.log1p(-rng.random(10**6)))
    pull = (found.r68 - np.quantile(many, 0.68)) / found.uncertainty
    assert np.std(pull) == pytest.approx(1, abs=0.13)
    assert abs(np.mean(pull)) < 0.25
    assert np.mean(found.design_effect) > 1.25
    naive = np.mean(0.640 * found.r68 / np.sqrt(found.n_events))
    assert np.std(found.r68) > 1.15 * naive


def test_angles_counted_in_cells_and_a_part_of_the_showers(toy, monkeypatch):
    """Files too long to be kept give the same within the width of a cell and the noise of the part."""
    edges = toy.energy_edges[::60]
    kept = angular_resolution(toy, edges)
    monkeypatch.setattr(module, "_MANY_ANGLES", 1000)
    monkeypatch.setattr(module, "_PART", 4000)
    counted = angular_resolution(toy, edges)
    assert np.array_equal(counted.n_events, kept.n_events)
    assert counted.r68 == pytest.approx(kept.r68, rel=1e-3)
    assert counted.design_effect == pytest.approx(kept.design_effect, abs=0.12)
    assert not np.array_equal(counted.design_effect, kept.design_effect)


def test_chunks_do_not_matter(toy):
    """A shower whose uses lie in two chunks is one shower."""
    whole = angular_resolution(toy, toy.energy_edges)
    small = SimpleNamespace(n_events=toy.n_events, chunks=lambda: DL2File.chunks(toy, 1009))
    pieces = angular_resolution(small, toy.energy_edges)
    assert pieces.design_effect == pytest.approx(whole.design_effect)
    assert np.array_equal(pieces.r68, whole.r68)


def test_angular_resolution_without_events(tmp_path):
    """Bins without events are undetermined."""
    file = write_toy(tmp_path / "few.fits", np.random.default_rng(10), n_bins=10, showers_per_bin=20)
    found = angular_resolution(file, [1e-4, 1e-3, 0.1, 200.0])
    assert found.n_events[0] == 0
    assert np.isnan(found.r68[0])
    assert np.isnan(found.uncertainty[0])
    assert np.isfinite(found.uncertainty[1:]).all()


def test_pyirf_agrees(toy):
    """The median is pyirf's bias, the quantiles at one sigma its resolution, 0.68 its containment when asked for."""
    pytest.importorskip("pyirf")
    from astropy import units as u
    from astropy.table import QTable
    from pyirf.benchmarks import angular_resolution as pyirf_angular_resolution
    from pyirf.benchmarks import energy_bias_resolution

    true, reco, theta = columns(toy, "energy_true", "energy_reco", "direction_error")
    events = QTable({"true_energy": true * u.TeV, "reco_energy": reco * u.TeV, "theta": np.rad2deg(theta) * u.deg})
    edges = toy.energy_edges * u.TeV
    theirs = energy_bias_resolution(events, edges)
    counts = count_events(toy)
    ours = energy_estimate(counts)
    resolution = (counts.ratio.quantile(ndtr(1)) - counts.ratio.quantile(ndtr(-1))) / 2
    inner = slice(0, -1)  # the upper end belongs to our last bin
    assert np.array_equal(ours.n_events[inner], theirs["n_events"][inner])
    assert ours.bias[inner] == pytest.approx(np.asarray(theirs["bias"])[inner], rel=0, abs=1e-14)
    assert resolution[inner] == pytest.approx(np.asarray(theirs["resolution"])[inner], rel=0, abs=1e-14)
    angle = pyirf_angular_resolution(events, edges, quantile=[0.68])["angular_resolution_68"].to_value("deg")
    assert angular_resolution(toy, toy.energy_edges).r68[inner] == pytest.approx(angle[inner], rel=1e-12)


@pytest.mark.parametrize("zenith", [20, 40, 60])
def test_bootstrap_of_showers_of_real_files(shared_data, zenith):
    """Standard errors of real energy errors agree with a bootstrap of whole showers, on average over the bins."""
    name = f"prod6_LaPalma-{zenith}deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits"
    file = DL2File(shared_data / "dl2" / name, offset_max=1, simulated_fraction="runs")
    estimate = energy_estimate(count_events(file))
    true, reco, key = columns(file, "energy_true", "energy_reco", "shower")
    rng, ratios = np.random.default_rng(11), []
    bins = np.searchsorted(file.energy_edges, true, side="right") - 1
    for j in np.flatnonzero((estimate.n_events >= 50) & np.isfinite(estimate.bias_uncertainty)):
        r, shower = (reco / true - 1)[bins == j], np.unique(key[bins == j], return_inverse=True)[1]
        groups = np.split(np.argsort(shower, kind="stable"), np.cumsum(np.bincount(shower))[:-1])
        drawn = []
        for _ in range(200):
            rows = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
            drawn.append(np.quantile(r[rows], [0.16, 0.5, 0.84]))
        low, median, high = np.array(drawn).T
        ratios.append([estimate.bias_uncertainty[j] / np.std(median)])
        ratios[-1].append(estimate.resolution_uncertainty[j] / np.std((high - low) / 2))
    bias, resolution = np.exp(np.mean(np.log(ratios), axis=0))
    assert len(ratios) >= 5
    assert bias == pytest.approx(1, abs=0.15)
    assert resolution == pytest.approx(1, abs=0.2)


# What is not known


def test_undetermined_bins():
    """No events: no values. Fewer than 20 events, or a few showers used often: values without errors."""
    rng = np.random.default_rng(12)
    sizes = [0, 1, 19, 40, 40]
    bins = np.repeat(np.arange(5), sizes)
    shower = np.concatenate([np.arange(20), np.repeat(20, 40), 21 + np.arange(40)])
    estimate = energy_estimate(sums(bins, shower, 0.1 * rng.standard_normal(100), 5))
    assert np.array_equal(np.isnan(estimate.bias), [True, False, False, False, False])
    assert np.array_equal(np.isnan(estimate.std), [True, True, False, False, False])
    for name in ("bias", "resolution", "mean", "std"):
        undetermined = np.isnan(getattr(estimate, f"{name}_uncertainty"))
        assert np.array_equal(undetermined, [True, True, True, True, False]), name
    required, variance = required_events_bias(estimate, np.full(5, 1000.0), 0.01)
    assert np.array_equal(np.isnan(required), [True, True, True, True, False])
    assert np.array_equal(np.isnan(variance), np.isnan(required))
    assert np.array_equal(estimate.design_effect[[0, 1, 2, 4]], np.ones(4))


def test_nothing_thrown_is_undetermined():
    """A bin without thrown events asks for nothing, rather than for zero."""
    estimate = energy_estimate(gaussian(np.random.default_rng(13), 2, 100))
    required, variance = required_events_bias(estimate, [0, 100], [0.01, 0.02])
    assert np.isnan(required[0])
    assert np.isnan(variance[0])
    assert np.isfinite([required[1], variance[1]]).all()


def test_quantile_beyond_the_sample_has_no_error():
    """One value in a hundred cannot tell the quantile 0.001."""
    ratio = gaussian(np.random.default_rng(14), 2, 100).ratio
    assert np.isnan(quantile_uncertainty(ratio, 0.001)).all()
    assert np.isfinite(quantile_uncertainty(ratio, 0.05)).all()


# Migration


def test_migration_is_multinomial():
    """Shares and errors are those of simulated experiments; rows add up to one."""
    rng = np.random.default_rng(15)
    truth = np.array([[0.1, 0.6, 0.25, 0.05], [0.0, 0.2, 0.7, 0.1]])
    drawn = np.array([[rng.multinomial(500, row) for row in truth] for _ in range(4000)])
    fractions, sigma = migration_uncertainty(500 * truth)
    assert fractions == pytest.approx(truth)
    assert fractions.sum(axis=1) == pytest.approx(1)
    assert sigma == pytest.approx(np.std(drawn / 500, axis=0), rel=0.05)


def test_migration_of_an_empty_row_is_undetermined():
    """A row without events has no shares."""
    fractions, sigma = migration_uncertainty([[0, 0, 0, 0], [0, 1, 3, 0]])
    assert np.isnan(fractions[0]).all()
    assert np.isnan(sigma[0]).all()
    assert fractions[1] == pytest.approx([0, 0.25, 0.75, 0])


# Bad input


@pytest.mark.parametrize("target", [np.nan, -0.01, 0.0, np.inf, "small", [0.01, 0.02, 0.03]])
def test_bad_targets(target):
    """A target is one positive number, or one per bin."""
    estimate = energy_estimate(gaussian(np.random.default_rng(16), 2, 30))
    with pytest.raises(ProdconfError, match="target must be"):
        required_events_bias(estimate, [100, 100], target)


@pytest.mark.parametrize("thrown", [[100], [100, -1], [100, np.nan], 100, [[100, 100]]])
def test_bad_thrown_events(thrown):
    """Thrown events are one count per bin."""
    estimate = energy_estimate(gaussian(np.random.default_rng(16), 2, 30))
    with pytest.raises(ProdconfError, match="n_simulated must"):
        required_events_bias(estimate, thrown, 0.01)


@pytest.mark.parametrize("probability", [0, 1, -0.1, np.nan, "median"])
def test_bad_probabilities(probability):
    """A quantile lies inside of the sample."""
    with pytest.raises(ProdconfError, match="probability must"):
        quantile_uncertainty(gaussian(np.random.default_rng(16), 2, 30).ratio, probability)


@pytest.mark.parametrize("design_effect", [0, -1, np.nan, [1, 2, 3], [[1, 2]]])
def test_bad_design_effects(design_effect):
    """A design effect is positive, one or one per bin."""
    with pytest.raises(ProdconfError, match="design_effect must"):
        quantile_uncertainty(gaussian(np.random.default_rng(16), 2, 30).ratio, 0.5, design_effect=design_effect)


@pytest.mark.parametrize("migration", [np.ones((3, 3)), np.ones(4), [[1, -1, 0]], [[1, np.nan, 0]]])
def test_bad_migration(migration):
    """A migration matrix has two columns more than rows, and holds counts."""
    with pytest.raises(ProdconfError, match="migration must"):
        migration_uncertainty(migration)


@pytest.mark.parametrize("edges", [[1.0], [1, 1], [2, 1], [0, 1], [np.nan, 1], [[1, 2]]])
def test_bad_energy_edges(toy, edges):
    """Edges are increasing energies."""
    with pytest.raises(ProdconfError, match="energy_edges must"):
        angular_resolution(toy, edges)
