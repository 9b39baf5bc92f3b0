"""The two models against published anchors, direct integration, a second implementation and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr

from prodconf.core.errors import ProdconfError
from prodconf.sky.shower_frame import angular_distance, core_distance, shower_to_ground
from prodconf.toys.models import (
    NSB_DARK,
    TELESCOPES,
    ArrayModel,
    Reconstruction,
    Throw,
    ToyModel,
    Uses,
    at_least,
    camera_acceptance,
    reconstruct,
    simulate,
    union_loss,
)


def test_anchor_of_the_closed_form():
    limits = ToyModel().limits(1e-3)
    assert limits.lower_energy == pytest.approx(0.0030569973, abs=5e-11)
    assert limits.upper_radius == pytest.approx(903.06, abs=0.005)
    assert np.degrees(limits.viewcone) == pytest.approx(7.5388, abs=5e-5)
    assert union_loss(1e-3) == pytest.approx(1 - 0.999**3, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    index=st.floats(1.0, 3.0),
    slope=st.floats(0.5, 3.0),
    loss=st.floats(1e-5, 0.03),
)
def test_limits_lose_what_they_should(index, slope, loss):
    model = ToyModel(Throw(index=index), slope=slope)
    limit = model.limits(loss)

    def spectrum(log_energy):
        return np.exp(log_energy * (1 - index)) * min(1.0, np.exp(log_energy) / 0.03) ** slope

    def integral(low, high):
        return quad(spectrum, np.log(low), np.log(high), epsabs=0, epsrel=1e-11, limit=200)[0]

    whole = integral(0.003, 0.03) + integral(0.03, 330)
    assert integral(0.003, limit.lower_energy) / whole == pytest.approx(loss, rel=1e-6)
    radial = quad(lambda r: r * np.exp(-((r / 350) ** 2)), limit.upper_radius, 1000)[0]
    assert radial / quad(lambda r: r * np.exp(-((r / 350) ** 2)), 0, 1000)[0] == pytest.approx(loss, rel=1e-6)
    mu = 1 - np.cos(np.radians(3))
    cone = np.radians(8)

    def ring(t):
        return np.sin(t) * np.exp(-(1 - np.cos(t)) / mu)

    assert quad(ring, limit.viewcone, cone)[0] / quad(ring, 0, cone)[0] == pytest.approx(loss, rel=1e-5)


def test_an_energy_limit_above_the_break_is_refused():
    with pytest.raises(ProdconfError, match="below break_energy"):
        ToyModel().energy_limit(0.9)


def test_limits_and_design_effect_of_simulated_showers():
    """About 1e6 triggers: tails within four standard deviations, sum m^2 / sum m at the closed form."""
    model = ToyModel(Throw(energy_min=0.0299, viewcone_max=4, core_scatter_max=800), correlation=0.3)
    rng, n_uses = np.random.default_rng(31), 20
    radius, offset, passes = [], [], []
    for uses in simulate(model, rng=rng, n_showers=100_000, n_uses=n_uses):
        k = uses.triggered
        radius.append(uses.core_distance[k])
        offset.append(uses.offset[k])
        passes.append(np.unique(uses.shower_id[k], return_counts=True)[1])
    m = np.concatenate(passes)
    n, d = m.sum(), (m**2).sum() / m.sum()
    p = model.efficiencies([0.0299, 330.0])[0]
    assert n == pytest.approx(p * 2e6, abs=4 * np.sqrt(d * p * 2e6))
    assert d == pytest.approx(model.design_effect(p, n_uses=n_uses, analytic=True), rel=0.03)
    edges = [0.0299, 330.0]
    needed = model.required_events(edges, 0.02, n_uses=n_uses, analytic=True)
    assert needed[0] == pytest.approx(d * (1 - p) / (p * 0.02**2), rel=0.03)
    for f in (1e-2, 1e-3):
        tails = [
            (np.concatenate(radius) > model.radius_limit(f), 1.0),
            (np.concatenate(offset) > model.viewcone_limit(f), d),
        ]
        for tail, inflation in tails:
            assert tail.sum() == pytest.approx(f * n, abs=4 * np.sqrt(inflation * f * n))


def test_energy_limit_of_simulated_showers():
    model = ToyModel(Throw(viewcone_max=3, core_scatter_max=500))
    energy = np.concatenate(
        [u.energy[u.triggered] for u in simulate(model, rng=np.random.default_rng(2), n_showers=500_000)]
    )
    for f in (1e-2, 1e-3):
        tail = (energy < model.energy_limit(f)).sum()
        assert tail == pytest.approx(f * energy.size, abs=4 * np.sqrt(f * energy.size))


def test_design_effect_of_a_beta_binomial():
    """Published: n = 20, P = .01/.05/.1 give D_an 1.25/2.24/3.48, D_act 1.06/1.30/1.64, for one CV^2."""
    model = ToyModel(correlation=0.5)
    variance = model.relative_variance()
    p = np.array([0.01, 0.05, 0.1])
    scale = 0.305 / variance
    actual = 1 + (model.design_effect(p, n_uses=20) - 1) * scale
    np.testing.assert_allclose(actual, [1.06, 1.30, 1.64], atol=0.01)
    analytic = 1 + (model.design_effect(p, n_uses=20, analytic=True) - 1) * 1.305 / (1 + variance)
    np.testing.assert_allclose(analytic, [1.25, 2.24, 3.48], atol=0.01)


def test_anchor_of_the_array():
    area = ArrayModel().effective_area([0.02, 1.0], nodes=(112, 64, 48))
    np.testing.assert_allclose(area, [27537.296, 728106.012], rtol=1e-7)
    area = ArrayModel().effective_area([0.02, 0.1, 1.0, 10.0])
    np.testing.assert_allclose(area, [27537.296, 279623.473, 728106.012, 1581243.667], rtol=1e-3)
    assert NSB_DARK == 0.24


def test_default_nodes_are_good_to_a_per_mille():
    for zenith, radius in ((20, 1900), (60, 2800)):
        model = ArrayModel(Throw(zenith=zenith, azimuth=77, core_scatter_max=radius, viewcone_max=10))
        energy = np.array([0.05, 3.0])
        fine = model.effective_area(energy, np.radians(5), nodes=(96, 48, 32))
        np.testing.assert_allclose(model.effective_area(energy, np.radians(5)), fine, rtol=3e-3)


def _ground_probability(model: ArrayModel, x, y, energy: float, u):
    """Second implementation, on axis: distances from ground positions, Poisson-binomial by convolution."""
    t = model.throw
    azimuth, altitude, z = np.radians(t.azimuth), np.radians(90 - t.zenith), np.radians(t.zenith)
    positions = [(-70.91, -52.35), (-35.28, 65.92), (75.31, 50.21), (30.88, -63.78), (-211.62, 5.43)]
    positions += [(-153.29, 168.86), (26.86, 208.54), (175.66, 72.85), (131.67, -194.83), (-83.94, -194.98)]
    positions += [(-215.81, -167.68), (20.20, -352.85), (4.64, -0.71)]
    sec = 1 / np.cos(z)
    scale = np.sqrt(sec) * (1 + np.log(sec))
    s = 0.35 * (energy / 0.1) ** -0.25
    total = np.zeros((14, len(x)))
    total[0] = 1
    for number, (north, west) in enumerate(positions):
        d = core_distance(x - north, y - west, azimuth, altitude)
        light = 5.15 - 0.7 * (number >= 4) + 1.14 * np.log(energy) - 2 * np.log(scale) - 0.8 * (sec - 1)
        light += -0.35 * np.log(t.nsb_level / 0.24) + s * u - s**2 / 2
        core = np.exp(-(104 / 50) * (np.sqrt(1 + (d / (104 * scale)) ** 2) - 1))
        light += np.log(core + 0.01 * (1 + (d / (300 * scale)) ** 2) ** -2)
        p = ndtr(light / 0.35)
        total[1:] = total[1:] * (1 - p) + total[:-1] * p
        total[0] *= 1 - p
    r = core_distance(x, y, azimuth, altitude)
    return total[2:].sum(axis=0) * 0.94 / (1 + np.exp(-(4 + 2.5e-3 * r) / 0.45))


@pytest.mark.parametrize(("zenith", "azimuth", "nsb"), [(20, 137, 0.24), (52, 250, 0.835)])
def test_area_from_ground_positions(zenith, azimuth, nsb):
    throw = Throw(zenith=zenith, azimuth=azimuth, nsb_level=nsb, core_scatter_max=1500, viewcone_max=10)
    model, rng, n = ArrayModel(throw), np.random.default_rng(4), 60_000
    q, angle = (np.arange(n) + rng.random(n)) / n, rng.uniform(0, 2 * np.pi, n)
    r = 1500 * np.sqrt(q)
    place = shower_to_ground(r * np.cos(angle), r * np.sin(angle), np.radians(azimuth), np.radians(90 - zenith))
    for energy in (0.1, 2.0):
        value = _ground_probability(model, *place, energy, rng.standard_normal(n))
        mean, error = value.mean() * throw.area, value.std() / np.sqrt(n) * throw.area
        assert model.effective_area(energy) == pytest.approx(mean, abs=4 * error)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(1, 3))
def test_at_least_is_a_sum_over_outcomes(p, multiplicity):
    outcomes = (np.arange(2 ** len(p))[:, None] >> np.arange(len(p))) & 1
    weight = np.where(outcomes == 1, p, 1 - np.array(p)).prod(axis=1)
    expected = weight[outcomes.sum(axis=1) >= multiplicity].sum()
    assert at_least(p, multiplicity) == pytest.approx(expected, abs=1e-12)


def test_triggers_and_patterns_of_one_use():
    """One use drawn 200 000 times: how often it triggers, and each telescope's share, against the products."""
    model = ArrayModel(telescopes=TELESCOPES[2:7], multiplicity=2)
    n, one = 200_000, (0.06, 60.0, -90.0, np.radians(2.0), 0.3)
    uses = Uses(*(np.full(n, value) for value in one))
    rows, masks = model.draw_triggers(np.random.default_rng(8), uses)
    p = model.telescope_probabilities(one[0], one[1], one[2], one[4])
    outcomes = (np.arange(32)[:, None] >> np.arange(5)) & 1
    weight = np.where(outcomes == 1, p, 1 - p).prod(axis=1) * (outcomes.sum(axis=1) >= 2)
    total = weight.sum() * camera_acceptance(np.hypot(60, 90), one[3])
    assert rows.size == pytest.approx(n * total, abs=4 * np.sqrt(n * total))
    counts = np.bincount(masks[:, 0].astype(int), minlength=32)
    expected = rows.size * weight / weight.sum()
    assert (counts[weight == 0] == 0).all()
    assert (np.abs(counts - expected) < 4.5 * np.sqrt(np.maximum(expected, 4))).all()


def test_array_simulation_against_quadrature():
    """Total, sub-array and tails of a million uses; variances from the showers' own pass counts."""
    model = ArrayModel(Throw(zenith=40, azimuth=30, energy_min=0.02, core_scatter_max=1500, viewcone_max=8))
    large = ArrayModel(model.throw, telescopes=TELESCOPES[:4])
    limits, passes = model.limits(1e-2), []
    for uses in simulate(model, rng=np.random.default_rng(6), n_showers=200_000, n_uses=5):
        k = uses.triggered
        flags = np.array(
            [
                np.ones(k.size),
                np.bitwise_count(uses.masks[:, 0] & np.uint64(0b1111)) >= 2,
                uses.energy[k] < limits.lower_energy,
                uses.core_distance[k] > limits.upper_radius,
                uses.offset[k] > limits.viewcone,
            ]
        )
        assert (np.bitwise_count(uses.masks[:, 0]) >= 2).all()
        _, place = np.unique(uses.shower_id[k], return_inverse=True)
        passes.append(np.array([np.bincount(place, weights=flag) for flag in flags]))
    m = np.concatenate(passes, axis=1)
    edges = np.geomspace(0.02, 330, 60)
    share = edges[:-1] ** -1 - edges[1:] ** -1
    share /= share.sum()
    n = m[0].sum()
    expected = [1e6 * share @ model.efficiencies(edges), 1e6 * share @ large.efficiencies(edges), *[n * 1e-2] * 3]
    error = np.sqrt((m**2).sum(axis=1))
    assert (np.abs(m.sum(axis=1) - expected) < 4 * error).all()


def test_geometry_and_numbers_of_uses():
    throw = Throw(zenith=50, azimuth=200, core_scatter_max=2000, viewcone_max=10)
    chunks = list(simulate(ArrayModel(throw), rng=np.random.default_rng(1), n_showers=5000, n_uses=7, chunk=10_000))
    assert [c.energy.size % 7 for c in chunks] == [0] * len(chunks)
    assert len(chunks) == 4
    for c in chunks:
        np.testing.assert_allclose(core_distance(c.x_core, c.y_core, c.azimuth, c.altitude), c.core_distance, atol=1e-6)
        seen = angular_distance(c.azimuth, c.altitude, np.radians(200), np.radians(40))
        np.testing.assert_allclose(seen, c.offset, atol=1e-9)
    shower = np.concatenate([c.shower_id for c in chunks])
    event = np.concatenate([c.event_id for c in chunks])
    np.testing.assert_array_equal(shower, np.repeat(np.arange(1, 5001), 7))
    np.testing.assert_array_equal(event - 100 * shower, np.tile(np.arange(7), 5000))
    energy = np.concatenate([c.energy for c in chunks]).reshape(-1, 7)
    assert (energy == energy[:, :1]).all()
    q = np.concatenate([c.core_distance for c in chunks]) ** 2 / 2000**2
    assert q.max() <= 1
    assert q.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * q.size))
    v = (1 - np.cos(np.concatenate([c.offset for c in chunks])[::7])) / (1 - np.cos(np.radians(10)))
    assert v.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * 5000))


def test_same_seed_same_uses():
    for model in (ArrayModel(), ToyModel(correlation=0.1)):
        one, two = (next(simulate(model, rng=np.random.default_rng(3), n_showers=2000, n_uses=3)) for _ in "ab")
        for name in ("energy", "x_core", "azimuth", "triggered", "masks", "fluctuation"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_reconstruction_has_the_stated_spread_and_correlation():
    how = Reconstruction(correlation=0.4)
    model = ToyModel(Throw(energy_min=0.02, core_scatter_max=300, viewcone_max=1))
    uses = next(simulate(model, rng=np.random.default_rng(5), n_showers=20_000, n_uses=10))
    energy_reco, azimuth, altitude = reconstruct(uses, how, rng=np.random.default_rng(6))
    k = uses.triggered
    true, n = uses.energy[k], k.size
    pull = (np.log(energy_reco / true) - how.energy_bias(true)) / how.energy_sigma(true)
    low, middle, high = np.quantile(pull, [0.16, 0.5, 0.84])
    assert middle == pytest.approx(0, abs=4 * 1.253 * np.sqrt(5 / n))
    assert (high - low) / 2 == pytest.approx(0.9945, abs=0.03)
    pairs = np.flatnonzero(uses.shower_id[k][1:] == uses.shower_id[k][:-1])
    assert np.mean(pull[pairs] * pull[pairs + 1]) == pytest.approx(0.4, abs=0.03)
    psi = angular_distance(uses.azimuth[k], uses.altitude[k], azimuth, altitude) / how.psf_sigma(true)
    assert np.quantile(psi, 0.68) == pytest.approx(np.sqrt(-2 * np.log(0.32)), rel=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Throw(energy_min=-1), "energy_min"),
        (lambda: Throw(energy_min=2, energy_max=1), "energy_max"),
        (lambda: Throw(zenith=85), "zenith"),
        (lambda: Throw(zenith=float("nan")), "zenith"),
        (lambda: ToyModel(efficiency=0), "efficiency"),
        (lambda: ToyModel(break_energy=1e-4), "break_energy"),
        (lambda: ToyModel().efficiencies([1.0, 0.5]), "edges"),
        (lambda: ToyModel().efficiencies([0.001, 0.002]), "edges"),
        (lambda: ToyModel().radius_limit(1.0), "loss_fraction"),
        (lambda: ArrayModel(telescopes=("LSTN-09",)), "telescopes"),
        (lambda: ArrayModel(telescopes=TELESCOPES[:2] * 2), "telescopes"),
        (lambda: ArrayModel(multiplicity=14), "multiplicity"),
        (lambda: next(simulate(ToyModel(), rng=np.random.default_rng(), n_showers=0)), "n_showers"),
        (lambda: next(simulate(ToyModel(), rng=np.random.default_rng(), n_showers=1, n_uses=101)), "n_uses"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ProdconfError, match=message):
        make()
