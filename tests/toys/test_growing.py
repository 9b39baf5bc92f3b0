"""The production whose scales grow with energy, against quadrature and against showers thrown one by one."""

import numpy as np
import pytest
from scipy.integrate import dblquad, quad

from prodconf.core.errors import ProdconfError
from prodconf.limits.pilots import LimitRequest
from prodconf.toys.growing import GrowingModel, at_zenith, draw_growing, drawn_limits
from prodconf.toys.models import Throw, ToyModel, simulate

MODEL = GrowingModel(
    ToyModel(Throw(0.1, 20.0, core_scatter_max=900.0, viewcone_max=6.0), break_energy=0.3, correlation=0.2), 0.3, 0.25
)


def _triggered(energy, low_r, low_t):
    """Triggers of one energy beyond a core distance and an offset, by quadrature over both."""
    throw = MODEL.throw
    return dblquad(
        lambda r, t: r * np.sin(t) * float(MODEL.trigger_probability(energy, r, t)),
        low_t, throw.cone, low_r, throw.core_scatter_max, epsrel=1e-8,
    )[0]  # fmt: skip


def test_lost_shares_are_the_integrals_of_the_trigger_probability():
    radius, cone = 600.0, 4.0
    edges = np.array([2.0, 2.0 * (1 + 1e-6)])
    whole = _triggered(2.0, 0.0, 0.0)
    by_disc, by_cone = _triggered(2.0, radius, 0.0) / whole, _triggered(2.0, 0.0, np.radians(cone)) / whole
    assert MODEL.lost(edges, radius) == pytest.approx(by_disc, rel=1e-5)
    assert MODEL.lost(edges, None, cone) == pytest.approx(by_cone, rel=1e-5)
    assert MODEL.lost(edges, radius, cone) == pytest.approx(1 - (1 - by_disc) * (1 - by_cone), rel=1e-5)
    assert MODEL.lost(edges, 900.0, 6.0) == pytest.approx(0.0, abs=1e-12)


def test_rates_of_a_wide_bin_are_integrals_over_the_spectrum():
    edges = np.array([0.1, 0.3, 20.0])
    passing, _ = MODEL.rates(edges)
    for low, high, got in zip(edges[:-1], edges[1:], passing, strict=True):
        over = quad(lambda x: np.exp(-x) * float(MODEL.passing(np.exp(x))), np.log(low), np.log(high))[0]
        assert got == pytest.approx(over / quad(lambda x: np.exp(-x), np.log(low), np.log(high))[0], rel=1e-7)


def test_drawn_pilot_is_as_showers_thrown_one_by_one():
    """Counts, sums over showers, and what a disc and a cone lose, against the general simulation and the formulas."""
    edges, n, uses = np.geomspace(0.1, 20.0, 6), 60_000, 8
    sums, showers = draw_growing(MODEL, np.random.default_rng(1), n, uses).sums(edges)
    slow, far, many = np.zeros((2, 5)), np.zeros(5), np.zeros(5)
    for some in simulate(MODEL, rng=np.random.default_rng(2), n_showers=n, n_uses=uses):
        rows = some.triggered
        shower, m = np.unique(some.shower_id[rows], return_counts=True)
        place = np.searchsorted(some.shower_id, shower)
        slow += [np.histogram(some.energy[place], edges, weights=m**i)[0] for i in (1, 2)]
        beyond = (some.core_distance[rows] > 500) | (some.offset[rows] > np.radians(4))
        far += np.histogram(some.energy[rows][beyond], edges)[0]
        many += np.histogram(some.energy[rows], edges)[0]
    passing, rho = MODEL.rates(edges)
    sigma = np.sqrt(sums[1])
    assert (abs(sums[0] - showers * uses * passing) < 4 * sigma).all()
    assert (abs(sums[0] - slow[0]) < 5 * sigma).all()
    assert np.allclose(sums[1] / sums[0], slow[1] / slow[0], rtol=0.06)
    design = 1 + (uses - 1) * (rho * (1 - passing) + passing)
    assert np.allclose(sums[1] / sums[0], design, rtol=0.06)
    assert (abs(far / many - MODEL.lost(edges, 500.0, 4.0)) < 5 * np.sqrt(far * design) / many).all()


@pytest.mark.parametrize("n_toys", [60, pytest.param(600, marks=pytest.mark.long)])
def test_guaranteed_limits_of_drawn_pilots_keep_their_share(n_toys):
    """Each slice on its own triggers loses more than asked in about 5 % of the pilots, and not in more."""
    slices, rng = np.array([0.3, 1.0, 3.0]), np.random.default_rng(7)
    over = np.zeros((2, 2))
    for _ in range(n_toys):
        drawn = draw_growing(MODEL, rng, 60_000)
        curves = drawn_limits(MODEL, drawn, LimitRequest(5e-2, slices=slices)).curves
        assert set(curves.radius.verdict) == {"ok"}
        over[0] += MODEL.lost(slices, curves.radius.guaranteed) > 5e-2
        over[1] += MODEL.lost(slices, None, curves.viewcone.guaranteed) > 5e-2
    assert over.sum() / (4 * n_toys) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / (4 * n_toys))


def test_zenith_changes_threshold_and_scales_and_nothing_at_20_deg():
    assert at_zenith(MODEL, 20.0) == MODEL
    low = at_zenith(MODEL, 60.0)
    assert low.toy.break_energy > 2 * MODEL.toy.break_energy
    assert low.effective_area(10.0) > MODEL.effective_area(10.0)
    assert low.throw.zenith == 60.0


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: GrowingModel(3), "toy"),
        (lambda: GrowingModel(core_growth=np.nan), "core_growth"),
        (lambda: MODEL.lost([1.0, 0.5], 100.0), "edges"),
        (lambda: MODEL.lost([1.0, 2.0], -1.0), "radius"),
        (lambda: MODEL.lost([1.0, 2.0], None, 0.0), "viewcone"),
        (lambda: draw_growing(MODEL, np.random.default_rng(), 0), "n_showers"),
        (lambda: draw_growing(MODEL, np.random.default_rng(), 5, 0), "n_uses"),
        (lambda: at_zenith(MODEL, 95.0), "zenith"),
    ],
)
def test_what_cannot_be_is_refused(call, word):
    with pytest.raises(ProdconfError, match=word):
        call()
