"""Closed loop: plans from drawn pilots, their simulated productions, and what was promised."""

import numpy as np
import pytest
import yaml
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy.stats import betabinom, binom

from prodconf.core.errors import ProdconfError
from prodconf.events.dl2 import DL2File
from prodconf.jobs.cost import CostModel
from prodconf.plan.configuration import Slicing
from prodconf.plan.truth import Slices, ToyAim, draw_pilots, passes_law, toy_rates, toy_truth
from prodconf.plan.validation import OUTPUTS, plot_pulls, validate_plan, validate_truth
from prodconf.precision.area import PassedOfThrown, count_uncertainty
from prodconf.precision.pilots import pilot_statistics
from prodconf.precision.targets import write_metrics
from prodconf.toys.models import Throw, ToyModel, simulate
from prodconf.toys.sample import SampleSize, sample_metrics, sample_models, write_pilot

RISING = ToyModel(break_energy=0.3, correlation=0.2)
ALIKE = ToyModel(Throw(core_scatter_max=400.0, viewcone_max=3.0), 0.5, break_energy=0.3, correlation=0.8)
THREE = [ToyModel(Throw(zenith=z), break_energy=b, correlation=0.2) for z, b in ((20.0, 0.1), (40.0, 0.2), (60.0, 0.5))]
WIDE = ToyModel(Throw(core_scatter_max=3000.0), break_energy=0.3, core_scale=120.0, correlation=0.3)
LAST = ToyAim(how=Slicing(slices=2))


# --- the law of passes ------------------------------------------------------------------------------------------------
@given(st.floats(0, 1), st.floats(1e-6, 0.999), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_law_is_beta_binomial(p, rho, n):
    law, m = passes_law(p, rho, n), np.arange(n + 1)
    assert np.isclose(law.sum(), 1)
    assert np.isclose(law @ m, n * p)
    assert np.isclose(law @ m**2 - (law @ m) ** 2, n * p * (1 - p) * (1 + (n - 1) * rho), atol=1e-9)
    if 1e-3 < p < 1 - 1e-3 and rho > 1e-3:
        scale = 1 / rho - 1
        assert np.allclose(law, betabinom.pmf(m, n, p * scale, (1 - p) * scale), rtol=1e-6, atol=1e-12)


def test_law_without_correlation_is_binomial():
    assert np.allclose(passes_law([0.1, 0.7], 0.0, 20)[1], binom.pmf(np.arange(21), 20, 0.7))
    assert passes_law(0.3, 1.0, 5)[[0, 5]] == pytest.approx([0.7, 0.3], abs=1e-6)


@pytest.mark.parametrize(
    "arguments", [(-0.1, 0.1, 5), (1.1, 0.1, 5), (np.nan, 0.1, 5), (0.1, np.inf, 5), (0.1, -1, 5), (0.1, 0.1, 0),
                  (0.1, 0.1, 21), (0.1, 0.1, 1.5), (0.1, 0.1, "5")],
)  # fmt: skip
def test_law_refuses(arguments):
    with pytest.raises(ProdconfError, match=r"passing|correlation|n_use"):
        passes_law(*arguments)


# --- drawn counts against simulated showers ---------------------------------------------------------------------------
@pytest.fixture(scope="module")
def loop():
    """A toy whose pilots are easily simulated shower by shower."""
    model = ToyModel(Throw(energy_min=0.02, energy_max=20.0, core_scatter_max=700.0), break_energy=0.3, correlation=0.2)
    return model, toy_truth([model], n_showers=40_000, n_use=10, aim=ToyAim(0.1, how=Slicing(slices=2)))


def test_pilots_are_as_simulated_and_read(loop, tmp_path):
    model, truth = loop
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=40_000, n_uses=10)
    _, path = write_pilot(tmp_path / "pilot", model, seed=np.random.SeedSequence(4), size=size)
    real = pilot_statistics(DL2File(path), truth.metrics, nsb_level=0.24)
    drawn = draw_pilots(truth, np.random.default_rng(1), 300)
    rows = real.n_passed > 30
    assert rows.sum() > 8
    for name in ("n_simulated", "n_passed", "design_effect", "n_effective", "density", "effective_area"):
        values = np.array([getattr(one, name)[rows] for one in drawn])
        pulls = (getattr(real, name)[rows] - values.mean(axis=0)) / values.std(axis=0)
        assert abs(pulls).max() < 4, name
        assert abs(pulls.mean()) < 1.2, name
    assert np.array_equal(real.requested, drawn[0].requested)


def test_slices_are_as_simulated(loop):
    """A slice of another spectrum, disc and cone: passing, correlation and what they make of the uncertainty."""
    _, truth = loop
    edges, uses, n_showers = truth.statistics[0].energy_edges, 8, 60_000
    low, high = edges[2], edges[7]
    one = Slices(*(np.array([x]) for x in (0, 0, low, high, 2.9, uses, 450.0, 4.0, n_showers)))
    rates = truth.rates(one, edges)
    real = ToyModel(Throw(low, high, 2.9, 450.0, 4.0), break_energy=0.3, correlation=0.2)
    counts = np.zeros((3, edges.size - 1))
    for some in simulate(real, rng=np.random.default_rng(2), n_showers=n_showers, n_uses=uses):
        bins = np.searchsorted(edges, some.energy, "right") - 1
        counts[0] += np.bincount(bins, minlength=edges.size)[: edges.size - 1]
        passed, m = np.unique(some.shower_id[some.triggered], return_counts=True)
        place = bins[np.searchsorted(some.shower_id, passed)]
        counts[1] += np.bincount(place, m, edges.size)[: edges.size - 1]
        counts[2] += np.bincount(place, m**2, edges.size)[: edges.size - 1]
    inside = slice(2, 7)
    thrown, k, squared = counts[:, inside]
    got = count_uncertainty(PassedOfThrown(np.array([k, squared]), thrown, n_use=uses))
    p, rho = rates.passing[0, inside], rates.correlation[0, inside]
    assert np.allclose(k / thrown, p, rtol=4 * got.relative_uncertainty.max())
    assert np.allclose(got.design_effect, 1 + (uses - 1) * rho, rtol=0.12)
    assert np.allclose(got.relative_uncertainty, np.sqrt((1 + (uses - 1) * rho) * (1 - p) / (thrown * p)), rtol=0.1)


def test_correlation_of_one_energy_is_the_closed_form():
    """Above the break a bin has one passing probability, and the toy's own design effect holds."""
    edges = np.array([1.0, 2.0, 4.0])
    passing, rho = toy_rates(RISING, edges)
    assert np.allclose(1 + 9 * rho, RISING.design_effect(passing, n_uses=10), rtol=1e-9)
    below = toy_rates(RISING, np.array([0.1, 0.2]))
    assert 1 + 9 * below[1] > RISING.design_effect(below[0], n_uses=10)


# --- the promise ------------------------------------------------------------------------------------------------------
CASES = {
    "small pilot": ({"models": [RISING], "n_showers": 800_000}, (15, 25)),
    "larger pilot": ({"models": [RISING], "n_showers": 5_000_000}, (100, 150)),
    "ten uses, much alike": ({"models": [ALIKE], "n_showers": 300_000, "n_use": 10}, (15, 30)),
    "one slice of a fixed index": (
        {"models": [RISING], "n_showers": 800_000, "aim": ToyAim(how=Slicing(slices=1, spectral_index=2.0))}, (15, 25),
    ),
    "three pointings": ({"models": THREE, "n_showers": 1_000_000, "aim": LAST}, (20, 30)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_all_targets_are_met_in_nine_of_ten_toys(case):
    how, (least, most) = CASES[case]
    truth = toy_truth(**how)
    worth = min(pilot.n_effective[pilot.requested].min() for pilot in truth.statistics)
    assert least < worth < most
    found = validate_truth(truth, n_toys=200 if len(how["models"]) == 1 else 60, seed=11)
    assert found.sure.share >= 0.9
    assert (found.sure.at_pointings()[0] >= 0.9).all()
    assert found.holds
    assert found.estimate.share < 0.6
    assert found.sentences[0].startswith("The plan keeps its promise")


def test_promise_of_a_pilot_on_a_far_larger_disc():
    assert validate_truth(toy_truth([WIDE], n_showers=20_000_000, n_use=10), n_toys=40).holds


def test_pulls_of_a_large_pilot_are_centred():
    found = validate_truth(toy_truth([RISING], n_showers=50_000_000), n_toys=40)
    assert abs(np.nanmean(found.sure.pull[:, :, 6:16], axis=(0, 1))).max() < 0.5


def test_pulls_have_mean_0_and_width_1():
    found = validate_truth(toy_truth([RISING], n_showers=2_000_000), n_toys=100, seed=5)
    for outcome in (found.sure, found.estimate):
        assert abs(outcome.pulls.mean()) < 0.12
        assert abs(outcome.pulls.std() - 1) < 0.1


def test_same_seed_same_answer_and_the_table_adds_up():
    truth = toy_truth(n_showers=400_000, aim=LAST)
    one, two, other = (validate_truth(truth, n_toys=20, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.sure.achieved, two.sure.achieved, equal_nan=True)
    assert not np.array_equal(one.sure.achieved, other.sure.achieved, equal_nan=True)
    table = one.table
    held = np.flatnonzero(truth.statistics[0].requested)
    assert np.allclose(table["energy_min"].to_value("TeV"), one.edges[held])
    met = one.sure.achieved[:, 0, held] <= one.target[0, held]
    known = ~np.isnan(one.sure.achieved[:, 0, held])
    assert np.allclose(table["met"], (met & known).sum(axis=0) / known.sum(axis=0))
    assert np.allclose(table["target"], 0.05)
    assert (one.sure.kept[:, 0] == (met | ~known).all(axis=1)).all()


def test_interval_is_wider_where_pointings_fail_together():
    found = validate_truth(toy_truth(THREE, n_showers=300_000, aim=LAST), n_toys=30)
    low, high = found.sure.interval
    assert low < found.sure.share <= high
    every = np.repeat(np.arange(30)[:, None] % 5 > 0, 3, axis=1)
    alike = type(found.sure)(found.sure.promised, found.sure.achieved, found.sure.pull, every, np.ones_like(every))
    single = type(found.sure)(
        found.sure.promised, found.sure.achieved, found.sure.pull, every[:, :1], every[:, :1] | True
    )
    assert np.allclose(alike.interval, single.interval, atol=0.01)
    assert found.sure.at_pointings()[0].shape == (3,)


def test_toys_without_events_are_said():
    found = validate_truth(toy_truth([RISING], n_showers=60_000), n_toys=40)
    assert found.blind.any()
    assert "said nothing of a bin" in found.sentences[-1]
    assert np.isnan(found.sure.promised[found.blind]).any()


# --- arguments --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [0, -1, 1.5, np.nan, np.inf, "5", None, 10**6, [1]])
def test_n_toys_is_checked(value):
    with pytest.raises(ProdconfError, match="n_toys"):
        validate_plan(n_toys=value)
    with pytest.raises(ProdconfError, match="n_toys"):
        validate_truth(toy_truth(), n_toys=value)


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"n_showers": 0}, "n_showers"), ({"n_use": 0}, "n_use"), ({"n_use": 21}, "n_use"),
        ({"aim": ToyAim(target=0.0)}, "target"),
        ({"aim": ToyAim(target=np.nan)}, "target"), ({"aim": ToyAim(energy_range=(5.0, 0.1))}, "energy"),
        ({"aim": ToyAim(energy_range=(400.0, 900.0))}, "range"),
        ({"aim": ToyAim(loss_fraction=2.0)}, "loss_fraction"),
        ({"aim": ToyAim(confidence=1.5)}, "confidence"), ({"models": [3]}, "models"),
        ({"models": 3}, "models"), ({"models": []}, "models"), ({"aim": ToyAim(energy_range=(1.0,))}, "energy_range"),
        ({"aim": ToyAim(cost=None)}, "cost"), ({"aim": ToyAim(how=3)}, "how"), ({"aim": 3}, "aim"),
        ({"models": [RISING, ToyModel(Throw(0.01, zenith=40.0))]}, "models"),
    ],
)  # fmt: skip
def test_toys_are_checked(how, word):
    with pytest.raises(ProdconfError, match=word):
        toy_truth(**how)


@pytest.mark.parametrize("value", [None, 3, "x"])
def test_other_kinds_are_refused(value):
    for call, name in (
        (validate_truth, "truth"),
        (plot_pulls, "validation"),
        (lambda v: toy_rates(v, [1, 2]), "model"),
    ):
        with pytest.raises(ProdconfError, match=name):
            call(value)
    if value == 3:
        with pytest.raises(ProdconfError, match="configuration"):
            validate_plan(value)


def test_two_toys_at_one_place_are_refused():
    with pytest.raises(ProdconfError, match="pilots must differ"):
        validate_truth(toy_truth([RISING, RISING]), n_toys=2)


def test_pilots_that_say_nothing_are_refused():
    with pytest.raises(ProdconfError, match="pilots"):
        validate_truth(toy_truth([RISING], n_showers=1), n_toys=2)


def test_cost_without_a_time_is_refused():
    with pytest.raises(ProdconfError, match="model"):
        validate_truth(toy_truth(aim=ToyAim(cost=CostModel(bytes_per_event=1.0))), n_toys=2)


# --- plans and the command --------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A small plan with a cost."""
    folder = tmp_path_factory.mktemp("plan")
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=150_000, n_uses=5)
    write_pilot(folder / "pilot", sample_models(size="small")[0], seed=np.random.SeedSequence(5), size=size)
    write_metrics(sample_metrics(), folder / "metrics.yml")
    written = {
        "reduced_events": "pilot.reduced.hdf5",
        "dl2_events": [{"files": "pilot.dl2.fits", "nsb_level": 0.24}],
        "metrics": "metrics.yml",
        "loss_fraction": 0.01,
        "cost": {"seconds_per_event": "1 s", "seconds_per_tev": "5 s/TeV"},
        "allocation": {"slices": 2, "n_use": [2, 5]},
    }
    (folder / "plan.yml").write_text(yaml.safe_dump(written))
    return folder, written


def test_a_plan_of_files(plan, run, tmp_path):
    folder, _ = plan
    status, out, err = run("validate-plan", folder / "plan.yml", "-o", tmp_path / "out", "--toys", "60", "--seed", "2")
    assert (status, err) == (0, "")
    assert "The plan keeps its promise" in out
    assert "60 toys at 1 pointing" in out
    assert out.count("By the truth of a toy: ") == 5  # which every plan is validated by
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(OUTPUTS)
    table = QTable.read(tmp_path / "out" / OUTPUTS[0], format="ascii.ecsv")
    assert table.meta["sentences"][0] == out.splitlines()[0]
    assert table.meta["provenance"]["configuration"] == {"n_toys": 60, "seed": 2}
    assert len(table.meta["provenance"]["inputs"]) == 3
    assert (abs(table["pull_mean"]) < 0.5).all()
    assert run("validate-plan", folder / "plan.yml", "-o", tmp_path / "out")[0] == 1


def test_a_promise_that_is_not_kept_is_status_1(plan, run, tmp_path, monkeypatch):
    """A plan that is made too small must be found out."""
    from prodconf.plan import proposal

    wanted = proposal.wanted_in
    monkeypatch.setattr(proposal, "wanted_in", lambda *args: wanted(*args[:3], None))
    status, out, err = run("validate-plan", "-o", tmp_path / "out", "--toys", "30")
    assert status == 1
    assert err.startswith("prodconf: The plan does not keep its promise: all targets")
    assert len(err.splitlines()) == 1
    assert (tmp_path / "out" / OUTPUTS[0]).exists()
    assert "Written" in out


@pytest.mark.parametrize("missing", ["cost", "dl2_events"])
def test_plans_that_promise_nothing_are_refused(plan, run, tmp_path, missing):
    folder, written = plan
    left = {key: value for key, value in written.items() if key not in (missing, "allocation")}
    if missing == "dl2_events":
        left.pop("metrics")
    (folder / f"no_{missing}.yml").write_text(yaml.safe_dump(left))
    status, out, err = run("validate-plan", folder / f"no_{missing}.yml", "-o", tmp_path / "out")
    assert (status, out) == (1, "")
    assert err.startswith(f"prodconf: {missing} must be given in a plan to be validated")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["metrics.yml", "pilot.dl2.fits", "none.yml"])
def test_wrong_files_are_refused(plan, run, tmp_path, name):
    status, out, err = run("validate-plan", plan[0] / name, "-o", tmp_path / "out")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [("--toys", "0"), ("--toys", "many"), ("--seed", "-1"), ("one.yml", "two.yml")])
def test_wrong_usage_is_status_2(run, options):
    assert run("validate-plan", *options)[0] == 2


def test_figure():
    figure = plot_pulls(validate_truth(toy_truth(n_showers=400_000), n_toys=8))
    assert isinstance(figure, Figure)
    left, right = figure.axes
    assert left.get_ylabel() == "achieved / target"
    assert len(right.patches) == 2
