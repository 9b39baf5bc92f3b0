"""The configuration of a grid point: closed forms, rows of tables, the predecessor's inputs, and what is refused."""

import json
import math

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.derive_production_statistics import ProductionStatisticsDerivator
from prodconf.generate_simulation_config import SimulationConfig, plain_parameters, read_grid_point
from prodconf.limits.table import write_limits
from prodconf.precision.targets import Metric, Metrics, read_metrics
from prodconf.toys.sample import SampleSize, sample_models, write_pilot

METRICS = Metrics(uncertainty_effective_area=Metric(target=0.05, energy_min=0.03, energy_max=0.2))
POINT = {"azimuth": 0.0, "elevation": 70.0, "night_sky_background": 0.24}


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    """A pilot at zenith 20 deg, azimuth 0 whose showers are used once."""
    folder = tmp_path_factory.mktemp("pilot")
    size = SampleSize((0.0,), (0.24,), n_runs=4, n_showers=50_000, n_uses=1)
    write_pilot(folder / "pilot", sample_models(size="small")[0], seed=np.random.SeedSequence(3), size=size)
    return folder / "pilot.dl2.fits"


def limits_table(**columns):
    """Two pointings of one array."""
    table = {
        "primary_particle": ["gamma", "gamma"],
        "array_name": ["all", "all"],
        "zenith": [20, 40] * u.deg,
        "azimuth": [0, 0] * u.deg,
        "nsb_level": [0.24, 0.24],
        "lower_energy_limit": [10, 20] * u.GeV,
        "upper_radius_limit": [0.9, 1.2] * u.km,
        "viewcone_radius": [6, 6] * u.deg,
    }
    return QTable(table | columns)


class Calculator:
    """Has the three documented methods."""

    def compute_lower_energy_limit(self, loss_fraction):
        return 10 * (1 + loss_fraction) * u.GeV

    def compute_upper_radial_distance(self, loss_fraction):
        return 90_000 * u.cm

    def compute_viewcone(self, loss_fraction):
        return 0.1 * u.rad


def test_without_limits_the_thrown_ranges_stand_and_say_so(pilot):
    config = SimulationConfig(POINT, str(pilot))
    header, made = config.file.header, config.configure_simulation()
    assert made["core_scatter_radius"] == header.core_scatter_max * u.m
    assert made["core_scatter_area"].to_value("m2") == pytest.approx(math.pi * header.core_scatter_max**2, rel=1e-15)
    assert made["viewcone"] == header.viewcone_max * u.deg
    assert made["energy_range"].to_value("TeV").tolist() == [header.energy_min, header.energy_max]
    assert set(made["limit_verdicts"].values()) == {"thrown"}
    assert made["number_of_events"] is None
    assert made["number_of_events_status"] == "not_requested"
    assert made["zenith_angle"] == 20 * u.deg
    assert made["spectral_index"] == -header.spectral_index
    with pytest.raises(ProdconfError, match="metrics must be given for a number of events"):
        config.calculate_required_events()


def test_limits_at_a_row_are_the_row(pilot, tmp_path):
    write_limits(limits_table(), tmp_path / "limits.ecsv")
    for limits in (limits_table(), tmp_path / "limits.ecsv", str(tmp_path / "limits.ecsv")):
        made = SimulationConfig(POINT, pilot, limits=limits).configure_simulation()
        assert made["core_scatter_radius"].to_value("m") == 900
        assert made["viewcone"].to_value("deg") == 6
        assert made["energy_range"][0].to_value("TeV") == 0.01
        assert made["limit_verdicts"] == {
            "energy_min": "unstated",
            "energy_max": "thrown",
            "core_scatter_radius": "unstated",
            "viewcone": "unstated",
        }


def test_limits_between_rows_are_linear_in_log_sec(pilot):
    config = SimulationConfig({"zenith": 30, "azimuth": 0}, pilot, limits=limits_table())
    x20, x30, x40 = (-math.log(math.cos(math.radians(z))) for z in (20, 30, 40))
    share = (x30 - x20) / (x40 - x20)
    assert config.limits.core_scatter_radius == pytest.approx(900 + 300 * share, rel=1e-12)
    assert config.limits.energy_min == pytest.approx(0.01 * 2**share, rel=1e-12)


def test_table_of_the_first_generation(pilot):
    old = QTable(
        {
            "telescope_ids": [[1, 2], [1, 2]],
            "zenith": [20, 20],
            "azimuth": [0, 0],
            "nsb": ["dark", "moon"],
            "lower_energy_threshold": [10, 11] * u.GeV,
            "upper_radius_threshold": [900, 901] * u.m,
            "viewcone_radius": [6, 6] * u.deg,
        }
    )
    point = POINT | {"night_sky_background": "moon"}
    config = SimulationConfig(point, pilot, limits=old, primary_particle="gamma")
    assert config.limits.core_scatter_radius == 901
    assert config.configure_simulation()["night_sky_background"] == "moon"
    assert "PRMPAR   1\n" in config.corsika_input()


def test_a_calculator_is_asked_by_its_methods(pilot):
    config = SimulationConfig(POINT, pilot, limits=Calculator(), loss_fraction=0.5)
    assert config.limits.energy_min == pytest.approx(0.015)
    assert config.limits.core_scatter_radius == pytest.approx(900)
    assert config.limits.viewcone == pytest.approx(math.degrees(0.1))
    assert config.limits.energy_max == config.file.energy_range[1]
    assert config.limits.verdicts["viewcone"] == "unstated"
    assert "loss fraction of 0.5" in config.limits.source


def test_the_number_scales_with_area_cone_and_spectrum(pilot):
    """Showers used once have no design effect, so the ratio is that of the thrown phase space."""
    whole = SimulationConfig(POINT, pilot, METRICS)
    small = SimulationConfig(POINT, pilot, METRICS, limits=limits_table())
    radius, cone = whole.limits.core_scatter_radius, math.radians(whole.limits.viewcone)
    low, high = whole.limits.energy_min, whole.limits.energy_max
    assert whole.parameters.spectral_index == 2
    expected = (900 / radius) ** 2 * (1 - math.cos(math.radians(6))) / (1 - math.cos(cone))
    expected *= (1 / 0.01 - 1 / high) / (1 / low - 1 / high)
    assert small.parameters.total.n_events / whole.parameters.total.n_events == pytest.approx(expected, rel=1e-9)


def test_the_number_is_the_derivator_s(pilot):
    config = SimulationConfig(POINT, pilot, METRICS, limits=limits_table(), spectral_index=1.8)
    own = ProductionStatisticsDerivator(
        config.evaluator,
        METRICS,
        spectral_index=1.8,
        core_radius=900 * u.m,
        viewcone=6 * u.deg,
        energy_range=(10 * u.GeV, config.file.energy_range[1] * u.TeV),
    )
    events = config.calculate_required_events()
    assert type(events) is int
    assert 0 <= events - own.derive_statistics().value < 1 + 1e-6
    made = config.configure_simulation()
    assert made["number_of_events"] == events * u.ct
    assert made["number_of_events_bound"].value == pytest.approx(own.total.bound)
    assert made["number_of_events_bound"] > made["number_of_events"]
    assert made["number_of_events_status"] in ("ok", "sample_limited")
    assert made["spectral_index"] == 1.8
    for name in ("core_scatter_area", "core_scatter_radius", "viewcone", "energy_range", "number_of_events_sigma"):
        assert isinstance(made[name], u.Quantity)


def test_runs_deliver_at_least_the_number(pilot):
    config = SimulationConfig(POINT, pilot, METRICS, limits=limits_table())
    record, runs = config.corsika_runs(n_use=1, showers_per_run=50_000, declination="-4 deg", first_run=11)
    events = config.calculate_required_events()
    assert runs.n_events - 50_000 < events <= runs.n_events
    assert record.run_number == runs.first_run == 11
    assert record.declination == -4
    more = config.corsika_runs(n_use=1, showers_per_run=50_000, use_bound=True)[1]
    assert more.n_events_required == math.ceil(config.parameters.total.bound)
    alone = config.corsika_runs(n_use=1, showers_per_run=999_999)[1]
    if alone.n_runs == 1:
        assert alone.n_events == events
    with pytest.warns(ProdconfWarning, match="n_use: the number of events holds for the 1 uses"):
        config.corsika_runs(n_use=10, showers_per_run=50_000)


def test_the_block_is_in_the_units_of_corsika(pilot):
    text = SimulationConfig(POINT, pilot, limits=limits_table()).corsika_input(
        n_use=10, showers_per_run=500, declination=3 * u.deg, first_run=7
    )
    lines = [line for line in text.splitlines() if not line.startswith("*")]
    assert lines[0] == "RUNNR    7"
    assert "NSHOW    500" in lines
    assert "ESLOPE   -2.0" in lines
    assert "THETAP   20.0 20.0" in lines
    assert "PHIP     183.0 183.0" in lines
    assert "VIEWCONE 0.0 6.0" in lines
    assert "CSCAT    10 90000.0 0.0" in lines
    assert "not requested" in text
    assert "viewcone unstated" in " ".join(text.split())


def test_the_predecessor_s_view_cone_of_1053_degrees(shared_data):
    point = {"azimuth": 60.0, "elevation": 45.0, "night_sky_background": 0.3}
    file = shared_data / "dl2/prod6_LaPalma-20deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits"
    table = shared_data / "limits/corsika_limits_v0.33.ecsv"
    made = SimulationConfig(point, file, limits=table, array_name="CTAO-North-Alpha").configure_simulation()
    assert made["viewcone"].to_value("deg") <= 10
    assert made["limit_verdicts"]["viewcone"] == "truncated"
    assert 1900 < made["core_scatter_radius"].to_value("m") < 2425  # rows at 40 and 52 deg
    with pytest.warns(ProdconfWarning, match="deg from the pointing of prod6"):
        SimulationConfig(point, file)


def test_real_pilot_with_the_predecessor_s_metrics(shared_data):
    file = shared_data / "dl2/prod6_LaPalma-20deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits"
    metrics = read_metrics(shared_data / "configuration/metrics_v0.16.yml")
    config = SimulationConfig({}, file, metrics, offset_max=1.0, simulated_fraction="runs", primary_particle="gamma")
    with pytest.warns(ProdconfWarning, match="passed from"):
        made = config.configure_simulation()
    assert made["number_of_events_status"] == "undetermined"
    assert made["number_of_events"] != 2.75e13 * u.ct
    assert config.point.zenith == pytest.approx(20)


def test_parameters_can_be_written(pilot, tmp_path):
    config = SimulationConfig(POINT, pilot, METRICS)
    config.write_parameters(tmp_path / "made.json")
    made = json.loads((tmp_path / "made.json").read_text())
    assert made["parameters"]["number_of_events"] == {"value": config.calculate_required_events(), "unit": "ct"}
    assert made["provenance"]["inputs"][0]["file"] == pilot.name
    with pytest.raises(ProdconfError, match=r"made\.json"):
        config.write_parameters(tmp_path / "made.json")
    plain = plain_parameters({"a": [1, np.inf] * u.TeV, "b": np.nan * u.ct, "c": "word", "d": None})
    assert plain["a"] == {"value": [1, None], "unit": "TeV"}
    assert plain["b"] == {"value": None, "unit": "ct"}
    assert (plain["c"], plain["d"]) == ("word", None)


def test_grid_points_in_every_spelling():
    expected = (None, 180, 20, 0.24, None)
    for point in (
        {"azimuth": 180, "elevation": 70, "night_sky_background": 0.24},
        {"azimuth": math.pi * u.rad, "zenith": 20 * u.deg, "nsb": 0.24 * u.dimensionless_unscaled},
        {"azimuth": "180 deg", "zenith_angle": {"value": 20, "unit": "deg"}, "nsb_level": "0.24"},
        {"azimuth": np.float32(180), "zenith": 20, "elevation": 70, "nsb": np.float64(0.24)},
    ):
        found, word = read_grid_point(point)
        assert word is None
        assert [None if x is None else pytest.approx(x, rel=1e-12) for x in expected] == list(found)
    assert read_grid_point({"nsb": "half moon"})[1] == "half moon"
    assert read_grid_point({"energy": 100 * u.GeV, "offset": 1})[0].energy == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ([0, 70, 0.24], "grid_point must be a mapping"),
        (None, "grid_point must be a mapping"),
        ({"azimut": 0}, "grid_point: unknown key 'azimut'"),
        ({"elevation": 70, "zenith": 21}, "zenith and elevation must add up to 90"),
        ({"zenith": 20, "zenith_angle": 20}, "zenith must be given once"),
        ({"elevation": 0}, r"elevation must lie in \(0, 90\]"),
        ({"elevation": 91}, "elevation must lie in"),
        ({"elevation": True}, "elevation"),
        ({"zenith": 90}, "zenith"),
        ({"zenith": "20 m"}, "zenith"),
        ({"azimuth": float("nan")}, "azimuth"),
        ({"nsb": -1}, "nsb"),
        ({"nsb": "nan"}, "nsb"),
        ({"offset": -1}, "offset"),
        ({"energy": 0}, "energy"),
    ],
)
def test_bad_grid_points(point, message):
    with pytest.raises(ProdconfError, match=message):
        read_grid_point(point)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": 42}, "limits must be a table of limits"),
        ({"limits": "missing.ecsv"}, r"missing\.ecsv"),
        ({"limits": limits_table(), "array_name": "small"}, "array_name must be one of 'all'"),
        ({"limits": limits_table(), "primary_particle": "proton"}, "primary_particle must be one of 'gamma'"),
        ({"limits": limits_table(viewcone_radius=[6, 6] * u.m)}, "viewcone_radius"),
        ({"limits": limits_table(lower_energy_limit=[1, 1] * u.EeV)}, "energy_min must not be above energy_max"),
        ({"limits": limits_table(zenith=[40, 60] * u.deg)}, "outside"),
        ({"outside": "guess"}, "outside must be"),
        ({"loss_fraction": 1}, "loss_fraction"),
        ({"loss_fraction": float("nan")}, "loss_fraction"),
        ({"primary_particle": 9999}, "particle"),
        ({"offset_max": -1}, "offset_max"),
        ({"simulated_fraction": 2}, "simulated_fraction"),
        ({"metrics": {"uncertainty_effective_area": {"target_error": {"value": -0.02}}}}, "uncertainty_effective_area"),
        ({"metrics": {}}, "metrics"),
        ({"metrics": 0.1}, "metrics"),
    ],
)
def test_bad_arguments(pilot, options, message):
    with pytest.raises(ProdconfError, match=message):
        _ = SimulationConfig(POINT, pilot, **options).limits


def test_bad_calculators(pilot):
    class Bare(Calculator):
        def compute_viewcone(self, loss_fraction):
            return 5

    class Empty(Calculator):
        def compute_upper_radial_distance(self, loss_fraction):
            return np.nan * u.m

    with pytest.raises(ProdconfError, match="limits: compute_viewcone: needs a unit"):
        _ = SimulationConfig(POINT, pilot, limits=Bare()).limits
    with pytest.raises(ProdconfError, match="compute_upper_radial_distance"):
        _ = SimulationConfig(POINT, pilot, limits=Empty()).limits


def test_undetermined_limits_are_refused(pilot):
    table = limits_table(upper_radius_limit=[np.nan, 1200] * u.m, upper_radius_limit_verdict=["undetermined", "ok"])
    with pytest.raises(ProdconfError, match="core_scatter_radius must be positive, got nan"):
        _ = SimulationConfig(POINT, pilot, limits=table).limits


def test_limits_beyond_the_pilot_are_refused_with_metrics(pilot):
    wide = limits_table(viewcone_radius=[30, 30] * u.deg)
    with pytest.raises(ProdconfError, match="viewcone must lie above 0"):
        SimulationConfig(POINT, pilot, METRICS, limits=wide)
    assert SimulationConfig(POINT, pilot, limits=wide).limits.viewcone == 30


def test_blocks_need_a_particle_and_sane_runs(pilot):
    with pytest.raises(ProdconfError, match=r"primary_particle \(--particle\) must be given"):
        SimulationConfig(POINT, pilot).corsika_input()
    config = SimulationConfig(POINT, pilot, primary_particle=14)
    assert "PRMPAR   14\n" in config.corsika_input(showers_per_run=10)
    for options in ({"n_use": 21}, {"n_use": "two"}, {"showers_per_run": 0}, {"first_run": 0}, {"declination": "x"}):
        with pytest.raises(ProdconfError, match=r"n_use|n_showers|run_number|declination"):
            config.corsika_input(**options)


@pytest.mark.parametrize("change", [{"file_path": "none.fits"}, {"limits": "none.ecsv"}, {"metrics": "none.yml"}])
def test_every_missing_file_is_a_missing_file(pilot, change):
    given = {"grid_point": POINT, "file_path": pilot} | change
    with pytest.raises(FileNotFoundError, match="none"):
        _ = SimulationConfig(**given).limits
