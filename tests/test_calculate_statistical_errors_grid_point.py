"""The evaluator: the predecessor's numbers where they are right, closed forms, pyirf, and what is refused."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from prodconf.calculate_statistical_errors_grid_point import StatisticalErrorEvaluator
from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.events.dl2 import DL2Header, write_dl2
from prodconf.precision.targets import Metric, Metrics, parse_metrics, read_metrics

NAME = "dl2/prod6_LaPalma-{}deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits"
EDGES = np.round(np.logspace(np.log10(0.02), 2, 38), 12)
AREA = {
    "uncertainty_effective_area": {
        "target_uncertainty": {"value": 0.1},
        "energy_range": {"value": [0.1, 3], "unit": "TeV"},
    }
}
ENERGY = {
    "energy_estimate": {"target_uncertainty": {"value": 0.05}, "energy_range": {"value": [0.1, 3], "unit": "TeV"}}
}


def write_toy(path, seed, *, n_runs=100, n_showers=100, n_use=10, cut=None, header_offset=5.0):
    """Pass probability .4 min(1, (E / .3 TeV)^2) per use, E^-2 from .02 to 100 TeV, offsets uniform in solid angle."""
    rng = np.random.default_rng(seed)
    n = n_runs * n_showers
    energy = 0.02 / (1 - rng.random(n) * (1 - 0.02 / 100))
    passes = rng.binomial(n_use, 0.4 * np.minimum(1, (energy / 0.3) ** 2))
    event = np.repeat(np.arange(n), passes)
    offset = np.degrees(np.arccos(1 - rng.random(event.size) * (1 - np.cos(np.radians(header_offset)))))
    if cut is not None:
        event, offset = event[offset < cut], offset[offset < cut]
    true = energy[event]
    write_dl2(
        path,
        DL2Header(n_showers, n_use, 1000.0, header_offset, 0.02, 100.0, -2.0, zenith=20.0, azimuth=180.0),
        energy_edges=EDGES,
        n_simulated=np.histogram(energy, EDGES)[0] * n_use,
        run=1 + event // n_showers,
        energy_true=true,
        energy_reco=true * np.exp(0.15 * rng.standard_normal(event.size)),
        azimuth_true=np.full(event.size, 180.0),
        altitude_true=70.0 + offset,
        azimuth_reco=np.full(event.size, 180.0),
        altitude_reco=70.0 + offset + 0.05 * np.abs(rng.standard_normal(event.size)),
    )
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("evaluator") / "toy.fits", 5)


def quiet(*arguments, **options):
    """An evaluator of a file that is not normalised on purpose."""
    evaluator = StatisticalErrorEvaluator(*arguments, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProdconfWarning)
        _ = evaluator.file.n_simulated
    return evaluator


# Numbers of the predecessor, gammasimtools 0.16.0, run as it is: lower bin edge in TeV, relative error.
PREDECESSOR = {
    20: [
        (0.003, 0.408248290),
        (0.025119, 0.098532909),
        (0.079433, 0.076923001),
        (0.251189, 0.113960414),
        (0.794328, 0.158113513),
        (2.51189, 0.176775652),
        (7.94328, 0.242533220),
        (39.8107, 0.408240995),
    ],
    40: [
        (0.01, 1.0),
        (0.031623, 0.125988148),
        (0.1, 0.085125609),
        (1.0, 0.174077439),
        (3.16228, 0.258198428),
        (10.0, 0.999999622),
        (31.6228, 0.707105090),
        (158.489, 0.999994018),
    ],
    60: [
        (0.031623, 0.999999999),
        (0.1, 0.122169427),
        (0.316228, 0.080582215),
        (1.0, 0.102597632),
        (3.16228, 0.150755236),
        (31.6228, 0.499998686),
    ],
}


@pytest.mark.parametrize("zenith", [20, 40, 60])
def test_relative_errors_are_the_predecessors_where_it_has_events(shared_data, zenith):
    evaluator = quiet(str(shared_data / NAME.format(zenith)))
    errors = evaluator.calculate_uncertainty_effective_area()["relative_errors"]
    edges = evaluator.create_bin_edges().to_value("TeV")
    for energy, wanted in PREDECESSOR[zenith]:
        j = int(np.argmin(np.abs(np.log(edges[:-1] / energy))))
        assert edges[j] == pytest.approx(energy, rel=1e-5)
        assert errors[j].value == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("zenith", [20, 40, 60])
@pytest.mark.parametrize(("axis", "column"), [("true", "MC_ENERGY"), ("reco", "ENERGY")])
def test_relative_errors_against_numpy(shared_data, zenith, axis, column):
    path = shared_data / NAME.format(zenith)
    with fits.open(path) as hdus:
        table, energies = hdus["SIMULATED EVENTS"].data, np.array(hdus["EVENTS"].data[column], dtype=float)
        low, high, n = (np.array(table[name], dtype=float) for name in ("MC_ENERG_LO", "MC_ENERG_HI", "EVENTS"))
    low, high, n = low[low < high], high[low < high], n[low < high]
    k = np.histogram(energies, np.append(low, high[-1]))[0]
    errors = quiet(path, energy_axis=axis).effective_area().relative_errors
    some = k > 0
    wanted = np.sqrt(1 - k[some] / n[some]) / np.sqrt(k[some])
    np.testing.assert_allclose(errors[some], wanted, rtol=1e-6)
    assert np.isnan(errors[~some]).all()  # the predecessor says 0


def test_bins_of_the_real_file_increase(shared_data):
    edges = quiet(shared_data / NAME.format(20)).create_bin_edges().to_value("TeV")
    assert (np.diff(edges) > 0).all()
    assert 330.0 not in edges  # the predecessor inserts the thrown maximum between 316 and 398 TeV


def test_threshold_of_the_real_files_grows_with_zenith(shared_data):
    found = {}
    for zenith in (20, 40, 60):
        evaluator = StatisticalErrorEvaluator(
            shared_data / NAME.format(zenith), offset_max=1.0, simulated_fraction="runs"
        )
        found[zenith] = evaluator.threshold(reference_energy=1 * u.TeV)
        assert 0.03 <= found[zenith].value <= 0.13
        assert found[zenith].low < found[zenith].value < found[zenith].high
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            peak = evaluator.calculate_energy_threshold()
        assert len(told) == (not evaluator.own_threshold.peak_reached)
        assert peak.unit == u.TeV
        assert 0.03 < float(peak) == peak.value < 0.2
        assert evaluator.energy_threshold == peak
    assert found[20].high < found[40].low < found[40].high < found[60].low


def test_grid_point_is_kept_and_completed(toy):
    own = StatisticalErrorEvaluator(toy).grid_point
    assert own == (None, 180 * u.deg, 20 * u.deg, None, None)
    given = StatisticalErrorEvaluator(toy, None, (3 * u.TeV, 180.0, 20, 4, 0.5 * u.deg)).grid_point
    assert given == (3 * u.TeV, 180 * u.deg, 20 * u.deg, 4 * u.dimensionless_unscaled, 0.5 * u.deg)
    for point, word in [((3, 0, 20, 4, 0), "azimuth"), ((3, 180, 21, 4, 0), "zenith")]:
        with pytest.raises(ProdconfError, match=rf"grid_point: {word}: must agree with toy\.fits"):
            StatisticalErrorEvaluator(toy, None, point)


def test_data_has_the_documented_keys_with_units(toy):
    evaluator = StatisticalErrorEvaluator(str(toy))
    units = {
        "event_energies_reco": "TeV",
        "event_energies_mc": "TeV",
        "bin_edges_low": "TeV",
        "bin_edges_high": "TeV",
        "simulated_event_histogram": "ct",
        "viewcone": "deg",
        "core_range": "m",
    }
    assert set(evaluator.data) == set(units)
    assert len(evaluator.data) == 7
    loaded = evaluator.load_data_from_file(str(toy))
    assert isinstance(loaded, dict)
    for key, unit in units.items():
        assert evaluator.data[key].unit == unit
        np.testing.assert_array_equal(loaded[key].value, evaluator.data[key].value)
    with fits.open(toy) as hdus:
        np.testing.assert_array_equal(loaded["event_energies_reco"].value, hdus["EVENTS"].data["ENERGY"])
    assert (evaluator.data["viewcone"], evaluator.data["core_range"]) == (5 * u.deg, 1000 * u.m)
    with pytest.raises(KeyError):
        evaluator.data["nothing"]


def test_load_data_of_another_file(toy, tmp_path):
    other = write_toy(tmp_path / "other.fits", 9, n_runs=20)
    data = StatisticalErrorEvaluator(toy).load_data_from_file(other)
    assert data["simulated_event_histogram"].sum() < 0.25 * 100_000 * u.ct
    with pytest.raises(ProdconfError, match=r"nothing\.fits"):
        StatisticalErrorEvaluator(toy).load_data_from_file(tmp_path / "nothing.fits")


def test_documented_steps_accept_and_return_units(toy):
    evaluator = StatisticalErrorEvaluator(toy)
    bins = evaluator.create_bin_edges()
    energies = evaluator.data["event_energies_mc"]
    counts = evaluator.compute_reconstructed_event_histogram(energies.to("GeV"), bins.to("MeV"))
    assert counts.unit == u.ct
    np.testing.assert_array_equal(counts, evaluator.compute_reconstructed_event_histogram(energies.value, bins.value))
    np.testing.assert_array_equal(counts.value, evaluator.counts.n_true)
    thrown = evaluator.data["simulated_event_histogram"]
    efficiency, errors = evaluator.compute_efficiency_and_errors(counts, thrown)
    area = evaluator.effective_area()
    np.testing.assert_allclose(errors.value, area.relative_errors, rtol=1e-12)
    np.testing.assert_allclose(
        (efficiency * np.pi * (1 * u.km) ** 2).to_value("m2")[counts > 0], area.effective_area[counts > 0], rtol=1e-12
    )
    for given in ([5, 0, 10] * u.ct, [5, 0, 10], np.array([5.0, 0, 10]) * u.dimensionless_unscaled):
        efficiency, errors = evaluator.compute_efficiency_and_errors(given, [10, 10, 10] * u.ct)
        np.testing.assert_allclose(efficiency.value, [0.5, 0, 1])
        np.testing.assert_allclose(errors.value, [np.sqrt(0.1), np.nan, 0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda e: e.compute_efficiency_and_errors([12] * u.ct, [10] * u.ct),
            ("reconstructed_event_counts", "12", "10"),
        ),
        (lambda e: e.compute_efficiency_and_errors([-1], [10]), ("reconstructed_event_counts", "-1")),
        (lambda e: e.compute_efficiency_and_errors([1] * u.TeV, [10]), ("reconstructed_event_counts", "ct", "TeV")),
        (lambda e: e.compute_efficiency_and_errors([1], [np.nan]), ("simulated_event_counts", "nan")),
        (lambda e: e.compute_efficiency_and_errors([1, 2], [10, 10, 10]), ("shapes",)),
        (lambda e: e.compute_reconstructed_event_histogram([1] * u.m, [1, 2]), ("event_energies_reco", "TeV", "m")),
        (lambda e: e.compute_reconstructed_event_histogram([np.nan], [1, 2]), ("event_energies_reco", "nan")),
        (lambda e: e.compute_reconstructed_event_histogram([1], [2, 1]), ("bin_edges", "increasing")),
        (lambda e: e.compute_reconstructed_event_histogram([1], [2]), ("bin_edges",)),
        (lambda e: e.calculate_overall_metric("median"), ("metric", "average", "median")),
        (lambda e: e.threshold(0.0), ("fraction", "0.0")),
        (lambda e: e.threshold(reference_energy=1 * u.m), ("reference_energy", "TeV", "m")),
        (lambda e: e.threshold(reference_energy=[1, 2] * u.TeV), ("reference_energy", "one number in TeV")),
        (lambda e: e.threshold(reference_energy=1e5), ("reference_energy", "100000")),
        (lambda e: e.threshold(confidence=1.0), ("level", "1.0")),
        (lambda e: e.pilot(), ("metrics", "none")),
    ],
)
def test_refused_by_methods(toy, call, words):
    with pytest.raises(ProdconfError) as caught:
        call(StatisticalErrorEvaluator(toy))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": {"energy_resolution": ENERGY["energy_estimate"]}}, ("metrics", "energy_resolution")),
        ({"metrics": {"energy_estimate": {"target_uncertainty": {"value": 0.05}}}}, ("metrics", "energy_range")),
        (
            {"metrics": {"energy_estimate": ENERGY["energy_estimate"] | {"target_uncertainty": -0.1}}},
            ("metrics", "-0.1"),
        ),
        ({"metrics": "metrics.yml"}, ("metrics", "metrics.yml")),
        ({"grid_point": (1, 180, 20, 1)}, ("grid_point", "five", "4")),
        ({"grid_point": (1 * u.deg, 180, 20, 1, 0)}, ("grid_point", "energy", "TeV")),
        ({"grid_point": (1, 180, np.nan, 1, 0)}, ("grid_point", "zenith", "nan")),
        ({"energy_axis": "muons"}, ("energy_axis", "muons")),
        ({"spectral_index": -2.0}, ("spectral_index", "-2")),
        ({"spectral_index": np.nan}, ("spectral_index", "nan")),
        ({"offset_max": 0.0}, ("offset_max", "0.0")),
        ({"simulated_fraction": 2.0}, ("simulated_fraction", "2")),
    ],
)
def test_refused_at_construction(toy, options, words):
    with pytest.raises(ProdconfError) as caught:
        StatisticalErrorEvaluator(toy, **options)
    for word in words:
        assert word in str(caught.value)


def test_a_range_without_a_whole_bin_is_refused(toy):
    metrics = Metrics(uncertainty_effective_area=Metric(target=0.1, energy_min=0.5, energy_max=0.55))
    with pytest.raises(ProdconfError, match=r"uncertainty_effective_area.*0\.5 to 0\.55 TeV"):
        StatisticalErrorEvaluator(toy, metrics).calculate_metrics()


@pytest.mark.parametrize("asked", [AREA, ENERGY, AREA | ENERGY])
def test_any_subset_of_metrics(toy, asked):
    evaluator = StatisticalErrorEvaluator(toy, asked)
    assert evaluator.metric_results is None
    evaluator.calculate_metrics()
    assert set(evaluator.metric_results) == set(asked)
    overall = evaluator.calculate_overall_metric()
    values = [overall[name] for name in asked]
    assert overall["overall"] == pytest.approx(np.mean(values))
    assert evaluator.calculate_overall_metric(metric="maximum")["overall"] == max(values)
    assert all(isinstance(value, float) for value in overall.values())


def test_metrics_as_mapping_and_record_and_none(toy, shared_data):
    values = [
        StatisticalErrorEvaluator(toy, metrics).calculate_overall_metric()
        for metrics in (AREA | ENERGY, parse_metrics(AREA | ENERGY))
    ]
    assert values[0] == values[1]
    assert set(StatisticalErrorEvaluator(toy).calculate_overall_metric()) == {*AREA, *ENERGY, "overall"}
    assert StatisticalErrorEvaluator(toy, {}).metrics is None
    assert StatisticalErrorEvaluator(toy, read_metrics(shared_data / "configuration" / "metrics_v0.16.yml")).metrics


def test_largest_errors_are_of_whole_bins_in_range(toy):
    evaluator = StatisticalErrorEvaluator(toy, AREA | ENERGY)
    inside = (EDGES[:-1] >= 0.1) & (EDGES[1:] <= 3)
    area, energies = evaluator.effective_area(), evaluator.energy_statistics()
    assert evaluator.calculate_max_error_for_effective_area() == area.relative_uncertainty[inside].max()
    assert (
        evaluator.calculate_uncertainty_effective_area()["max_error"].value == area.relative_uncertainty[inside].max()
    )
    assert evaluator.calculate_energy_estimate() == energies.bias_uncertainty[inside].max()
    np.testing.assert_array_equal(evaluator.sigma_energy, energies.resolution)
    np.testing.assert_array_equal(evaluator.delta_energy, energies.bias)


def test_undetermined_bins_are_named_once(toy):
    wide = {
        "uncertainty_effective_area": AREA["uncertainty_effective_area"]
        | {"energy_range": {"value": [0.1, 100], "unit": "TeV"}}
    }
    evaluator = StatisticalErrorEvaluator(toy, wide)
    with pytest.warns(ProdconfWarning, match=r"uncertainty_effective_area is undetermined from .* TeV") as caught:
        first = evaluator.calculate_max_error_for_effective_area()
    assert len(caught) == 1
    assert evaluator.calculate_max_error_for_effective_area() == first  # no second warning, which would be an error


def test_normalisation_warns_once_and_arguments_silence_it(tmp_path):
    path = write_toy(tmp_path / "cut.fits", 3, n_runs=200, cut=2.0)
    evaluator = StatisticalErrorEvaluator(path, AREA)
    with pytest.warns(ProdconfWarning, match="offset_max=2"):
        evaluator.calculate_metrics()
    evaluator.calculate_energy_threshold(reference_energy=1.0)  # no second warning, which would be an error
    _ = evaluator.data["simulated_event_histogram"]
    stated = StatisticalErrorEvaluator(path, AREA, offset_max=2.0).effective_area()
    share = (1 - np.cos(np.radians(2))) / (1 - np.cos(np.radians(5)))
    np.testing.assert_allclose(stated.n_simulated, evaluator.effective_area().n_simulated * share)
    at = np.searchsorted(EDGES, 1.0) - 1
    assert stated.effective_area[at] == pytest.approx(0.4 * np.pi * 1e6, rel=0.3)


def test_effective_area_and_threshold_of_the_toy_are_the_closed_form(toy):
    evaluator = StatisticalErrorEvaluator(toy)
    area = evaluator.effective_area()
    low, high = EDGES[:-1], EDGES[1:]
    cut = np.clip(0.3, low, high)
    truth = 0.4 * ((cut - low) / 0.3**2 + 1 / cut - 1 / high) / (1 / low - 1 / high) * np.pi * 1e6
    use = area.n_effective >= 30
    pull = ((area.effective_area / truth - 1) / area.relative_uncertainty)[use]
    assert use.sum() > 20
    assert abs(pull.mean()) < 3 / np.sqrt(use.sum())
    assert 0.6 < pull.std() < 1.4
    found = evaluator.threshold(reference_energy=1.0)
    assert abs(np.log(found.value / (0.3 * 0.1**0.5))) < 3 * np.log(found.high / found.value)
    assert found.peak == pytest.approx(0.4 * np.pi * 1e6, rel=0.15)


@pytest.mark.parametrize(("n_runs", "by_runs"), [(50, True), (3000, False)])
def test_scatter_between_runs_confirms_the_design_effect(tmp_path, n_runs, by_runs):
    """Independent uses, D = 1; small files are grouped by runs, large ones by stretches of events."""
    evaluator = StatisticalErrorEvaluator(write_toy(tmp_path / "runs.fits", 12, n_runs=n_runs))
    area = evaluator.effective_area()
    assert evaluator.counts.ratio.exact == by_runs
    use = area.n_passed >= 50
    pull = ((area.design_effect_jackknife - 1) / area.design_effect_jackknife_uncertainty)[use]
    assert abs(pull.mean()) < 3 / np.sqrt(use.sum())
    assert 0.4 < pull.std() < 1.5
    assert area.design_effect[use].mean() == pytest.approx(1, abs=0.06)


def test_threshold_interval_covers_on_files(tmp_path):
    """40 files; 3 standard errors of a coverage of .68."""
    inside = 0
    for seed in range(40):
        path = write_toy(tmp_path / f"{seed}.fits", seed, n_runs=30, header_offset=0.0)
        found = StatisticalErrorEvaluator(path).threshold(reference_energy=1.0)
        inside += found.low <= 0.3 * 0.1**0.5 <= found.high
    assert inside / 40 == pytest.approx(0.6827, abs=0.22)


def test_energy_and_direction_of_the_toy(toy):
    evaluator = StatisticalErrorEvaluator(toy)
    energies, angles = evaluator.energy_statistics(), evaluator.angular_resolution()
    use = energies.n_events >= 100
    pull = energies.bias[use] / energies.bias_uncertainty[use]  # the median of a log-normal is 1
    assert abs(pull.mean()) < 3 / np.sqrt(use.sum())
    assert 0.5 < pull.std() < 1.6
    pull = (angles.r68[use] - 0.05 * 0.99446) / angles.uncertainty[use]  # .68 quantile of |N(0, 1)|
    assert abs(pull.mean()) < 1
    shares, sigma = evaluator.migration_matrix()
    np.testing.assert_allclose(shares[use].sum(axis=1), 1)
    k = evaluator.counts.n_true[use]
    np.testing.assert_allclose(sigma[use] ** 2, shares[use] * (1 - shares[use]) / k[:, None])


@pytest.mark.parametrize("axis", ["true", "reco"])
@pytest.mark.parametrize("index", [None, 2.6])
def test_pilot_tells_the_same_as_the_evaluator(toy, axis, index):
    evaluator = StatisticalErrorEvaluator(toy, AREA, (1, 180, 20, 4.0, 0), energy_axis=axis, spectral_index=index)
    pilot, area = evaluator.pilot(), evaluator.effective_area()
    assert pilot.nsb_level == 4.0
    assert pilot.axis == axis
    some = (area.n_passed >= 5) & (area.n_simulated > 0)
    np.testing.assert_allclose(pilot.n_passed, area.n_passed)
    np.testing.assert_allclose(pilot.n_simulated, area.n_simulated)
    np.testing.assert_allclose(pilot.effective_area[some], area.effective_area[some])
    np.testing.assert_allclose(pilot.design_effect[some], area.design_effect[some], rtol=0.03)
    if axis == "true" or index is None:  # of weighted events the pilot says what that production would know
        np.testing.assert_allclose(pilot.relative_uncertainty[some], area.relative_uncertainty[some], rtol=0.02)


def test_pyirf_agrees(toy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        irf = pytest.importorskip("pyirf.irf")
        benchmarks = pytest.importorskip("pyirf.benchmarks")
    from astropy.table import QTable

    evaluator = StatisticalErrorEvaluator(toy)
    area = evaluator.effective_area()
    some = area.n_passed > 0
    theirs = irf.effective_area(area.n_passed[some], area.n_simulated[some], np.pi * (1000 * u.m) ** 2)
    np.testing.assert_allclose(area.effective_area[some], theirs.to_value("m2"), rtol=1e-14)
    events = QTable(
        {
            "true_energy": evaluator.data["event_energies_mc"],
            "reco_energy": evaluator.data["event_energies_reco"],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = benchmarks.energy_bias_resolution(events, evaluator.create_bin_edges())
    np.testing.assert_allclose(
        evaluator.energy_statistics().bias[some], np.asarray(table["bias"])[some], rtol=1e-9, atol=1e-12
    )


def test_import_is_light():
    code = (
        "import sys, prodconf.calculate_statistical_errors_grid_point\n"
        "print([m for m in ('matplotlib', 'astropy.table', 'astropy.coordinates', 'scipy.stats', 'scipy.interpolate')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("value", [[2, 3], True, "2", 0, -2, 20, 25.0, np.nan, 2 * u.deg])
def test_the_spectral_index_is_one_number(toy, value):
    with pytest.raises(ProdconfError, match=r"^spectral_index must "):
        StatisticalErrorEvaluator(toy, spectral_index=value)


@pytest.mark.parametrize("value", [[0.1], True, "0.1", 1 * u.m, 0.0, 1.0])
def test_the_fraction_of_the_threshold_is_one_number(toy, value):
    with pytest.raises(ProdconfError, match=r"fraction must "):
        quiet(toy).calculate_energy_threshold(value)


@pytest.mark.parametrize("value", [[1.0], True, "1 TeV", 1 * u.m, -1.0])
def test_the_reference_energy_is_one_number(toy, value):
    with pytest.raises(ProdconfError, match=r"^reference_energy must be "):
        quiet(toy).threshold(reference_energy=value)


def test_pilot_takes_metrics_in_every_form(toy):
    evaluator = quiet(toy)
    found = [evaluator.pilot(form) for form in (AREA, parse_metrics(AREA))]
    own = quiet(toy, AREA).pilot()
    assert all(repr(each) == repr(own) for each in found)
    for value in (3, [1], {"area": 1}):
        with pytest.raises(ProdconfError, match=r"^metrics: "):
            evaluator.pilot(value)
    with pytest.raises(ProdconfError, match=r"^x: cannot be read"):
        evaluator.pilot("x")  # the name of a file


def test_no_event_left_by_the_cut(toy):
    evaluator = quiet(toy, offset_max=1e-9, energy_axis="reco", spectral_index=3)
    assert evaluator.counts.n_events == 0
    with pytest.warns(ProdconfWarning, match="undetermined"):
        assert np.isnan(evaluator.calculate_uncertainty_effective_area()["max_error"])


# --- what scripts for the predecessor do ------------------------------------------------------------------------------
def test_a_grid_point_may_be_assigned_with_plain_numbers_among_quantities(toy):
    evaluator = StatisticalErrorEvaluator(toy, AREA)
    evaluator.grid_point = (1 * u.TeV, 180 * u.deg, 20 * u.deg, 0, 0 * u.deg)
    assert evaluator.grid_point == (1 * u.TeV, 180 * u.deg, 20 * u.deg, 0 * u.one, 0 * u.deg)
    assert evaluator.pilot().nsb_level == 0
    evaluator.grid_point = None
    assert evaluator.grid_point == (None, 180 * u.deg, 20 * u.deg, None, None)
    assert evaluator.pilot().nsb_level is None
    with pytest.raises(ProdconfError, match=r"grid_point: zenith: must agree with toy\.fits, got 60 deg"):
        evaluator.grid_point = (1, 180, 60, 0, 0)
    assert evaluator.grid_point[2] == 20 * u.deg


def test_data_behave_as_a_mapping(toy):
    evaluator = StatisticalErrorEvaluator(toy)
    data = evaluator.data
    assert set(data) == set(dict(data)) == set({**data}) == set(data.copy()) == set(data.keys())
    assert len(data) == len(data.items()) == len(data.values()) == 7
    assert "viewcone" in data
    assert "energy" not in data
    assert data.get("energy", 3) == 3
    assert data == evaluator.data
    assert data != StatisticalErrorEvaluator(toy).data
    with pytest.raises(KeyError):
        data["energy"]
    with pytest.raises(TypeError):
        hash(data)
    assert "viewcone" in repr(data)


def test_a_missing_file_is_a_missing_file(toy, tmp_path):
    for call in (
        lambda: StatisticalErrorEvaluator(tmp_path / "none.fits"),
        lambda: StatisticalErrorEvaluator(toy, tmp_path / "none.yml"),
        lambda: StatisticalErrorEvaluator(toy).load_data_from_file(tmp_path / "none.fits"),
    ):
        with pytest.raises(FileNotFoundError, match="none"):
            call()
