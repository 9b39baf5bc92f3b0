"""Counts, design effects and numbers of events of DL2 pilots, by brute force, by hand and closed in a loop."""

import dataclasses
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from prodconf.core.errors import ProdconfError
from prodconf.events.dl2 import DL2Energies, DL2File, DL2Header, write_dl2
from prodconf.plan.summary import statistics_table
from prodconf.precision import counts as event_counts
from prodconf.precision.area import measure_effective_area
from prodconf.precision.counts import count_events
from prodconf.precision.pilots import disc_factors, number_of_events, pilot_statistics, requirement
from prodconf.precision.targets import Metric
from prodconf.toys.models import Throw, ToyModel, simulate

EDGES = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0])
HEADER = DL2Header(
    n_showers_per_run=3273,  # three runs
    n_use=10,
    core_scatter_min=100.0,
    core_scatter_max=800.0,
    viewcone_min=0.5,
    viewcone_max=6.0,
    energy_min=0.01,
    energy_max=3.0,
    spectral_index=-2.0,
    zenith=20.0,
    azimuth=180.0,
)
THROWN = np.array([65000.0, 23000.0, 7000.0, 2500.0, 700.0])  # ten uses of each shower
WHOLE = Metric(target=0.05, energy_min=0.01, energy_max=3.0)


def solid(low: float, high: float) -> float:
    """Solid angle between two half opening angles in deg."""
    return 2 * np.pi * (np.cos(np.radians(low)) - np.cos(np.radians(high)))


def write_pilot(
    path: Path,
    *,
    seed=1,
    passes=(0, 150, 90, 40, 12),
    offsets=(0.5, 6.0),
    thrown=THROWN,
    header=HEADER,
    within=(0.0, 1e3),
):
    """Write events of which some belong to one shower: up to ten uses, in the same bin of true energy."""
    rng = np.random.default_rng(seed)
    energy, run = [], []
    for j, n_showers in enumerate(passes):
        low, high = max(EDGES[j], within[0]) * 1.001, min(EDGES[j + 1], within[1]) * 0.999
        uses = rng.integers(1, 6, n_showers)
        energy.append(np.repeat(np.exp(rng.uniform(np.log(low), np.log(high), n_showers)), uses))
        run.append(np.repeat(rng.integers(1, 4, n_showers), uses))
    true = np.concatenate(energy)
    n = true.size
    order = rng.permutation(n)  # uses of one shower far apart
    offset = rng.uniform(*offsets, n)
    write_dl2(
        path,
        header,
        energy_edges=EDGES,
        n_simulated=thrown,
        run=np.concatenate(run)[order],
        energy_true=true[order],
        energy_reco=true[order] * rng.lognormal(0, 0.2, n),
        azimuth_true=np.full(n, header.azimuth),
        altitude_true=90 - header.zenith - offset,
        azimuth_reco=np.full(n, header.azimuth),
        altitude_reco=90 - header.zenith - offset,
    )
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_pilot(tmp_path_factory.mktemp("dl2") / "pilot.fits")


def passes_of_showers(path: Path, offset_max: float = 180.0) -> list[list[int]]:
    """Return the uses that passed of every shower, per bin, counted one event after the other."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        rows = hdus["EVENTS"].data
        listed = [
            (int(r["OBS_ID"]), float(r["MC_ENERGY"]))
            for r in rows
            if 90 - HEADER.zenith - float(r["MC_ALT"]) <= offset_max
        ]
    found: list[list[int]] = [[] for _ in range(EDGES.size - 1)]
    for (_, energy), uses in Counter(listed).items():
        found[int(np.searchsorted(EDGES, energy, side="right")) - 1].append(uses)
    return found


def brute_force(path: Path, offset_max: float = 180.0) -> tuple[np.ndarray, np.ndarray]:
    """Count events and squared uses of showers per bin."""
    found = passes_of_showers(path, offset_max)
    return np.array([sum(m) for m in found], dtype=float), np.array([sum(x**2 for x in m) for m in found], dtype=float)


def effective_events(passes: list[int], showers: float = np.inf) -> float:
    """Infinitesimal jackknife: how much the logarithm of the requirement moves with the weight of each shower."""
    m, step, total = np.array(passes, dtype=float), 1e-6, 0.0

    def log_needed(weight: np.ndarray) -> float:
        return np.log(np.sum(weight * m**2) / np.sum(weight * m) ** 2 - 1 / showers)

    for s in range(m.size):
        up, down = np.ones(m.size), np.ones(m.size)
        up[s], down[s] = 1 + step, 1 - step
        total += ((log_needed(up) - log_needed(down)) / (2 * step)) ** 2
    return 1 / total


def counted_design(k: np.ndarray, squared: np.ndarray, n: np.ndarray, n_use: int = 10) -> np.ndarray:
    """Design effect with a counted denominator: (sum m² - k² / showers) / (k (1 - p)), at least one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(k > 0, np.maximum((squared - k**2 / (n / n_use)) / (k * (1 - k / n)), 1.0), 1.0)


# ---------------------------------------------------------------- counts


def test_counts_and_design_effect_are_those_of_all_events(path):
    k, squared = brute_force(path)
    pilot = pilot_statistics(DL2File(path), WHOLE)
    np.testing.assert_array_equal(pilot.n_passed, k)
    np.testing.assert_array_equal(pilot.n_simulated, THROWN)
    np.testing.assert_allclose(pilot.design_effect, counted_design(k, squared, THROWN))
    assert (pilot.design_effect[1:] > 1.5).all()
    p = k[1:] / THROWN[1:]
    expected = np.sqrt(pilot.design_effect[1:] * (1 - p) / k[1:])
    np.testing.assert_allclose(pilot.relative_uncertainty[1:], expected)
    np.testing.assert_allclose(pilot.effective_area[1:], p * np.pi * (800.0**2 - 100.0**2))
    assert np.isnan(pilot.relative_uncertainty[0])
    assert np.isnan(pilot.effective_area[0])
    assert (pilot.zenith, pilot.azimuth) == pytest.approx((20.0, 180.0), abs=1e-4)


def test_blocks_do_not_matter(path, monkeypatch):
    whole = pilot_statistics(DL2File(path), WHOLE)
    monkeypatch.setattr(event_counts, "_BLOCK", 37)
    parts = pilot_statistics(DL2File(path), WHOLE)
    np.testing.assert_array_equal(parts.n_passed, whole.n_passed)
    np.testing.assert_array_equal(parts.design_effect, whole.design_effect)


def test_status_of_each_bin(path):
    k, squared = brute_force(path)
    pilot = pilot_statistics(DL2File(path), Metric(target=0.05, energy_min=0.01, energy_max=1.0))
    n_effective = k / counted_design(k, squared, THROWN)
    assert n_effective[1] >= 100 > n_effective[3]
    wanted = ["ok" if n >= 100 else "sample_limited" for n in n_effective]
    assert list(pilot.status) == ["undetermined", *wanted[1:4], "not_requested"]


def test_densities_by_hand(path):
    """In the bin 0.03 to 0.1 TeV: events needed, over area, solid angle and spectrum of the bin."""
    k, squared = brute_force(path)
    pilot, design = pilot_statistics(DL2File(path), WHOLE), counted_design(k, squared, THROWN)
    for j in range(1, 5):
        p, d = k[j] / THROWN[j], design[j]
        thrown = np.pi * (800.0**2 - 100.0**2) * solid(0.5, 6.0) * (1 / EDGES[j] - 1 / EDGES[j + 1])
        assert pilot.density[j] == pytest.approx(d * (1 - p) / (p * 0.05**2) / thrown)
        worth = effective_events(passes_of_showers(path)[j], THROWN[j] / 10)
        assert pilot.n_effective[j] == pytest.approx(worth, rel=1e-6)
        low = stats.beta.ppf(0.05, worth, THROWN[j] * worth / k[j] - worth + 1)
        assert pilot.density_bound[j] == pytest.approx(d * (1 - low) / (low * 0.05**2) / thrown)
        assert pilot.density_floor[j] == 0
    thrown = np.pi * (800.0**2 - 100.0**2) * solid(0.5, 6.0) * (1 / 0.01 - 1 / 0.03)
    assert np.isnan(pilot.density[0])
    assert np.isposinf(pilot.density_bound[0])
    assert pilot.density_floor[0] == pytest.approx(65000 / (3 * 0.05**2) / thrown)


def test_a_smaller_cone_and_a_share_of_the_runs_scale_what_was_thrown(tmp_path):
    """
    Events within 2 of 6 deg, made from a quarter of the runs: density and area know both.

    The thrown number is then an expectation, so the law is Poisson's and the design effect that of whole showers.
    """
    path = write_pilot(tmp_path / "cut.fits", passes=(0, 60, 30, 10, 3), offsets=(0.5, 2.0))
    pilot = pilot_statistics(DL2File(path, offset_max=2.0, simulated_fraction=0.25), WHOLE)
    k, squared = brute_force(path)
    n = THROWN * 0.25 * solid(0.5, 2.0) / solid(0.5, 6.0)
    np.testing.assert_allclose(pilot.n_simulated, n)
    for j in range(1, 5):
        d = squared[j] / k[j]
        thrown = np.pi * (800.0**2 - 100.0**2) * solid(0.5, 2.0) * (1 / EDGES[j] - 1 / EDGES[j + 1])
        assert pilot.density[j] == pytest.approx(d * n[j] / (k[j] * 0.05**2) / thrown, rel=1e-6)
        worth = effective_events(passes_of_showers(path)[j])
        at_least = stats.gamma.ppf(0.05, worth) * k[j] / worth
        assert pilot.density_bound[j] == pytest.approx(d * n[j] / (at_least * 0.05**2) / thrown, rel=1e-5)
        assert pilot.effective_area[j] == pytest.approx(k[j] / n[j] * np.pi * (800.0**2 - 100.0**2))
        assert pilot.relative_uncertainty[j] == pytest.approx(np.sqrt(d / k[j]), rel=1e-6)


def test_events_beyond_the_cone_that_was_asked_for_do_not_count(tmp_path):
    path = write_pilot(tmp_path / "wide.fits", passes=(5, 60, 30, 10, 3))
    pilot = pilot_statistics(DL2File(path, offset_max=3.0), WHOLE)
    np.testing.assert_array_equal(pilot.n_passed, brute_force(path, 3.0)[0])
    assert 0 < pilot.n_passed.sum() < brute_force(path)[0].sum()


def test_bins_beyond_the_thrown_energies_count_only_what_was_thrown(tmp_path):
    """The outer bins reach from 0.01 and to 3 TeV, but only 0.02 to 2 TeV was thrown."""
    header = dataclasses.replace(HEADER, energy_min=0.02, energy_max=2.0)
    path = write_pilot(tmp_path / "clipped.fits", header=header, passes=(20, 20, 20, 20, 5), within=(0.02, 2.0))
    pilot = pilot_statistics(DL2File(path), WHOLE)
    k, squared = brute_force(path)
    design = counted_design(k, squared, THROWN)
    for j, (low, high) in {0: (0.02, 0.03), 4: (1.0, 2.0)}.items():
        p = k[j] / THROWN[j]
        thrown = np.pi * (800.0**2 - 100.0**2) * solid(0.5, 6.0) * (1 / low - 1 / high)
        assert pilot.density[j] == pytest.approx(design[j] * (1 - p) / (p * 0.05**2) / thrown)


def test_refusals(path, tmp_path):
    with pytest.raises(ProdconfError, match="no energy bin lies in the target's range"):
        pilot_statistics(DL2File(path), Metric(target=0.1, energy_min=10.0, energy_max=20.0))
    few = write_pilot(tmp_path / "few.fits", thrown=np.array([71950.0, 23000.0, 50.0, 2500.0, 700.0]))
    with pytest.raises(ProdconfError, match="the normalisation is wrong"):
        pilot_statistics(DL2File(few), WHOLE)


# ---------------------------------------------------------------- number of events


@pytest.mark.parametrize("index", [2.0, 1.5, 1.0])
def test_events_of_a_production_are_the_pilots_scaled(path, index):
    """N' = N (R'/R)² Ω'/Ω g/g', with g the share of the deciding bin in the thrown spectrum."""
    pilot = pilot_statistics(DL2File(path), WHOLE, index=index)

    def integral(low, high):
        return np.log(high / low) if index == 1 else (high ** (1 - index) - low ** (1 - index)) / (1 - index)

    k, squared = brute_force(path)
    per_bin = counted_design(k, squared, THROWN)[1:] * (1 - k[1:] / THROWN[1:]) / (k[1:] / THROWN[1:] * 0.05**2)
    share = integral(EDGES[1:-1], EDGES[2:]) / integral(0.01, 3.0)
    wanted = (per_bin / share).max()
    assert requirement(pilot).deciding_bin == 1 + np.argmax(per_bin / share)
    area, cone = (800.0**2 - 100.0**2), solid(0.5, 6.0)
    scaled = wanted * 650.0**2 / area * solid(0, 4.5) / cone * integral(0.02, 30.0) / integral(0.01, 3.0)
    found = number_of_events(
        requirement(pilot).density, index, energy_min=0.02, energy_max=30.0, radius=650.0, viewcone=4.5
    )
    assert found == pytest.approx(scaled)


def test_statistics_table_gives_events_of_the_whole_spectrum(tmp_path):
    header = dataclasses.replace(HEADER, core_scatter_min=0.0, viewcone_min=0.0)
    path = write_pilot(tmp_path / "full.fits", header=header)
    k, squared = brute_force(path)
    pilot = pilot_statistics(DL2File(path), WHOLE)
    need = requirement(pilot, energy_limit=0.05)
    ranges = {"energy_min": 0.01, "energy_max": 3.0, "radius": 800.0, "viewcone": 6.0}
    table = statistics_table([pilot], [need], [ranges])
    g = (1 / EDGES[:-1] - 1 / EDGES[1:]) / (1 / 0.01 - 1 / 3.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = counted_design(k, squared, THROWN) * (THROWN / k - 1) / 0.05**2 / g
    np.testing.assert_allclose(table["n_required"], np.where(k > 0, expected, np.nan))
    assert np.isposinf(table["n_required_bound"][0])
    assert (table["n_required_bound"][1:] > table["n_required"][1:]).all()
    assert list(table["status"][:2]) == ["not_thrown", "not_thrown"]
    assert np.flatnonzero(table["decides"]).tolist() == [need.deciding_bin] == [2 + int(np.argmax(expected[2:]))]


def test_undetermined_bins_are_named_and_have_a_floor(path):
    pilot = pilot_statistics(DL2File(path), WHOLE)
    need = requirement(pilot)
    assert need.status == "undetermined"
    assert need.undetermined == ((0.01, 0.03),)
    assert need.determined == (0.03, 3.0)
    assert need.floor == pilot.density_floor[0] > 0
    assert np.isfinite([need.density, need.sigma, need.bound]).all()
    assert need.bound > need.density


def test_gaps_are_ranges(tmp_path):
    path = write_pilot(tmp_path / "gaps.fits", passes=(0, 30, 0, 0, 5))
    need = requirement(pilot_statistics(DL2File(path), WHOLE))
    assert need.undetermined == ((0.01, 0.03), (0.1, 1.0))
    assert need.determined == (0.03, 3.0)


def test_nothing_determined(tmp_path):
    path = write_pilot(tmp_path / "none.fits", passes=(0, 30, 0, 0, 0))
    need = requirement(pilot_statistics(DL2File(path), Metric(target=0.05, energy_min=0.1, energy_max=3.0)))
    assert need.status == "undetermined"
    assert need.deciding_bin is None
    assert need.determined is None
    assert np.isnan(need.density)
    assert np.isposinf(need.bound)
    assert need.undetermined == ((0.1, 3.0),)


def test_few_events_are_sample_limited(path):
    pilot = pilot_statistics(DL2File(path), Metric(target=0.05, energy_min=0.3, energy_max=3.0))
    need = requirement(pilot)
    j = need.deciding_bin
    assert need.status == "sample_limited"
    assert need.n_effective == pytest.approx(effective_events(passes_of_showers(path)[j], THROWN[j] / 10), rel=1e-6)
    assert need.sigma / need.density == pytest.approx(1 / np.sqrt(need.n_effective))
    many = pilot_statistics(DL2File(path), Metric(target=0.05, energy_min=0.03, energy_max=0.1))
    assert requirement(many).status == "ok"


def test_the_energy_limit_holds_bins_out(path):
    pilot = pilot_statistics(DL2File(path), WHOLE)
    for limit, held in ((0.0, 5), (0.01, 5), (0.011, 4), (0.03, 4), (0.0301, 3), (1.0, 1), (1.1, 0)):
        need = requirement(pilot, energy_limit=limit)
        assert need.held.tolist() == [False] * (5 - held) + [True] * held
    assert requirement(pilot, energy_limit=0.03).undetermined == ()
    assert requirement(pilot, energy_limit=0.03).status != "undetermined"
    assert requirement(pilot, energy_limit=5.0).deciding_bin is None


# ---------------------------------------------------------------- closed loop with the toy


def in_memory(model: ToyModel, edges, n_simulated, energy, shower, n_use=1):
    """Stand in for a DL2 file of these events."""
    thrown = model.throw
    header = DL2Header(
        n_showers_per_run=1,
        n_use=n_use,
        core_scatter_max=thrown.core_scatter_max,
        viewcone_max=thrown.viewcone_max,
        energy_min=thrown.energy_min,
        energy_max=thrown.energy_max,
        spectral_index=-thrown.index,
    )
    return SimpleNamespace(
        path=Path("toy"),
        header=header,
        energy_edges=edges,
        n_simulated=n_simulated,
        cone_fraction=1.0,
        energy_range=header.energy_range,
        run_fraction=1.0,
        zenith=20.0,
        azimuth=0.0,
        notes=[],
        n_events=len(energy),
        energies=lambda size: iter([DL2Energies(energy, energy, np.asarray(shower), np.ones(1, np.int64))]),
        remember_runs=lambda runs: None,
    )


LOOP_EDGES = np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0])


def planned(pilot, model: ToyModel, density: float) -> np.ndarray:
    """Number of events per bin of a production with the throw of the pilot."""
    thrown = model.throw
    total = number_of_events(
        density,
        2.0,
        energy_min=thrown.energy_min,
        energy_max=thrown.energy_max,
        radius=thrown.core_scatter_max,
        viewcone=thrown.viewcone_max,
    )
    shares = (1 / LOOP_EDGES[:-1] - 1 / LOOP_EDGES[1:]) / (1 / LOOP_EDGES[0] - 1 / LOOP_EDGES[-1])
    return total * shares


def test_planned_productions_reach_the_target():
    """200 pilots of single uses; one bin: the estimate reaches the target every second time, the bound 19 of 20."""
    model = ToyModel(Throw(energy_min=0.003, energy_max=3.0))
    p, rng = model.efficiencies(LOOP_EDGES), np.random.default_rng(5)
    shares = (1 / LOOP_EDGES[:-1] - 1 / LOOP_EDGES[1:]) / (1 / LOOP_EDGES[0] - 1 / LOOP_EDGES[-1])
    n = np.round(6e5 * shares)
    metric = Metric(target=0.02, energy_min=0.1, energy_max=0.3)
    reached = {"estimate": 0, "bound": 0}
    for _ in range(200):
        k = rng.binomial(n.astype(int), p)
        energy = np.repeat(np.sqrt(LOOP_EDGES[:-1] * LOOP_EDGES[1:]), k)
        pilot = pilot_statistics(in_memory(model, LOOP_EDGES, n, energy, np.arange(k.sum())), metric)
        need = requirement(pilot)
        for name, density in (("estimate", need.density), ("bound", need.bound)):
            thrown = int(planned(pilot, model, density)[3])
            passed = rng.binomial(thrown, p[3])
            reached[name] += np.sqrt((1 - passed / thrown) / passed) <= 0.02
    assert reached["estimate"] / 200 == pytest.approx(0.5, abs=3 * np.sqrt(0.25 / 200))
    assert reached["bound"] / 200 >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / 200)


def test_the_bound_suffices_for_all_bins_together():
    """Four bins are held to the target; the bound of the worst suffices for all in 19 of 20 pilots."""
    model = ToyModel(Throw(energy_min=0.003, energy_max=3.0))
    p, rng = model.efficiencies(LOOP_EDGES), np.random.default_rng(6)
    shares = (1 / LOOP_EDGES[:-1] - 1 / LOOP_EDGES[1:]) / (1 / LOOP_EDGES[0] - 1 / LOOP_EDGES[-1])
    n = np.round(1.5e6 * shares)
    metric = Metric(target=0.05, energy_min=0.01, energy_max=1.0)
    suffices = 0
    for _ in range(200):
        k = rng.binomial(n.astype(int), p)
        energy = np.repeat(np.sqrt(LOOP_EDGES[:-1] * LOOP_EDGES[1:]), k)
        pilot = pilot_statistics(in_memory(model, LOOP_EDGES, n, energy, np.arange(k.sum())), metric)
        thrown = planned(pilot, model, requirement(pilot).bound)[1:5]
        suffices += bool((np.sqrt((1 - p[1:5]) / (p[1:5] * thrown)) <= 0.05).all())
    assert suffices / 200 >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(("radius", "viewcone"), [(1000.0, 8.0), (500.0, 4.0)], ids=["sparse", "dense"])
def test_required_events_with_reused_showers_agree_with_the_closed_form(radius, viewcone):
    """200 pilots of 20 uses per shower: mean and bound of the requirement against D (1 - p) / (p δ²) of the model."""
    throw = Throw(energy_min=0.03001, energy_max=3.0, core_scatter_max=radius, viewcone_max=viewcone)
    model, rng = ToyModel(throw, break_energy=0.0301, correlation=0.3), np.random.default_rng(7)
    edges = np.array([0.03001, 0.1, 3.0])
    truth = model.required_events(edges, 0.05, n_uses=20)
    assert (model.design_effect(model.efficiencies(edges), n_uses=20) > 1.7).all()
    metric, found, enough = Metric(target=0.05, energy_min=0.03, energy_max=3.0), [], []
    for _ in range(200):
        (uses,) = simulate(model, rng=rng, n_showers=1_000, n_uses=20)
        rows = uses.triggered
        n = np.histogram(uses.energy, edges)[0].astype(float)
        pilot = pilot_statistics(in_memory(model, edges, n, uses.energy[rows], uses.shower_id[rows], 20), metric)
        thrown = np.pi * radius**2 * solid(0, viewcone) * (1 / edges[:-1] - 1 / edges[1:])
        found.append(pilot.density * thrown)
        enough.append(pilot.density_bound * thrown >= truth)
    np.testing.assert_allclose(np.mean(found, axis=0), truth, rtol=0.05)
    assert np.min(np.mean(enough, axis=0)) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200)


def test_a_weighted_pilot_knows_what_its_events_know(path):
    """Another index weights the events in bins of reconstructed energy; the uncertainty is that of the weights."""
    for index in (1.5, 2.5):
        pilot = pilot_statistics(DL2File(path), WHOLE, index=index, axis="reco")
        file = DL2File(path)
        area = measure_effective_area(file, count_events(file, index=index, reco=True), axis="reco")
        np.testing.assert_allclose(pilot.relative_uncertainty, area.relative_uncertainty)


# ---------------------------------------------------------------- what the studies ask


def test_the_highest_energy_holds_bins_out(path):
    """Bins must end below it; together with the lowest energy only those between count."""
    pilot = pilot_statistics(DL2File(path), WHOLE)
    for highest, held in ((np.inf, 5), (3.0, 5), (2.999999, 5), (2.99, 4), (1.0, 4), (0.3, 3), (0.0999, 1), (0.02, 0)):
        need = requirement(pilot, energy_max=highest)
        assert need.held.tolist() == [True] * held + [False] * (5 - held)
    need = requirement(pilot, energy_limit=0.03, energy_max=0.3)
    assert need.held.tolist() == [False, True, True, False, False]
    assert need.deciding_bin == 1 + int(np.argmax(pilot.density[1:3]))
    assert need.density == pilot.density[1:3].max()
    assert need.bound == pilot.density_bound[1:3].max()
    assert need.undetermined == ()


def test_disc_factors_by_hand(path):
    """D'/D with D' = 1 + (D - 1) (n - 1) / (n_p - 1) (R_p² / R²), at most n, or what D > n_p says."""
    pilot = pilot_statistics(DL2File(path), WHOLE)
    assert pilot.n_use == 10
    strong = dataclasses.replace(pilot, design_effect=np.array([1.0, 1.5, 4.0, 9.9, 14.0]))
    radii = np.array([150.0, 700.0, 800.0, 4000.0])
    for n_use in (None, 1, 2, 10, 50):
        found = disc_factors(strong, radii, n_use=n_use)
        n = n_use or 10
        for i, radius in enumerate(radii):
            for j, design in enumerate(strong.design_effect):
                grown = 1 + (design - 1) * (n - 1) / 9 * (800.0**2 - 100.0**2) / radius**2
                grown = min(grown, 1 + (n - 1) * max(1.0, (design - 1) / 9))
                assert found[i, j] == pytest.approx(grown / design)
            np.testing.assert_array_equal(disc_factors(strong, radius, n_use=n_use), found[i])
    assert disc_factors(strong, radii).shape == (4, 5)
    assert disc_factors(strong, 800.0).shape == (5,)
    same_area = np.sqrt(800.0**2 - 100.0**2)
    np.testing.assert_allclose(disc_factors(strong, same_area), 1.0)


def test_a_single_use_tells_nothing_of_more(path):
    single = dataclasses.replace(pilot_statistics(DL2File(path), WHOLE), n_use=1, design_effect=np.ones(5))
    np.testing.assert_array_equal(disc_factors(single, 500.0), np.ones(5))
    np.testing.assert_array_equal(disc_factors(single, 500.0, n_use=1), np.ones(5))
    for n_use in (2, 20):
        with pytest.raises(ProdconfError, match="n_use must be 1"):
            disc_factors(single, 500.0, n_use=n_use)


@pytest.mark.parametrize("index", [1.0, 2.0, 2.7])
def test_numbers_of_events_of_many_productions_are_those_of_each(index):
    rng, m = np.random.default_rng(3), 40
    ranges = {
        "energy_min": 10 ** rng.uniform(-3, -1, m),
        "energy_max": 10 ** rng.uniform(0, 2.5, m),
        "radius": rng.uniform(100, 2000, m),
        "viewcone": np.append(rng.uniform(0, 10, m - 1), 0.0),
    }
    density = rng.uniform(1e-4, 1, m)
    found = number_of_events(density, index, **ranges)
    assert found.shape == (m,)
    for i in range(m):
        one = number_of_events(float(density[i]), index, **{name: float(x[i]) for name, x in ranges.items()})
        assert found[i] == one
    low, high = ranges["energy_min"][-1], ranges["energy_max"][-1]
    spectrum = np.log(high / low) if index == 1 else (high ** (1 - index) - low ** (1 - index)) / (1 - index)
    assert found[-1] == pytest.approx(density[-1] * np.pi * ranges["radius"][-1] ** 2 * spectrum)  # per direction
    crossed = number_of_events(density[:, None], index, **(ranges | {"radius": 500.0, "viewcone": [3.0] * m}))
    assert crossed.shape == (m, m)
