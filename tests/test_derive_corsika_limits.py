"""The limit calculator against all events of its files, the closed form of the toy, and the real samples."""

import inspect
import math
import shutil
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from matplotlib.figure import Figure

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.derive_corsika_limits import LimitCalculator
from prodconf.events.reduced import FileInfo, ReducedEventWriter
from prodconf.events.sub_arrays import SubArray
from prodconf.formulas.loss_tails import TailLimit
from prodconf.generate_simulation_config import SimulationConfig
from prodconf.limits.pilots import LimitRequest
from prodconf.sky.shower_frame import angular_distance, core_distance, offset_direction, shower_to_ground
from prodconf.toys.models import Throw, ToyModel, union_loss
from prodconf.toys.sample import SampleSize, write_pilot

METHODS = {
    "energy": "compute_lower_energy_limit",
    "radius": "compute_upper_radial_distance",
    "viewcone": "compute_viewcone",
}
UNITS = {"energy": u.TeV, "radius": u.m, "viewcone": u.deg}
TELESCOPES = ("LSTN-01", "LSTN-02", "MSTN-01", "MSTN-02", "MSTN-03")
INFO = FileInfo("run1", 0, 1, 1, -2.0, 0.003, 330.0, 0.0, 8.0, 0.0, 1000.0, 20.0, 30.0, 0.24)
STEEP = ToyModel(Throw(azimuth=30.0), slope=5.0)  # so steep that the energy limit is inside the thrown range
FIGURES = {
    "core_distance_energy",
    "energy",
    "core_distance",
    "view_cone",
    "core_xy",
    "survival_energy",
    "survival_core_distance",
    "survival_view_cone",
}


def toy_triggers(n: int, seed: int, model: ToyModel = STEEP):
    """Draw energy (TeV), core distance (m) and angle (rad) of triggers of the toy by inversion."""
    rng, thrown = np.random.default_rng(seed), model.throw
    low, knee, high, slope = thrown.energy_min, model.break_energy, thrown.energy_max, model.slope
    kappa = slope - 1  # for an index of 2
    rise, fall = (knee**kappa - low**kappa) / (kappa * knee**slope), 1 / knee - 1 / high
    share = rng.random(n) * (rise + fall)
    under = (low**kappa + np.minimum(share, rise) * kappa * knee**slope) ** (1 / kappa)
    energy = np.where(share < rise, under, 1 / (1 / knee - np.maximum(share - rise, 0)))
    ring = math.exp(-((thrown.core_scatter_max / model.core_scale) ** 2))
    radius = model.core_scale * np.sqrt(-np.log(rng.uniform(ring, 1, n)))
    mu, cone = (1 - math.cos(math.radians(x)) for x in (model.angle_scale, thrown.viewcone_max))
    return energy, radius, np.arccos(1 + mu * np.log(rng.uniform(math.exp(-cone / mu), 1, n)))


def write_events(path, events, *, info=INFO, masks=None, shower=None, seed=1):
    """Write triggers as a file; positions and directions are chosen at random for their distance and angle."""
    energy, radius, angle = (np.asarray(values, dtype=float) for values in events)
    n, rng = energy.size, np.random.default_rng(seed)
    pointing = math.radians(info.azimuth), math.radians(90 - info.zenith)
    azimuth, altitude = offset_direction(*pointing, angle, rng.uniform(0, 2 * np.pi, n))
    phi = rng.uniform(0, 2 * np.pi, n)
    x, y = shower_to_ground(radius * np.cos(phi), radius * np.sin(phi), azimuth, altitude)
    number = np.arange(n) if shower is None else np.asarray(shower)
    ids = {"file_id": info.file_id, "shower_id": number, "event_id": np.arange(n)}
    with ReducedEventWriter(path, telescopes=TELESCOPES) as writer:
        writer.add_file(info)
        degrees = {"azimuth": np.degrees(azimuth), "altitude": np.degrees(altitude)}
        writer.add_showers(**ids, energy=energy, x_core=x, y_core=y, **degrees)
        bits = rng.integers(1, 32, (n, 1), dtype=np.uint64) if masks is None else np.asarray(masks, np.uint64)[:, None]
        writer.add_triggers(**ids, array_altitude=90 - info.zenith, array_azimuth=info.azimuth, masks=bits)
    return path


def all_events(path):
    """Read the triggers of a file by h5py alone: energy TeV, radius m, angle deg, masks as sets of names."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        showers, triggers = file["SHOWERS"][()], file["TRIGGERS"][()]
    assert (showers["event_id"] == triggers["event_id"]).all()
    azimuth, altitude = np.radians(showers["shower_azimuth"]), np.radians(showers["shower_altitude"])
    pointing = np.radians(triggers["array_azimuth"]), np.radians(triggers["array_altitude"])
    return {
        "energy": showers["simulated_energy"].astype(float),
        "radius": core_distance(showers["x_core"], showers["y_core"], azimuth, altitude),
        "viewcone": np.degrees(angular_distance(azimuth, altitude, *pointing)),
        "telescopes": [set(names.decode().split(",")) for names in triggers["telescope_list"]],
    }


def lost(values, limit: float, quantity: str) -> int:
    return int((values < limit if quantity == "energy" else values > limit).sum())


def compute(calculator: LimitCalculator, quantity: str, loss: float, *, quiet: bool = True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "error", ProdconfWarning)
        return getattr(calculator, METHODS[quantity])(loss)


@pytest.fixture(scope="module")
def steep(tmp_path_factory):
    """File with 60 000 triggers of the steep toy."""
    return write_events(tmp_path_factory.mktemp("steep") / "steep.hdf5", toy_triggers(60_000, 41))


@pytest.fixture(scope="module")
def events(steep):
    return all_events(steep)


@pytest.fixture(scope="module")
def calculator(steep):
    return LimitCalculator(str(steep))


# The documented interface


def test_the_documented_interface():
    parameters = list(inspect.signature(LimitCalculator).parameters.values())
    assert [p.name for p in parameters[:2]] == ["event_data_file", "telescope_list"]
    assert parameters[1].default is None
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])
    for method in METHODS.values():
        assert list(inspect.signature(getattr(LimitCalculator, method)).parameters) == ["self", "loss_fraction"]
    plot = list(inspect.signature(LimitCalculator.plot_data).parameters.values())
    names = ["self", "lower_energy_limit", "upper_radial_distance", "viewcone", "output_path"]
    assert [p.name for p in plot[:5]] == names
    assert plot[4].default is None
    for name in ("energy_bins", "core_distance_bins", "view_cone_bins"):
        assert isinstance(getattr(LimitCalculator, name), property)


@pytest.mark.parametrize("quantity", METHODS)
def test_the_methods_return_quantities(calculator, quantity):
    value = compute(calculator, quantity, 0.01, quiet=False)
    assert isinstance(value, u.Quantity)
    assert value.unit == UNITS[quantity]
    assert value.isscalar
    assert value.value == getattr(calculator.limits(0.01), quantity).value


@pytest.mark.parametrize("bad", [-1e-9, -0.1, 1.0, 1.5, math.nan, math.inf])
@pytest.mark.parametrize("quantity", METHODS)
def test_a_loss_fraction_out_of_range_is_refused(calculator, quantity, bad):
    with pytest.raises(ProdconfError, match="loss_fraction"):
        compute(calculator, quantity, bad)


# The sample never loses more than asked


@pytest.mark.parametrize("loss", [0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("quantity", METHODS)
def test_the_sample_loses_what_was_asked_and_not_more(calculator, events, quantity, loss):
    value, values = compute(calculator, quantity, loss).value, events[quantity]
    number = lost(values, value, quantity)
    assert number <= loss * values.size
    if getattr(calculator.limits(loss), quantity).verdict == "ok":
        assert number == math.floor(loss * values.size)
        inward = np.nextafter(value, math.inf if quantity == "energy" else -math.inf)
        assert lost(values, inward, quantity) > loss * values.size


@pytest.mark.parametrize(("loss", "expected"), [(0.0, (0.5, 3.5)), (0.1, (1.5, 3.5)), (0.45, (2.5, 2.5))])
def test_counts_of_10_20_30_40(tmp_path, loss, expected):
    """The predecessor loses 10 and 40 of these 100 events at a loss fraction of 0."""
    value = np.repeat([0.5, 1.5, 2.5, 3.5], [10, 20, 30, 40])
    path = write_events(tmp_path / "a.hdf5", (value, value, np.full(100, 0.01)))
    found = LimitCalculator(path).limits(loss)
    energy, radius = (compute(LimitCalculator(path), name, loss).value for name in ("energy", "radius"))
    sure = {name: getattr(found, name).verdict == "ok" for name in ("energy", "radius")}
    assert (value < energy - 1e-6).sum() <= 100 * loss
    assert (value > radius + 1e-3).sum() <= 100 * loss
    if sure["energy"]:
        assert energy == pytest.approx(expected[0], rel=1e-6)
    if sure["radius"]:
        assert radius == pytest.approx(expected[1], abs=1e-3)


def test_the_limits_do_not_depend_on_files_cache_or_questions_before(steep, events, calculator, tmp_path):
    energy, radius, angle = toy_triggers(60_000, 41)
    parts = []
    for i, some in enumerate(np.array_split(np.arange(60_000), 3)):
        info = FileInfo(**{**INFO.__dict__, "file_name": f"run{i}", "run_number": i})
        masks = [sum(1 << TELESCOPES.index(name) for name in events["telescopes"][k]) for k in some]
        path = tmp_path / f"part{i}.hdf5"
        parts.append(write_events(path, (energy[some], radius[some], angle[some]), info=info, masks=masks, seed=i))
    cache = tmp_path / "cache"
    whole = LimitCalculator(steep, cache=cache).limits(1e-3).energy
    assert (
        LimitCalculator(steep, cache=cache).limits(1e-3).energy == whole == LimitCalculator(steep).limits(1e-3).energy
    )
    asked = LimitCalculator(steep)
    asked.limits(0.3)
    asked.limits(1e-4)
    for quantity in (*METHODS, "joint", "joint_guaranteed"):
        assert getattr(asked.limits(1e-3), quantity) == getattr(calculator.limits(1e-3), quantity)
    split = LimitCalculator([str(path) for path in reversed(parts)])
    assert split.limits(1e-3).energy == whole
    assert split.limits(1e-3) == LimitCalculator(tmp_path / "part*.hdf5").limits(1e-3)


# Truth


def test_the_closed_form_anchor_lies_in_the_intervals(tmp_path):
    model = ToyModel()
    info = FileInfo(**{**INFO.__dict__, "azimuth": 0.0})
    path = write_events(tmp_path / "anchor.hdf5", toy_triggers(200_000, 7, model), info=info)
    record = LimitCalculator(path).limits(1e-3)
    truth = {"energy": 0.0030569973, "radius": 903.06, "viewcone": 7.5388}
    for quantity, expected in truth.items():
        limit = getattr(record, quantity)
        assert limit.interval_low <= expected <= limit.interval_high
    assert [str(getattr(record, name).verdict) for name in METHODS] == ["truncated", "ok", "ok"]
    joint = LimitCalculator(path).joint_loss(*(truth[name] * unit for name, unit in UNITS.items()))
    assert joint.fraction == pytest.approx(union_loss(1e-3), abs=4 * math.sqrt(union_loss(1e-3) / 200_000))
    assert joint.bound > joint.fraction


def test_a_steep_threshold_has_an_energy_limit(calculator):
    limit = calculator.limits(1e-3).energy
    assert limit.verdict == "ok"
    assert limit.interval_low <= STEEP.energy_limit(1e-3) <= limit.interval_high
    assert limit.guaranteed <= limit.value


# Sub-arrays


@pytest.mark.parametrize(
    ("telescopes", "options", "rule"),
    [
        (None, {}, lambda names: True),
        ([], {}, lambda names: True),
        (["LSTN-01"], {}, lambda names: "LSTN-01" in names),
        (["LSTN-02", "MSTN-03"], {"multiplicity": 2}, lambda names: {"LSTN-02", "MSTN-03"} <= names),
        (None, {"multiplicity": 3}, lambda names: len(names) >= 3),
        (
            None,
            {"stereo": {"LSTN": 2}},
            lambda names: {"LSTN-01", "LSTN-02"} <= names or any(name[0] == "M" for name in names),
        ),
    ],
)
def test_only_triggers_of_the_sub_array_count(steep, events, telescopes, options, rule):
    calculator = LimitCalculator(steep, SubArray("some", telescopes, **options) if options else telescopes)
    kept = np.array([rule(names) for names in events["telescopes"]])
    record = calculator.limits(0.0)
    assert record.n_triggered == kept.sum()
    assert record.tails["viewcone"].values[0] == pytest.approx(events["viewcone"][kept].max(), abs=1e-12)
    assert calculator.histograms().n_events == kept.sum()


def test_telescopes_that_are_not_there(steep):
    with pytest.raises(ProdconfError, match="SSTS-01"):
        LimitCalculator(steep, ["SSTS-01"]).limits(0.01)
    some = LimitCalculator(steep, ["SSTS-01", "MSTN-01"]).limits(0.01)
    assert any("SSTS-01" in note for note in some.notes)


@pytest.mark.parametrize("bad", ["LSTN-01", [1.5], [""], [True], {"a": 1}, ["LSTN-01", "LSTN-01"]])
def test_bad_telescope_lists_are_refused(steep, bad):
    with pytest.raises(ProdconfError):
        LimitCalculator(steep, bad)


def test_telescopes_by_number_and_by_name_are_the_same(shared_data):
    file = shared_data / "reduced_events" / "gamma_diffuse_za20deg_v0.36.hdf5"
    by_number, by_name = (LimitCalculator(file, some) for some in ([5, "9"], ["MSTN-01", "MSTN-05"]))
    assert by_number.limits(0.01).energy == by_name.limits(0.01).energy
    assert by_number.limits(0.01).n_triggered == by_name.limits(0.01).n_triggered > 0
    assert by_number.histograms().n_events == by_name.limits(0.01).n_triggered


# Files


def test_several_places_or_bad_files_are_refused(steep, tmp_path):
    there = FileInfo(**{**INFO.__dict__, "azimuth": 90.0, "file_name": "other"})
    other = write_events(tmp_path / "other.hdf5", toy_triggers(100, 2), info=there)
    with pytest.raises(ProdconfError, match="one place, holds 2"):
        LimitCalculator([steep, other])
    with pytest.raises(ProdconfError, match="no file"):
        LimitCalculator(tmp_path / "absent.hdf5")
    (tmp_path / "junk.hdf5").write_bytes(b"junk" * 100)
    with pytest.raises(ProdconfError, match=r"junk\.hdf5"):
        LimitCalculator(tmp_path / "junk.hdf5")


@pytest.mark.parametrize(
    "options", [{"confidence": 1.0}, {"interval": 0.0}, {"index": math.nan}, {"index": [1, 2]}, {"index": 2 * u.m}]
)
def test_bad_options_are_refused(steep, options):
    with pytest.raises(ProdconfError, match=next(iter(options))):
        LimitCalculator(steep, request=LimitRequest(**options))


# The real samples


def test_the_seven_triggers_of_run_202(shared_data):
    calculator = LimitCalculator(str(shared_data / "reduced_events" / "run202_proton_za20deg_v0.17.hdf5"))
    record = calculator.limits(0.0)
    assert record.n_triggered == 7
    assert record.energy.value == pytest.approx(0.0759, abs=5e-5)
    assert record.radius.value == pytest.approx(842, abs=0.5)
    assert record.viewcone.value == pytest.approx(3.93, abs=0.005)
    np.testing.assert_allclose(np.sort(record.tails["radius"].values), [52, 136, 223, 462, 591, 799, 842], atol=0.6)
    with pytest.warns(ProdconfWarning, match=r"upper_radial_distance: sample_limited: 7 triggers"):
        assert calculator.compute_upper_radial_distance(1e-3).value == record.radius.value


def test_old_files_say_why_they_know_no_core_distance(shared_data, tmp_path):
    file = shared_data / "reduced_events" / "run202_proton_za20deg_v0.16.hdf5"
    calculator = LimitCalculator(file)
    with pytest.raises(ProdconfError, match="core positions cannot be known: showers are re-used"):
        calculator.compute_upper_radial_distance(0.01)
    assert compute(calculator, "energy", 0.01).value == pytest.approx(0.0759, abs=5e-5)
    assert compute(calculator, "viewcone", 0.01).value == pytest.approx(3.93, abs=0.005)
    assert calculator.limits(0.01).radius is None
    with pytest.raises(ProdconfError, match="re-used"):
        _ = calculator.core_distance_bins
    with pytest.raises(ProdconfError, match="re-used"):
        calculator.joint_loss(upper_radial_distance=100 * u.m)
    known = FIGURES - {"core_distance_energy", "core_distance", "core_xy", "survival_core_distance"}
    assert set(calculator.plot_data(0.08 * u.TeV, 500 * u.m, 3 * u.deg, tmp_path / "old")) == known
    assert {path.stem for path in (tmp_path / "old").iterdir()} == known
    bins = calculator.energy_bins.value, calculator.view_cone_bins.value  # from the triggers: no range is known
    assert 0.0759 / 1.123 < bins[0][0] <= 0.0759 < 8.50 <= bins[0][-1] < 8.50 * 1.123  # by less than a bin
    assert 3.93 <= bins[1][-1] < 3.93 + 0.061


@pytest.mark.parametrize("generation", ["v0.16", "v0.17", "v0.32", "v0.34", "v0.36"])
def test_no_sample_file_decides_a_limit(shared_data, generation):
    (file,) = (shared_data / "reduced_events").glob(f"*deg_{generation}.hdf5")
    record = LimitCalculator(file).limits(1e-3)
    found = [limit for limit in (record.energy, record.radius, record.viewcone) if limit is not None]
    assert [str(limit.verdict) for limit in found] == ["sample_limited"] * len(found)
    assert len(found) == (2 if generation == "v0.16" else 3)


# Bins and histograms


def test_the_bins_span_the_simulated_range(calculator):
    for name, unit, ends in (
        ("energy_bins", u.TeV, (0.003, 330)),
        ("core_distance_bins", u.m, (0, 1000)),
        ("view_cone_bins", u.deg, (0, 8)),
    ):
        bins = getattr(calculator, name)
        assert bins.unit == unit
        assert bins[[0, -1]].value == pytest.approx(ends)
        assert (np.diff(bins.value) > 0).all()
    steps = np.diff(np.log10(calculator.energy_bins.value))
    assert steps == pytest.approx(0.05, rel=0.01)
    assert calculator.core_distance_bins.size == calculator.view_cone_bins.size == 101


def test_the_histograms_hold_every_trigger(calculator, events):
    found = calculator.histograms()
    for quantity, bins in (("radius", calculator.core_distance_bins), ("viewcone", calculator.view_cone_bins)):
        expected = np.histogram(events[quantity], bins.value)[0]
        assert np.abs(getattr(found, quantity) - expected).sum() <= 4  # rounding at the edges of bins
    assert found.n_outside == dict.fromkeys(found.n_outside, 0)
    assert found.ground.sum() == found.radius_energy.sum() == found.n_events == 60_000


def test_showers_from_one_direction_have_no_view_cone(tmp_path):
    info = FileInfo(**{**INFO.__dict__, "viewcone_max": 0.0})
    energy, radius, _ = toy_triggers(500, 3)
    calculator = LimitCalculator(write_events(tmp_path / "point.hdf5", (energy, radius, np.zeros(500)), info=info))
    with pytest.warns(ProdconfWarning, match="point-like"):
        assert calculator.compute_viewcone(0.01) == 0 * u.deg
    assert calculator.view_cone_bins[0] == 0
    figures = calculator.plot_data(None, None, 0 * u.deg)
    assert set(figures) == FIGURES - {"survival_view_cone"}


def test_a_single_trigger(tmp_path):
    calculator = LimitCalculator(write_events(tmp_path / "one.hdf5", ([1.0], [100.0], [0.01])))
    values = [compute(calculator, quantity, 0.5) for quantity in METHODS]
    assert [value.value for value in values] == pytest.approx([1.0, 100.0, math.degrees(0.01)], rel=1e-4)
    assert set(calculator.plot_data(*values, tmp_path / "figures")) == FIGURES


# Beyond the documented methods


@pytest.mark.parametrize("cuts", [(0.01, 700.0, 6.0), (0.02, None, 5.0), (None, 900.0, None), (0.001, 2000.0, 9.0)])
def test_the_joint_loss_is_counted(calculator, events, cuts):
    gone = np.zeros(60_000, dtype=bool)
    for (quantity, unit), cut in zip(UNITS.items(), cuts, strict=True):
        if cut is not None:
            values = events[quantity]
            gone |= values < cut if unit is u.TeV else values > cut
    given = [None if cut is None else cut * unit for cut, unit in zip(cuts, UNITS.values(), strict=True)]
    joint = calculator.joint_loss(*given)
    assert joint.n_lost == gone.sum()
    assert joint.fraction == pytest.approx(gone.mean())


def test_a_budget_bounds_the_three_together(calculator, events):
    record = calculator.limits(request=LimitRequest(budget=0.003))
    gone = (events["energy"] < record.energy.value) | (events["radius"] > record.radius.value)
    gone |= events["viewcone"] > record.viewcone.value
    assert record.joint.n_lost == gone.sum() <= 180
    assert gone.sum() > 170
    assert record.loss_fractions["energy"] == pytest.approx(1e-3, rel=0.1)


def test_slices_have_their_own_limits(calculator, events):
    edges = [0.003, 0.02, 0.1, 1.0, 330.0]
    curves = calculator.curves(0.01, slices=edges)
    assert curves.edges == tuple(edges)
    for quantity in ("radius", "viewcone"):
        curve = getattr(curves, quantity)
        for i in range(4):
            within = (events["energy"] >= edges[i]) & (events["energy"] < edges[i + 1])
            values = np.sort(events[quantity][within])[::-1]
            assert curve.n_events[i] == values.size
            if curve.verdict[i] == "ok":
                assert curve.value[i] == pytest.approx(values[int(0.01 * values.size)], abs=1e-9)
    assert len(calculator.curves(0.01).edges) == round(4 * math.log10(330 / 0.003)) + 1


def test_another_spectrum_weighs_the_events(steep, events):
    record = LimitCalculator(steep, request=LimitRequest(index=2.7)).limits(0.01)
    weight = events["energy"] ** -0.7
    order = np.argsort(events["energy"])
    share = np.cumsum(weight[order]) / weight.sum()
    expected = events["energy"][order][np.searchsorted(share, 0.01, side="right")]
    assert record.energy.value == pytest.approx(expected, rel=1e-6)
    histograms = LimitCalculator(steep, request=LimitRequest(index=2.7)).histograms()
    assert histograms.energy.sum() != 60_000
    assert histograms.n_events == 60_000


def test_other_rules_reach_the_limits(calculator, events):
    assert calculator.limits(request=LimitRequest(1e-4, min_lost_events=60)).radius.n_tail == 60
    mixed = calculator.limits({"energy": 0.0, "radius": 0.01, "viewcone": 0.1})
    assert mixed.radius.n_tail == 600
    assert mixed.energy.n_tail == 0
    peak = calculator.limits(request=LimitRequest(energy_rule="peak", peak_fraction=0.1)).energy
    assert 0.003 < peak.value < STEEP.break_energy
    with pytest.raises(ProdconfError, match="energy_rule"):
        calculator.limits(request=LimitRequest(energy_rule="guess"))


# Figures


def test_the_figures_carry_the_records_of_their_limits(steep, tmp_path):
    calculator = LimitCalculator(steep)
    values = [compute(calculator, quantity, 0.01) for quantity in METHODS]
    figures = calculator.plot_data(*values, str(tmp_path / "figures"))
    assert set(figures) == FIGURES
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == FIGURES
    record = calculator.limits(0.01)
    for name, limit in (("energy", record.energy), ("core_distance", record.radius), ("view_cone", record.viewcone)):
        for figure in (figures[name], figures[f"survival_{name}"]):
            drawn = [float(line.get_xdata()[0]) for line in figure.axes[0].lines if list(line.get_ydata()) == [0, 1]]
            assert {limit.value, limit.guaranteed} <= set(drawn)


def test_a_limit_from_elsewhere_gets_the_band_of_its_loss(steep, events):
    calculator = LimitCalculator(steep)
    view = calculator._view("radius", 800.0)
    assert isinstance(view.limit, TailLimit)
    assert view.limit.value == 800.0
    assert view.limit.n_tail == lost(events["radius"], 800.0, "radius")
    assert view.limit.interval_low < 800.0 < view.limit.interval_high
    assert calculator._view("radius", 300.0).limit == 300.0  # loses far more than a tenth
    assert calculator._view("radius", 1100.0).limit == 1100.0  # loses nothing
    assert calculator._view("radius", None).limit is None


def test_figures_are_saved_where_asked_and_replaced_only_if_allowed(calculator, tmp_path):
    folder, slices = tmp_path / "figures", [0.003, 330.0]
    for overwrite in (False, True):
        curves = calculator.plot_curves(0.01, slices=slices, output_path=folder, overwrite=overwrite)
    assert {path.stem for path in folder.iterdir()} == set(curves) == {"curve_core_distance", "curve_view_cone"}
    (folder / "view_cone.png").write_text("mine")
    with pytest.raises(ProdconfError, match="overwrit"):
        calculator.plot_curves(0.01, slices=slices, output_path=folder)
    with pytest.raises(ProdconfError, match=r"view_cone.*overwrit"):
        calculator.plot_data(None, None, None, folder)
    with pytest.raises(ProdconfError, match="does not exist"):
        calculator.plot_data(None, None, None, tmp_path / "a" / "b")
    assert (folder / "view_cone.png").read_text() == "mine"


@pytest.mark.parametrize("bad", [800.0, 800 * u.deg, [1, 2] * u.m, math.nan * u.m, "far"])
def test_a_limit_needs_a_unit(calculator, bad):
    with pytest.raises(ProdconfError, match="upper_radial_distance"):
        calculator.plot_data(None, bad, None)
    with pytest.raises(ProdconfError, match="upper_radial_distance"):
        calculator.joint_loss(upper_radial_distance=bad)


def test_figures_are_shown_in_a_notebook_if_no_folder_is_given(calculator, monkeypatch):
    shown = []
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    display = SimpleNamespace(Image=lambda data: data, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert set(calculator.plot_data(10 * u.GeV, 0.8 * u.km, 6 * u.deg)) == FIGURES
    assert len(shown) == len(FIGURES)


# In use


def test_a_simulation_is_configured_from_a_calculator(tmp_path):
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=20_000, n_uses=5)
    model = ToyModel(Throw(energy_min=0.01, core_scatter_max=900.0), slope=4.0)
    reduced, dl2 = write_pilot(tmp_path / "pilot", model, seed=np.random.SeedSequence(5), size=size)
    calculator = LimitCalculator(reduced)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProdconfWarning)
        limits = SimulationConfig({}, dl2, limits=calculator, loss_fraction=0.02).limits
        expected = [getattr(calculator, method)(0.02).value for method in METHODS.values()]
    assert [limits.energy_min, limits.core_scatter_radius, limits.viewcone] == expected
    assert "LimitCalculator" in limits.source


def test_the_cache_is_used_and_does_not_change_anything(steep, tmp_path):
    copy, cache = shutil.copy(steep, tmp_path / "copy.hdf5"), tmp_path / "cache"
    first = LimitCalculator(copy, ["MSTN-01"], cache=cache)
    assert first.limits(0.01) == LimitCalculator(steep, ["MSTN-01"]).limits(0.01)
    assert any(cache.iterdir())
    again = LimitCalculator(copy, ["MSTN-01"], cache=cache)
    assert again.limits(0.01) == first.limits(0.01)
    np.testing.assert_array_equal(again.histograms().radius_energy, first.histograms().radius_energy)


def test_the_file_is_read_once_for_the_three_methods(steep, monkeypatch):
    from prodconf import derive_corsika_limits as module

    passes, real = [], module.summarise_files
    monkeypatch.setattr(module, "summarise_files", lambda *a, **k: passes.append(k["capacity"]) or real(*a, **k))
    calculator = LimitCalculator(steep)
    for loss in (0.1, 0.01, 0.0):
        for quantity in METHODS:
            compute(calculator, quantity, loss)
    calculator.joint_loss(0.02 * u.TeV)
    calculator.plot_curves(0.01, slices=[0.003, 330.0])
    assert len(passes) == 2  # once for all, once for the slices
    compute(calculator, "radius", 0.5)
    assert len(passes) == 3


def test_slices_may_have_a_unit(calculator):
    plain = calculator.curves(0.1, slices=[1, 2]).edges
    assert calculator.curves(0.1, slices=[1000, 2000] * u.GeV).edges == plain == (1.0, 2.0)
    for bad in ([1, 2] * u.m, 5):
        with pytest.raises(ProdconfError, match="slices must"):
            calculator.curves(0.1, slices=bad)


@pytest.mark.parametrize("loss", [0.1 * u.one, 10 * u.percent, np.array(0.1), np.float32(0.1)])
def test_a_loss_fraction_may_be_any_number(calculator, loss):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProdconfWarning)
        expected = calculator.compute_upper_radial_distance(0.1)
        assert abs(calculator.compute_upper_radial_distance(loss) - expected) < 1 * u.m
    with pytest.raises(ProdconfError, match="must be 0 or at least 1e-100"):
        calculator.limits(1e-320)


def test_an_energy_limit_of_zero_cuts_nothing_off(calculator):
    figures = calculator.plot_data(0 * u.TeV, 500 * u.m, 3 * u.deg)
    assert "energy" in figures
    with pytest.raises(ProdconfError, match="lower_energy_limit must"):
        calculator.plot_data(-1 * u.TeV, 500 * u.m, 3 * u.deg)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"event_data_file": None}, "event_data_file must be"),
        ({"event_data_file": 5}, "event_data_file must be"),
        ({"event_data_file": b"x"}, "event_data_file must be"),
        ({"telescope_list": 5}, "telescope_list must be"),
        ({"cache": 5}, "cache"),
    ],
)
def test_arguments_of_a_wrong_kind(steep, given, words):
    with pytest.raises(ProdconfError, match=words):
        LimitCalculator(**({"event_data_file": steep} | given))


def test_what_was_given_can_be_asked_of_the_calculator(steep):
    calculator = LimitCalculator(steep, None)
    assert (calculator.event_data_file, calculator.telescope_list) == (steep, None)
