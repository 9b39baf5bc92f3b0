"""Events, areas and thresholds between pilots: closed forms, plain loops, Monte Carlo, real files."""

import io
import warnings
from copy import copy
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u

from prodconf.calculate_statistical_errors_grid_point import StatisticalErrorEvaluator
from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.derive_production_statistics import ProductionStatisticsDerivator
from prodconf.formulas import power_law
from prodconf.formulas.energy_threshold import EnergyCounts, EnergyThreshold, shared_reference
from prodconf.formulas.scaled_energies import Morphing
from prodconf.interpolation_handler import InterpolationHandler
from prodconf.precision.pilots import number_of_events
from prodconf.precision.targets import Metric, Metrics, read_metrics
from prodconf.sky.interpolation import PilotPoints, grid_weights, leave_one_out
from prodconf.toys.models import ArrayModel, Throw

EDGES = np.logspace(-2, 2, 41)
CENTRES = np.sqrt(EDGES[:-1] * EDGES[1:])
AREA_ONLY = Metrics(uncertainty_effective_area=Metric(target=0.02, energy_min=0.1, energy_max=10.0))
BOTH = Metrics(
    uncertainty_effective_area=Metric(target=0.05, energy_min=0.1, energy_max=10.0),
    energy_estimate=Metric(target=0.004, energy_min=0.3, energy_max=5.0),
)


def turn_on(x):
    return 3e5 * x**3 / (1 + x**2.8)


@dataclass
class Stand:
    """An evaluator whose counts are what is expected, or drawn around it; the energy target needs 0.1 / E of them."""

    zenith: float
    azimuth: float | None = 0.0
    nsb: float | None = 0.24
    offset: float | None = 0.0
    area: object = turn_on
    edges: np.ndarray = dataclass_field(default_factory=lambda: EDGES)
    energy_range: tuple = (0.01, 100.0)
    radius: float = 2000.0
    viewcone: float = 5.0
    thrown: float = 1e10
    index: float = 2.0
    energy_axis: str = "true"
    empty: tuple = ()
    status: str = "ok"
    rng: object = None
    power: float = 2.5

    def __post_init__(self):
        self.name = f"{self.zenith:g}deg.fits"
        self.file = SimpleNamespace(
            path=SimpleNamespace(name=self.name),
            energy_edges=self.edges,
            energy_range=self.energy_range,
            header=SimpleNamespace(
                core_scatter_min=0.0, core_scatter_max=self.radius, viewcone_min=0.0, viewcone_max=self.viewcone
            ),
        )
        place = zip((1.0, self.azimuth, self.zenith, self.nsb, self.offset), ("TeV", "deg", "deg", "", "deg"))  # noqa: B905
        self.grid_point = tuple(None if v is None else u.Quantity(v, unit) for v, unit in place)
        self.e_t = 0.03 / np.cos(np.deg2rad(self.zenith)) ** self.power
        n = self.thrown * power_law.bin_fractions(self.edges, 2.0)
        p = self.area(np.sqrt(self.edges[:-1] * self.edges[1:]) / self.e_t) / (np.pi * self.radius**2)
        self.n, self.k = n, n * p if self.rng is None else self.rng.poisson(n * p).astype(float)
        self.k[list(self.empty)] = 0.0

    @property
    def energy_counts(self):
        return EnergyCounts(self.edges, self.k, self.n)

    @property
    def own_threshold(self):
        return self.threshold()

    def threshold(self, **_):
        known = self.status != "undetermined"
        value = self.e_t if known else np.nan
        nan = np.nan
        return EnergyThreshold(value, 0.98 * value, 1.02 * value, 0.6827, 0.1, nan, nan, nan, nan, self.status)

    def pilot(self, metrics):
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.where(self.k > 0, self.k / self.n, np.nan)
        disc, cone = np.pi * self.radius**2, 2 * np.pi * (1 - np.cos(np.deg2rad(self.viewcone)))
        edges = np.clip(self.edges, *self.energy_range)
        etendue = disc * cone * power_law.integral(edges[:-1], edges[1:], self.index)
        asked = [(k, name, m) for k, (name, m) in enumerate(metrics) if m is not None]
        needs = [(1 - p if k == 0 else 0.1 / np.sqrt(self.edges[:-1])) / p / m.target**2 for k, _, m in asked]
        with np.errstate(divide="ignore", invalid="ignore"):
            density = np.where(etendue > 0, np.array(needs) / etendue, np.nan)
        held = np.array([m.covers(self.edges) for _, _, m in asked])
        density = np.where(held, density, -np.inf).max(axis=0)
        density[~held.any(axis=0) | np.isnan(p)] = np.nan
        status = np.where(self.k >= 100, "ok", np.where(self.k > 0, "sample_limited", "undetermined"))
        return SimpleNamespace(
            index=self.index,
            energy_edges=self.edges,
            density=density,
            n_effective=self.k,
            status=status,
            n_passed=self.k,
            n_simulated=self.n,
            effective_area=disc * p,
            relative_uncertainty=np.where(self.k > 0, 1 / np.sqrt(np.maximum(self.k, 1)), np.nan),
            requested=held.any(axis=0),
            density_bound=density,
            density_floor=np.zeros_like(density),
            decided_by=np.full(self.k.shape, "uncertainty_effective_area"),
        )


def three(**arguments):
    return [Stand(z, **arguments) for z in (20.0, 40.0, 60.0)]


def at(zenith, energy=1.1):
    return (energy, 0.0, zenith, 0.24, 0.0)


def test_power_law_areas_and_thresholds_are_exact_everywhere():
    handler = InterpolationHandler(three(area=lambda x: 1e4 * x), AREA_ONLY)
    zenith = np.linspace(20, 60, 21)
    found = handler.effective_area([at(z) for z in zenith])
    e_t = 0.03 / np.cos(np.deg2rad(zenith)) ** 2.5
    centre = CENTRES[np.searchsorted(EDGES, 1.1) - 1]
    np.testing.assert_allclose(found["effective_area"].to_value("m2"), 1e4 * centre / e_t, rtol=1e-12)
    assert handler.interpolate_energy_threshold(at(33.0)) == pytest.approx(0.03 / np.cos(np.deg2rad(33)) ** 2.5)
    for axes in handler.interpolation_errors.values():
        assert axes["zenith"] == pytest.approx(0, abs=1e-9)


def test_a_turn_on_is_reproduced_for_thresholds_whole_bins_apart_and_within_its_curvature_elsewhere():
    zenith = np.rad2deg(np.arccos(10 ** (-0.1 * np.arange(7) / 2.5)))
    handler = InterpolationHandler([Stand(z) for z in zenith[::3]], AREA_ONLY)
    queries = [at(z, e) for z in zenith for e in CENTRES[8:34]]
    truth = turn_on(np.tile(CENTRES[8:34], 7) / np.repeat(0.03 * 10 ** (0.1 * np.arange(7)), 26))
    found = handler.effective_area(queries)["effective_area"].value
    np.testing.assert_allclose(found, truth, rtol=1e-11)
    between = np.array([at(z, e) for z in (25.0, 44.0) for e in CENTRES[8:34]])
    between = between[between[:, 2] < zenith[-1]]
    e_t = 0.03 / np.cos(np.deg2rad(between[:, 2])) ** 2.5
    found = handler.effective_area(between)["effective_area"].value
    bound = np.log(10) ** 2 / 100 / 8 * 2.8**2 / 4  # h^2 / 8 times the largest second derivative
    assert np.abs(np.log(found / turn_on(between[:, 0] / e_t))).max() < bound


def test_a_pilot_gets_its_own_numbers():
    pilots = three(energy_range=(0.012, 60.0))
    events = InterpolationHandler(pilots, AREA_ONLY).interpolate([at(40.0, e) for e in CENTRES])
    own = pilots[1].pilot(AREA_ONLY)
    total = number_of_events(
        np.nanmax(own.density), 2.0, energy_min=0.012, energy_max=60.0, radius=2000.0, viewcone=5.0
    )
    np.testing.assert_allclose(
        events, total * power_law.bin_fractions(EDGES, 2.0, energy_min=0.012, energy_max=60.0), rtol=1e-12
    )


def brute_total(pilots, metrics, query):
    """Do everything for one query in plain loops."""
    points = PilotPoints(
        [p.zenith for p in pilots],
        [p.azimuth for p in pilots],
        [p.nsb for p in pilots],
        offset=[p.offset for p in pilots],
    )
    weight = grid_weights(points, query[2], query[1], query[3], offset=query[4]).matrix.toarray()[0]
    used = np.flatnonzero(weight)
    e_t = np.exp(sum(weight[i] * np.log(pilots[i].e_t) for i in used))
    low, high = (np.exp(sum(weight[i] * np.log(pilots[i].energy_range[end]) for i in used)) for end in (0, 1))
    largest = 0.0
    for name, metric in metrics:
        if metric is None:
            continue
        everywhere = Metrics(**{name: Metric(target=metric.target, energy_min=EDGES[0], energy_max=EDGES[-1])})
        for j in np.flatnonzero(metric.covers(EDGES) & (EDGES[:-1] >= low) & (EDGES[1:] <= high)):
            total = 0.0
            for i in used:
                s = power_law.integral(
                    np.clip(EDGES[:-1], *pilots[i].energy_range), np.clip(EDGES[1:], *pilots[i].energy_range), 2.0
                )
                with np.errstate(divide="ignore"):
                    log_a = -np.log(pilots[i].pilot(everywhere).density * metric.target**2 * s)
                total += weight[i] * np.interp(np.log(CENTRES[j] * pilots[i].e_t / e_t), np.log(CENTRES), log_a)
            s = power_law.integral(EDGES[j], EDGES[j + 1], 2.0)
            largest = max(largest, float(np.exp(-total) / metric.target**2 / s))
    radius, viewcone = (sum(weight[i] * getattr(pilots[i], name) for i in used) for name in ("radius", "viewcone"))
    return float(number_of_events(largest, 2.0, energy_min=low, energy_max=high, radius=radius, viewcone=viewcone))


def test_agrees_with_plain_loops_on_four_axes_two_targets_and_mixed_ranges():
    rng = np.random.default_rng(8)
    pilots = [
        Stand(
            z,
            azimuth=a,
            nsb=b,
            offset=o,
            energy_range=(0.01 * (1 + z / 100), 80 + z / 3),
            radius=1500 + 10 * z,
            viewcone=5 + z / 30,
            power=2.5 + o / 10,
        )
        for z in (20.0, 40.0, 60.0)
        for a in (0.0, 180.0)
        for b in (0.24, 1.0)
        for o in (0.0, 2.0)
    ]
    queries = np.column_stack(
        [
            np.exp(rng.uniform(np.log(0.02), np.log(50), 12)),
            rng.uniform(0, 360, 12),
            rng.uniform(20, 60, 12),
            rng.uniform(0.24, 1, 12),
            rng.uniform(0, 2, 12),
        ]
    )
    found = InterpolationHandler(pilots, BOTH).interpolate_records(queries)
    np.testing.assert_allclose(found["total"], [brute_total(pilots, BOTH, q) for q in queries], rtol=1e-9)
    assert set(found["decided_by"]) <= {"uncertainty_effective_area", "energy_estimate"}
    np.testing.assert_allclose(InterpolationHandler(pilots, BOTH).interpolate(queries), found["value"], rtol=1e-12)
    only = Metrics(energy_estimate=BOTH.energy_estimate)
    assert set(InterpolationHandler(pilots, only).interpolate_records(queries)["decided_by"]) == {"energy_estimate"}


def test_stated_uncertainty_covers_the_scatter_of_the_pilots():
    pulls = {"value": [], "effective_area": []}
    queries = [at(52.0, 5.2), at(28.0, 5.2), at(40.0, 5.2)]
    truth = InterpolationHandler(three(), AREA_ONLY).interpolate_records(queries)
    for seed in range(120):
        rng = np.random.default_rng(seed)
        handler = InterpolationHandler(three(rng=rng, thrown=3e7), AREA_ONLY)
        handler.interpolation_errors = {"total": {}, "effective_area": {}, "threshold": {}}  # statistics alone
        found = handler.interpolate_records(queries)
        pulls["effective_area"].append(
            (found["effective_area"] - truth["effective_area"]) / found["effective_area_sigma"]
        )
    rms = np.sqrt(np.mean(np.square(pulls["effective_area"])))
    assert rms == pytest.approx(1.0, abs=0.12)  # 360 pulls, correlated in pairs


def test_undetermined_bins_and_pilots_travel_only_to_their_neighbours():
    pilots = three()
    pilots[2] = Stand(60.0, empty=range(25))
    handler = InterpolationHandler(pilots, AREA_ONLY)
    found = handler.interpolate_records([at(30.0), at(50.0), at(60.0)])
    assert found["status"].tolist() == ["ok", "undetermined", "undetermined"]
    with pytest.warns(ProdconfWarning, match="1 of 2 query points are undetermined in part"):
        handler.interpolate([at(30.0), at(50.0)])
    pilots[2] = Stand(60.0, empty=range(40))
    with pytest.raises(ProdconfError, match=r"row 1: .* must determine a requested bin, got none; 1 of 2 rows"):
        InterpolationHandler(pilots, AREA_ONLY).interpolate([at(30.0), at(50.0)])
    found = InterpolationHandler(pilots, AREA_ONLY).interpolate_records([at(30.0), at(50.0)])
    assert np.isnan(found["value"]).tolist() == [False, True]
    assert found["status"].tolist() == ["ok", "undetermined"]
    assert found["decided_by"].tolist() == ["uncertainty_effective_area", ""]


def test_a_small_pilot_makes_its_surroundings_sample_limited():
    pilots = three()
    pilots[0] = Stand(20.0, thrown=1e5)
    found = InterpolationHandler(pilots, AREA_ONLY).interpolate_records([at(25.0), at(50.0)])
    assert found["status"].tolist() == ["sample_limited", "ok"]


def test_a_pilot_without_threshold_answers_at_its_own_place_only():
    pilots = three()
    pilots[1] = Stand(40.0, status="undetermined")
    handler = InterpolationHandler(pilots, AREA_ONLY)
    assert handler.interpolate_records([at(40.0), at(30.0)])["status"].tolist() == ["ok", "undetermined"]
    with pytest.raises(ProdconfError, match=r"must have an energy threshold, got none for 40deg\.fits"):
        handler.interpolate_energy_threshold(at(30.0))


def test_thresholds_at_the_nodes_are_the_evaluators_own(real):
    """Also after another fraction was asked for; thresholds of several kinds are not mixed."""
    metrics, evaluators = real[0], [copy(evaluator) for evaluator in real[1]]
    handler = InterpolationHandler(evaluators, metrics)
    places = [(1.0, *(None if part is None else float(part.value) for part in e.grid_point[1:])) for e in evaluators]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProdconfWarning)
        for fraction in (0.1, 0.5):
            own = [float(evaluator.calculate_energy_threshold(fraction)) for evaluator in evaluators]
            assert [handler.interpolate_energy_threshold(place) for place in places] == pytest.approx(own, rel=1e-12)
        evaluators[0].calculate_energy_threshold(0.1)
    between = (*places[0][:2], (places[0][2] + places[1][2]) / 2, *places[0][3:])
    with pytest.raises(ProdconfError, match=r"thresholds of one kind, got 0\.1 of .* for .*, 0\.5 of "):
        handler.interpolate_energy_threshold(between)


def test_a_total_below_both_neighbours_is_no_surer_than_the_dip():
    """Bins that decide at one pilot each: at equal energy over threshold neither decides in between."""

    def spike(place):
        return lambda x: turn_on(x) * np.where(abs(np.log(x / place)) < 0.3, 0.05, 1.0)

    pilots = [Stand(20.0, area=spike(20.0)), Stand(60.0, area=spike(3.0))]
    found = InterpolationHandler(pilots, AREA_ONLY).interpolate_records([at(z) for z in (20.0, 40.0, 60.0)])
    total, relative = found["total"], found["sigma"] / found["value"]
    assert total[1] < 0.8 * min(total[0], total[2])
    assert relative[1] >= np.log(min(total[0], total[2]) / total[1]) * 0.99
    assert relative[1] > 2 * max(relative[0], relative[2])


def test_error_of_the_interpolation_is_told_or_its_absence():
    bent = [Stand(z, area=lambda x, z=z: turn_on(x) * (1 + 0.3 * np.cos(0.15 * z))) for z in (20.0, 40.0, 60.0)]
    handler = InterpolationHandler(bent, AREA_ONLY)
    found = handler.interpolate_records([at(40.0), at(30.0)])
    assert found["leave_one_out"][0] == 0
    assert found["leave_one_out"][1] == pytest.approx(handler.interpolation_errors["total"]["zenith"])
    assert found["leave_one_out"][1] > 0.05
    assert handler.interpolation_errors["total"]["zenith"] >= handler.interpolation_errors["effective_area"]["zenith"]
    assert found["sigma"][1] >= found["leave_one_out"][1] * found["value"][1]
    two = InterpolationHandler(three()[:2], AREA_ONLY).interpolate_records([at(20.0), at(30.0)])
    assert np.isnan(two["leave_one_out"]).tolist() == [False, True]
    assert np.isfinite(two["sigma"]).all()
    assert two.meta["notes"] == ["the error of the interpolation along zenith could not be measured: 2 nodes"]


def test_nearest_is_flagged_and_warned_of():
    handler = InterpolationHandler(three(), AREA_ONLY, outside="nearest")
    queries = [(1.1, 180.0, 40.0, 0.24, 0.0), at(40.0)]
    assert handler.interpolate_records(queries)["outside"].tolist() == [True, False]
    with pytest.warns(ProdconfWarning, match="1 of 2 query points are outside"):
        value = handler.interpolate(queries)
    assert value[0] == value[1]
    with pytest.warns(ProdconfWarning, match="outside"):
        assert handler.interpolate_energy_threshold(at(70.0)) == pytest.approx(Stand(60.0).e_t)


def test_other_edges_spectra_and_axes_are_refused():
    sides = [Stand(20.0), Stand(40.0, edges=np.logspace(-2, 2, 21))]
    with pytest.raises(ProdconfError, match=r"20deg\.fits and .* 40deg\.fits"):
        InterpolationHandler(sides, AREA_ONLY)
    with pytest.raises(ProdconfError, match=r"one energy_axis, got 'true' in 20deg.* 'reco' in 40deg"):
        InterpolationHandler([Stand(20.0), Stand(40.0, energy_axis="reco")], AREA_ONLY)
    with pytest.raises(ProdconfError, match=r"spectral_index must be given .*\[2.0, 2.6\]"):
        InterpolationHandler([Stand(20.0), Stand(40.0, index=2.6)], AREA_ONLY).interpolate([at(30.0)])
    with pytest.raises(ProdconfError, match=r"20deg\.fits and 20deg\.fits at one place"):
        InterpolationHandler([Stand(20.0), Stand(20.0)], AREA_ONLY)
    with pytest.raises(ProdconfError, match="at least one"):
        InterpolationHandler([], AREA_ONLY)
    with pytest.raises(ProdconfError, match="must be StatisticalErrorEvaluators, got str"):
        InterpolationHandler(["20deg.fits"], AREA_ONLY)
    with pytest.raises(ProdconfError, match="must be StatisticalErrorEvaluators, got NoneType"):
        InterpolationHandler(None, AREA_ONLY)
    for index in (-2.0, 0.0, np.nan, 25.0, [2.0, 3.0]):
        with pytest.raises(ProdconfError, match="spectral_index"):
            InterpolationHandler(three(), AREA_ONLY, spectral_index=index)
    with pytest.raises(ProdconfError, match='outside must be "refuse" or "nearest", got \'clip\''):
        InterpolationHandler(three(), AREA_ONLY, outside="clip")


def test_targets_must_hold_bins_that_all_have():
    odd = np.append(0.003, EDGES)
    wide = Metrics(uncertainty_effective_area=Metric(target=0.02, energy_min=0.001, energy_max=10.0))
    pilots = [Stand(20.0, edges=odd), Stand(40.0)]
    with pytest.raises(ProdconfError, match=r"got 0\.003 to 0\.01 TeV, which only 20deg\.fits has"):
        InterpolationHandler(pilots, wide).interpolate([at(30.0)])
    assert InterpolationHandler(pilots, AREA_ONLY).interpolate([at(30.0)]) > 0
    high = Metrics(uncertainty_effective_area=Metric(target=0.02, energy_min=500.0, energy_max=900.0))
    with pytest.raises(ProdconfError, match="must hold a bin"):
        InterpolationHandler(three(), high).interpolate([at(30.0)])
    with pytest.raises(ProdconfError, match="metrics must hold a target"):
        InterpolationHandler(three(), None).interpolate([at(30.0)])
    assert InterpolationHandler(three(), None).interpolate_energy_threshold(at(20.0)) == Stand(20.0).e_t
    with pytest.raises(ProdconfError, match=r"row 1: energy must lie in the bins of the evaluators, 0\.01 to 100 TeV"):
        InterpolationHandler(three(), AREA_ONLY).interpolate([at(30.0), at(30.0, 101.0)])


def test_bins_that_only_some_pilots_have_are_read_where_the_threshold_is_low():
    steps = np.rad2deg(np.arccos(10 ** (-0.1 * np.array([0, 5, 10]) / 2.5)))  # thresholds five bins apart
    pilots = [Stand(z, edges=EDGES[k:], energy_range=(EDGES[k], 100.0)) for z, k in zip(steps, (0, 5, 10), strict=True)]
    handler = InterpolationHandler(pilots, AREA_ONLY)
    query = [at(steps[1], CENTRES[5]), at(np.rad2deg(np.arccos(10 ** (-0.1 / 2.5))), CENTRES[1])]
    found = handler.effective_area([*query, at(steps[1], CENTRES[3])])
    truth = turn_on(CENTRES[[5, 1]] / (0.03 * 10 ** np.array([0.5, 0.1])))
    np.testing.assert_allclose(found["effective_area"].value[:2], truth, rtol=1e-10)
    assert found["status"][2] == "undetermined"  # that pilot has no such bin


def test_pilots_at_single_offsets_are_interpolated_along_them_without_solid_angle():
    pilots = [Stand(20.0, offset=o, area=lambda x, o=o: turn_on(x) / (1 + o)) for o in (0.0, 1.0, 2.0)]
    for pilot in pilots:
        pilot.file.header.viewcone_min = pilot.file.header.viewcone_max = pilot.offset
        pilot.viewcone = np.rad2deg(np.arccos(1 - 1 / (2 * np.pi)))  # one steradian: densities without solid angle
    handler = InterpolationHandler(pilots, AREA_ONLY)
    own = pilots[1].pilot(AREA_ONLY)
    total = np.nanmax(own.density) * np.pi * 2000.0**2 * power_law.integral(0.01, 100.0, 2.0)
    found = handler.interpolate_records([(1.1, 0, 20, 0.24, 1.0), (1.1, 0, 20, 0.24, 1.5)])
    assert found["total"][0] == pytest.approx(total, rel=1e-12)
    share = (1 - np.cos(np.deg2rad(1.5)) - (1 - np.cos(np.deg2rad(1.0)))) / (
        np.cos(np.deg2rad(1.0)) - np.cos(np.deg2rad(2.0))
    )
    area = handler.effective_area([(1.1, 0, 20, 0.24, o) for o in (0.0, 1.5)])["effective_area"]
    assert float(area[1] / area[0]) == pytest.approx(2 ** (share - 1) / 3**share, rel=1e-12)
    with pytest.raises(ProdconfError, match=r"a cone or all at one offset, got 40deg\.fits and 20deg\.fits"):
        InterpolationHandler([pilots[0], Stand(40.0)], AREA_ONLY).interpolate([(1.1, 0, 20, 0.24, 0)])


def test_comparison_is_a_figure_with_units():
    figure = InterpolationHandler(three(), AREA_ONLY).plot_comparison(Stand(40.0))
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "TeV" in axes.get_xlabel()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "thrown",
        "derived for the production",
        "reconstructed",
    ]
    figure.savefig(io.BytesIO(), format="png")


def test_a_hundred_thousand_queries_are_answered_at_once():
    pilots = [
        Stand(z, azimuth=a, offset=o)
        for z in np.linspace(0, 60, 6)
        for a in np.arange(5) * 72.0
        for o in np.linspace(0, 5, 4)
    ]
    rng = np.random.default_rng(9)
    m = 100_000
    queries = np.column_stack(
        [rng.uniform(0.1, 50, m), rng.uniform(0, 360, m), rng.uniform(0, 60, m), np.full(m, 0.24), rng.uniform(0, 5, m)]
    )
    handler = InterpolationHandler(pilots, AREA_ONLY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProdconfWarning)
        values = handler.interpolate(queries)
        few = handler.interpolate(queries[::5000])
    assert values.shape == (m,)
    np.testing.assert_allclose(values[::5000], few, rtol=1e-12)


@pytest.fixture(scope="module")
def real(shared_data):
    """The three real files, as evaluators on true energy."""
    metrics = Metrics(uncertainty_effective_area=Metric(target=0.02, energy_min=0.1, energy_max=3.2))
    name = "prod6_LaPalma-{}deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits"
    return metrics, [
        StatisticalErrorEvaluator(
            shared_data / "dl2" / name.format(z),
            metrics,
            (None, 0, z, 0.24, 0),
            offset_max=1.0,
            simulated_fraction="runs",
        )
        for z in (20, 40, 60)
    ]


def same_as_the_derivator(evaluators, metrics, index=None):
    handler = InterpolationHandler(evaluators, metrics, spectral_index=index)
    for evaluator in evaluators:
        derivator = ProductionStatisticsDerivator(evaluator, metrics, spectral_index=index)
        place = [None if part is None else float(part.value) for part in evaluator.grid_point[1:]]
        queries = [(energy, *place) for energy in (0.05, 0.15, 0.9, 4.0)]
        record = handler.interpolate_records(queries)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ProdconfWarning)
            theirs = [derivator.calculate_production_statistics_at_grid_point(q).value for q in queries]
            np.testing.assert_allclose(handler.interpolate(queries), theirs, rtol=1e-12)
        assert set(record["status"]) == {derivator.total.status}
        np.testing.assert_allclose(record["sigma"] / record["value"], derivator.total.sigma / derivator.total.n_events)
        assert record["decided_by"][0] == derivator.total.decided_by
        reference = shared_reference([one.energy_counts for one in evaluators])
        assert record["threshold"][0].value == pytest.approx(evaluator.threshold(reference_energy=reference).value)


def test_pilots_of_the_sample_get_the_numbers_of_the_derivator(small_sample):
    metrics = read_metrics(small_sample.metrics)
    evaluators = [
        StatisticalErrorEvaluator(path, metrics, (None, None, None, 0.24, 0)) for path in small_sample.dl2_events
    ]
    same_as_the_derivator(evaluators, metrics)


@pytest.mark.parametrize("axis", ["true", "reco"])
def test_another_spectrum_is_that_of_the_derivator_too(small_sample, axis):
    metrics = read_metrics(small_sample.metrics)
    place = (None, None, None, 0.24, 0)
    evaluators = [StatisticalErrorEvaluator(p, metrics, place, energy_axis=axis) for p in small_sample.dl2_events]
    same_as_the_derivator(evaluators, metrics, 2.3)


def test_area_between_pilots_of_the_sample_is_that_of_its_model(small_sample):
    metrics = read_metrics(small_sample.metrics)
    evaluators = [
        StatisticalErrorEvaluator(path, metrics, (None, None, None, 0.24, 0)) for path in small_sample.dl2_events
    ]
    handler = InterpolationHandler(evaluators, metrics)
    edges = handler.energy_edges[:14]
    found = handler.effective_area([(np.sqrt(a * b), 0, 30, 0.24, 0) for a, b in pairwise(edges)])
    throw = evaluators[0].file.header
    model = ArrayModel(Throw(float(edges[0]), 330.0, 2.0, 1900.0, throw.viewcone_max, 30.0, 0.0, 0.24))
    truth = model.efficiencies(edges) * np.pi * 1900.0**2
    pulls = ((found["effective_area"].value - truth) / found["sigma"].value)[1:]
    assert np.isfinite(pulls).all()
    assert np.sum(pulls**2) < 27.7  # chi-square of 12 bins at 99.4 %


def test_real_pilots_get_the_numbers_of_the_derivator(real):
    metrics, evaluators = real
    same_as_the_derivator(evaluators, metrics)


def test_real_files_are_met_at_fixed_energy_over_threshold_only(real):
    metrics, evaluators = real
    thresholds = np.array([evaluator.threshold(reference_energy=1.0).value for evaluator in evaluators])
    points = PilotPoints([20, 40, 60], 0, 0.24)
    assert leave_one_out(points, thresholds, transform="log")["zenith"] < 0.1
    assert np.interp(40, [20, 60], thresholds[::2]) / thresholds[1] > 1.4
    areas = np.log([pilot.effective_area[-60:] for pilot in (e.pilot(metrics) for e in evaluators)])
    log_e = np.log(evaluators[2].file.energy_edges)
    centres = (log_e[:-1] + log_e[1:]) / 2
    weights = grid_weights(PilotPoints([20, 60], 0, 0.24), 40, 0, 0.24).matrix
    near = (centres > np.log(0.7 * thresholds[1])) & (centres < np.log(3 * thresholds[1]))
    rms = {}
    for name, log_threshold in (("morphed", np.log(thresholds[::2])), ("fixed", np.zeros(2))):
        gap = Morphing(weights, log_threshold, centres).read(areas[::2], np.arange(60))[0] - areas[1]
        rms[name] = np.sqrt(np.mean(gap[near] ** 2))
    assert rms["morphed"] < 0.2  # of which 0.13 are statistics
    assert rms["fixed"] > 0.5


# --- the documented query ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nothing", [0.0, None, np.nan])
def test_the_documented_query_of_evaluators_that_know_their_pointing_alone(nothing):
    """[1, 0, 30, 0, 0] where no evaluator knows background and offset; azimuth is one for all."""
    known = InterpolationHandler(three(), AREA_ONLY)
    blind = InterpolationHandler(three(nsb=None, offset=None), AREA_ONLY)
    expected = known.interpolate([at(30.0)])
    for azimuth in (0.0, None):
        np.testing.assert_array_equal(blind.interpolate([1.1, azimuth, 30.0, nothing, nothing]), expected)
    table = blind.interpolate_records([[1.1, 0.0, 30.0, nothing, nothing]])
    assert not table["outside"].any()
    assert blind.interpolate_energy_threshold([1.1, 0, 30, 0, 0]) == known.interpolate_energy_threshold(at(30.0))


def test_records_say_what_is_thrown(small_sample):
    evaluators = [StatisticalErrorEvaluator(path) for path in small_sample.dl2_events]
    handler = InterpolationHandler(evaluators, AREA_ONLY)
    for evaluator in evaluators:
        header = evaluator.file.header
        row = handler.interpolate_records([(1.0, *[None if x is None else x.value for x in evaluator.grid_point[1:]])])
        for name, low, high in (
            ("energy", header.energy_min, header.energy_max),
            ("core", header.core_scatter_min, header.core_scatter_max),
            ("viewcone", header.viewcone_min, header.viewcone_max),
        ):
            assert row[f"thrown_{name}_min"][0].value == pytest.approx(low, rel=1e-9)
            assert row[f"thrown_{name}_max"][0].value == pytest.approx(high, rel=1e-9)


def test_a_pilot_without_threshold_is_named_between_the_pilots(shared_data):
    """The pilot at 60 deg was thrown from above its threshold: what is read at equal energy over it ends there."""
    folder = shared_data / "cases/node_energy_ranges"
    metrics = read_metrics(folder / "metrics.yml")
    evaluators = [StatisticalErrorEvaluator(folder / f"gamma_za{zenith}.fits", metrics) for zenith in (20, 60)]
    handler = InterpolationHandler(evaluators, metrics)
    for call in (handler.interpolate, handler.interpolate_energy_threshold):
        with pytest.raises(
            ProdconfError, match=r"energy threshold.* got none for gamma_za60\.fits \(.*0\.0501 TeV"
        ) as caught:
            call([1.0, 0.0, 40.0, None, None])
        assert len(str(caught.value)) <= 300
    assert handler.interpolate([1.0, 0.0, 60.0, None, None]) > 0
