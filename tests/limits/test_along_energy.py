"""Discs and cones of energy bins by their own triggers, judged by toys whose losses are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from prodconf.events.groups import PilotPoint
from prodconf.formulas.loss_tails import Verdict
from prodconf.limits.along_energy import limits_along_energy, lost_shares, own_limits
from prodconf.limits.pilots import LimitCurves, LimitRequest, PilotLimits, limits_of_tails
from prodconf.limits.tails import EventTails

EDGES = np.geomspace(0.1, 20, 13)
WIDEST = {"radius": 3000.0, "viewcone": 12.0}
POINT = PilotPoint(
    20.0,
    0.0,
    1.0,
    index=2.0,
    energy_range=(0.1, 20.0),
    core_scatter=(0, WIDEST["radius"]),
    viewcone=(0, WIDEST["viewcone"]),
)
CONFIDENCE, SLICES = 0.95, 3
REQUEST = LimitRequest(0.01, confidence=1 - (1 - CONFIDENCE) / (2 * SLICES))


def scales(energy):
    """Scales of core distance (m) and angle (deg): a share exp(-(x / scale)^2) of the triggers lies beyond x."""
    return {"radius": 250 * energy**0.25, "viewcone": 2.0 * energy**0.15}


def true_loss(name, cut):
    """Share of the triggers of each bin beyond a cut, in closed form but for the mean over an E^-2 bin."""
    fine = EDGES[:-1, None] * (EDGES[1:] / EDGES[:-1])[:, None] ** ((np.arange(200) + 0.5) / 200)
    weight = 1 / fine
    lost = np.exp(-((np.asarray(cut)[:, None] / scales(fine)[name]) ** 2))
    return (lost * weight).sum(axis=1) / weight.sum(axis=1)


def pilot(n, seed, *, uses=1, spread=scales):
    """Draw a pilot of n showers in the thrown energies, each of which triggers `uses` times at places of its own."""
    rng = np.random.default_rng(seed)
    share = 1 - EDGES[0] / EDGES[-1]
    energy = np.repeat(EDGES[0] / (1 - rng.uniform(0, share, rng.poisson(n))), uses)
    values = {name: scale * np.sqrt(rng.exponential(size=energy.size)) for name, scale in spread(energy).items()}
    seen = np.all([values[name] <= WIDEST[name] for name in values], axis=0)
    tails = EventTails(capacity=energy.size + 100, quantities=("radius", "viewcone"), slice_edges=EDGES)
    shower = np.repeat(np.arange(energy.size // uses), uses)
    tails.add(energy[seen], values["radius"][seen], values["viewcone"][seen], shower=shower[seen])
    kept = {name: tails.tail(name) for name in values}
    whole = limits_of_tails(kept, POINT, REQUEST.fractions, REQUEST)
    curves = LimitCurves(tuple(EDGES), None, None, tails.slices)
    return PilotLimits(POINT, "all", None, whole["radius"], whole["viewcone"], kept, n, n, curves=curves)


def widest_of_slices(values, slices):
    return np.repeat(values.reshape(slices, -1).max(axis=1), values.size // slices)


def loses_more(one, slices):
    """Tell whether a bin loses more than asked by the disc or by the cone of its slice."""
    cuts = {name: widest_of_slices(own_limits(one, name, REQUEST).value, slices) for name in WIDEST}
    return any((true_loss(name, cut) > REQUEST.fractions[name]).any() for name, cut in cuts.items())


def wanted(energy):
    """Radius beyond which a hundredth of the triggers of an energy lies."""
    return scales(energy)["radius"] * np.sqrt(-np.log(0.01))


def violations(n_toys, slices, n, **options):
    return sum(loses_more(pilot(n, 1000 + seed, **options), slices) for seed in range(n_toys))


CASES = [(3, 6_000, {}), (1, 6_000, {}), (3, 60_000, {}), (3, 6_000, {"uses": 3})]


@pytest.mark.parametrize(("slices", "n", "options"), CASES)
def test_no_bin_of_a_production_loses_more_than_asked(slices, n, options):
    """Slices, one spectrum, a small and a large pilot, and showers that are used several times."""
    toys = 15 if n > 10_000 else 40
    assert violations(toys, slices, n, **options) <= 0.05 * toys + 2.3 * np.sqrt(0.05 * toys)


@pytest.mark.long
@pytest.mark.parametrize(("slices", "n", "options"), CASES)
def test_no_bin_of_a_thousand_productions_loses_more_than_asked(slices, n, options):
    assert violations(1000, slices, n, **options) <= 50


def test_one_limit_for_all_energies_loses_far_more():
    """What was thrown before: the highest bins lose many times what was asked."""
    one = pilot(60_000, 1)
    assert true_loss("radius", np.full(12, one.radius.guaranteed))[-1] > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_bin_with_too_few_triggers_borrows_from_wider_neighbours_or_takes_the_thrown_edge(seed):
    found = own_limits(pilot(6_000, seed), "radius", REQUEST)
    assert (found.first <= np.arange(12)).all()
    assert (found.last >= np.arange(12)).all()
    assert (found.value[~found.known] == WIDEST["radius"]).all()
    assert not found.known[-1]  # distances grow, and nobody knows what the highest bin needs
    borrowed = found.known & (found.last > found.first)
    assert borrowed.any()
    assert (found.value[borrowed] > 0.95 * wanted(EDGES[1:])[borrowed]).all()
    assert found.known[:4].all()


def test_where_limits_narrow_with_energy_the_highest_bins_borrow_downwards():
    def falling(energy):
        return {"radius": 600 * energy**-0.4, "viewcone": 2 + 0 * energy}

    found = own_limits(pilot(60_000, 3, spread=falling), "radius", REQUEST)
    assert found.known.all()
    few = own_limits(pilot(6_000, 3, spread=falling), "radius", REQUEST)
    borrowed = few.known & (few.first < np.arange(12))
    assert borrowed.any()
    assert (few.value[borrowed] >= 600 * EDGES[1:][borrowed] ** -0.4 * np.sqrt(-np.log(0.01)) * 0.9).all()


def test_a_limit_at_the_thrown_edge_is_not_known():
    def wide(energy):
        return {"radius": 2500 + 0 * energy, "viewcone": 2 + 0 * energy}

    found = own_limits(pilot(60_000, 4, spread=wide), "radius", REQUEST)
    assert not found.known.any()
    assert (found.value == WIDEST["radius"]).all()


def test_nothing_may_be_lost_and_nothing_is_known():
    found = own_limits(pilot(6_000, 5), "radius", replace(REQUEST, loss_fraction=0.0))
    assert not found.known.any()


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_of_the_lost_share_holds_the_true_one(seed):
    one = pilot(30_000, seed)
    cuts = {name: widest_of_slices(own_limits(one, name, REQUEST).value, 3) for name in WIDEST}
    bound = lost_shares(one, cuts["radius"], cuts["viewcone"], edges=EDGES, request=REQUEST)
    both = [true_loss(name, cut) for name, cut in cuts.items()]
    truth = both[0] + both[1] - both[0] * both[1]
    known = np.isfinite(bound)
    assert known[:6].all()
    assert (bound[known] >= truth[known]).all()
    assert (bound[known] <= 2 * REQUEST.fractions["radius"] * 1.5).all()
    far = lost_shares(one, np.full(12, 50.0), np.full(12, 1.0), edges=EDGES, request=REQUEST)
    assert (far[np.isfinite(far)] > 0.5).all()


def test_a_pilot_without_slices_gives_the_limit_of_all_energies_and_no_guarantee():
    one = replace(pilot(6_000, 6), curves=None)
    query = np.array([20.0]), np.array([0.0]), np.array([1.0])
    found = limits_along_energy([one], query, edges=EDGES, request=REQUEST)
    assert np.allclose(found.radius, one.radius.guaranteed)
    assert not found.known.any()
    assert np.isnan(lost_shares(one, np.full(12, 1e3), np.full(12, 3.0), edges=EDGES, request=REQUEST)).all()


def test_between_two_pilots_the_widest_of_all_sub_arrays_is_taken():
    one, other = pilot(30_000, 7), pilot(30_000, 8)
    wide = replace(other, sub_array="some")
    query = np.array([20.0]), np.array([0.0]), np.array([1.0])
    found = limits_along_energy([one, wide], query, edges=EDGES, request=REQUEST)
    both = [own_limits(x, "radius", REQUEST) for x in (one, wide)]
    assert np.allclose(found.radius[0], np.maximum(both[0].value, both[1].value))
    assert one.radius.verdict is Verdict.OK
