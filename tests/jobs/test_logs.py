"""Job logs: constants known beforehand come back with honest errors, and what logs do not support is refused."""

import dataclasses
import re

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from matplotlib.figure import Figure

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.jobs.cost import CostModel, energy_moment, shower_seconds
from prodconf.jobs.logs import MOST_COST_ERROR, CostFit, fit_cost, plot_fit, read_job_logs
from prodconf.jobs.runs import JobPoints, RunSettings, plan_jobs

TRUTH = CostModel(0.3, 25.0, 0.02, seconds_per_event_tev=0.4, energy_power=0.9)
SLICES = ((0.01, 0.1), (0.1, 1.0), (1.0, 10.0), (10.0, 100.0))
NAMES = ("seconds_per_shower", "seconds_per_tev", "seconds_per_event", "seconds_per_event_tev", "energy_power")
COLUMNS = ("energy_min", "energy_max", "n_showers", "cpu_time", "n_use", "spectral_index")


def table_of(rows):
    """Return logs of rows in TeV and s."""
    table = QTable(rows=rows, names=COLUMNS)
    for name, unit in (("energy_min", u.TeV), ("energy_max", u.TeV), ("cpu_time", u.s)):
        table[name] = np.asarray(table[name], dtype=float) * unit
    return table


def exact(model=TRUTH, ranges=SLICES, uses=(5, 20), *, n_jobs=3, n_showers=500, index=2.0):
    """Return logs of jobs that take exactly what the model says."""
    rows = []
    for low, high in ranges:
        for n in uses:
            seconds = float(shower_seconds(low, high, n_use=n, index=index, model=model)[0])
            rows += [(low, high, n_showers, n_showers * seconds, n, index)] * n_jobs
    return table_of(rows)


def drawn(rng, model=TRUTH, ranges=SLICES, uses=(5, 20), *, n_jobs=15, n_showers=150, scatter=0.1):
    """Return logs of jobs whose showers of E^-2 are drawn one by one (by inversion), on machines that differ."""
    rows = []
    for low, high in ranges:
        for n in uses:
            energy = 1 / (1 / low - rng.random((n_jobs, n_showers)) * (1 / low - 1 / high))
            grown = energy**model.energy_power
            per_shower = model.seconds_per_shower + model.seconds_per_tev * grown
            per_use = model.seconds_per_event + model.seconds_per_event_tev * grown
            factor = rng.gamma(1 / scatter**2, scatter**2, n_jobs)
            total = (per_shower + n * per_use).sum(axis=1) * factor
            rows += [(low, high, n_showers, float(seconds), n, 2.0) for seconds in total]
    return table_of(rows)


@pytest.mark.parametrize("power", [0.4, 0.9, 1.0, 1.7])
def test_without_noise_the_constants_come_back(power):
    truth = dataclasses.replace(TRUTH, energy_power=power)
    fit = fit_cost(exact(truth))
    for name in NAMES:
        assert getattr(fit.model, name) == pytest.approx(getattr(truth, name), rel=1e-3), name
    assert fit.relative_scatter < 1e-3
    assert fit.n_jobs == 24
    given = fit_cost(exact(truth), energy_power=power)
    assert "energy_power" not in given.uncertainties
    for name in NAMES:
        assert getattr(given.model, name) == pytest.approx(getattr(truth, name), rel=1e-6), name


@pytest.mark.parametrize("ranges", [SLICES[:3], SLICES, ((0.02, 0.3), (0.3, 3), (3, 30), (30, 100), (100, 300))])
def test_one_number_of_uses_gives_the_cost_per_use(ranges):
    fit = fit_cost(exact(ranges=ranges, uses=(10,), n_jobs=4))
    assert fit.model.seconds_per_shower == fit.model.seconds_per_tev == 0
    assert fit.model.seconds_per_event == pytest.approx(0.3 / 10 + 0.02, rel=1e-4)
    assert fit.model.seconds_per_event_tev == pytest.approx(25 / 10 + 0.4, rel=1e-4)
    assert fit.model.energy_power == pytest.approx(0.9, rel=1e-5)
    assert tuple(fit.uncertainties) == NAMES[2:]
    assert "All jobs use a shower 10 times" in fit.remarks[0]
    seconds, _ = fit.predict(*np.array(ranges).T, 10, 1.5)
    low, high = np.array(ranges).T
    np.testing.assert_allclose(seconds, shower_seconds(low, high, n_use=10, index=1.5, model=TRUTH)[0], rtol=1e-4)
    with pytest.raises(ProdconfError, match="n_use must be 10, the only number in the logs, got 9"):
        fit.predict(0.1, 1.0, [10, 9], 2.0)


@pytest.fixture(scope="module")
def toys():
    """Fit many sets of drawn logs of four slices and two numbers of uses."""
    rng = np.random.default_rng(17)
    return [fit_cost(drawn(rng)) for _ in range(120)]


def test_pulls_have_mean_zero_and_width_one(toys):
    pulls = [[(getattr(fit.model, n) - getattr(TRUTH, n)) / fit.uncertainties[n] for n in NAMES] for fit in toys]
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 3.5 / np.sqrt(len(toys)))
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 3.5 / np.sqrt(2 * len(toys)))


def test_the_whole_covariance_is_that_of_the_constants(toys):
    off = np.array([[getattr(fit.model, name) - getattr(TRUTH, name) for name in NAMES] for fit in toys])
    square = [row @ np.linalg.solve(fit.covariance, row) for row, fit in zip(off, toys, strict=True)]
    assert np.mean(square) == pytest.approx(5, abs=3.5 * np.sqrt(2 * 5 / len(toys)) + 0.3)


def test_predicted_costs_cover_the_truth_as_often_as_stated(toys):
    low, high = np.array([*SLICES, (0.01, 100.0), (0.01, 0.01), (1.0, 1.0), (100.0, 100.0)]).T
    true = shower_seconds(low, high, n_use=10, index=1.8, model=TRUTH)[0]
    inside = []
    for fit in toys:
        seconds, sigma = fit.predict(low, high, 10, 1.8)
        inside.append(np.abs(seconds - true) < sigma)
    shares = np.mean(inside, axis=0)
    assert np.all(np.abs(shares - 0.6827) < 3.5 * np.sqrt(0.6827 * 0.3173 / len(toys)))
    assert np.mean(inside) == pytest.approx(0.6827, abs=0.05)


def test_the_scatter_of_the_machines_is_found_beside_that_of_the_energies(toys):
    assert np.mean([fit.relative_scatter for fit in toys]) == pytest.approx(0.1, abs=0.004)


def test_few_ranges_with_many_jobs_give_honest_errors():
    rng, pulls = np.random.default_rng(5), []
    for _ in range(60):
        fit = fit_cost(drawn(rng, ranges=SLICES[:3], uses=(10,), n_jobs=30))
        pulls.append((fit.model.energy_power - 0.9) / fit.uncertainties["energy_power"])
    assert abs(np.mean(pulls)) < 3.5 / np.sqrt(60)
    assert abs(np.std(pulls) - 1) < 3.5 / np.sqrt(120)


def test_few_jobs_have_wider_intervals():
    fit = fit_cost(exact(uses=(10,), ranges=SLICES[:3], n_jobs=2))
    assert fit.n_jobs - len(fit.uncertainties) == 3
    assert fit.student == pytest.approx(1.1969, abs=1e-3)
    assert fit_cost(exact(n_jobs=200)).student == pytest.approx(1.0, abs=1e-3)


def test_the_fit_solves_its_equations():
    """At the solution the weighted residuals are orthogonal to numerical derivatives of the expectation."""
    logs = drawn(np.random.default_rng(3))
    fit = fit_cost(logs)
    low, high = logs["energy_min"].value, logs["energy_max"].value
    uses, showers = np.asarray(logs["n_use"]), np.asarray(logs["n_showers"])
    seconds = logs["cpu_time"].value / showers

    def expected(model):
        return shower_seconds(low, high, n_use=uses, index=2.0, model=model)

    mean, spread = expected(fit.model)
    variance = fit.relative_scatter**2 * mean**2 + spread**2 / showers
    assert ((seconds - mean) ** 2 / variance).sum() == pytest.approx(len(logs) - 5, rel=1e-6)
    fisher = []
    for name in NAMES:
        step = 1e-4 * getattr(fit.model, name)
        above, below = (
            expected(dataclasses.replace(fit.model, **{name: getattr(fit.model, name) + sign * step}))[0]
            for sign in (1, -1)
        )
        fisher.append((above - below) / (2 * step))
    fisher = np.array(fisher)
    score = (fisher * (seconds - mean) / variance).sum(axis=1) * np.sqrt(np.diag(fit.covariance))
    np.testing.assert_allclose(score, 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.inv(fisher / variance @ fisher.T), fit.covariance, rtol=1e-3)


def test_order_units_and_scale_change_nothing_else():
    logs = drawn(np.random.default_rng(4))
    fit = fit_cost(logs)
    turned = logs[np.random.default_rng(1).permutation(len(logs))]
    turned["cpu_time"], turned["energy_min"] = turned["cpu_time"].to(u.h), turned["energy_min"].to(u.GeV)
    other = fit_cost(turned)
    slower = logs.copy()
    slower["cpu_time"] *= 7
    scaled = fit_cost(slower)
    for name in NAMES:
        factor = 1 if name == "energy_power" else 7
        assert getattr(other.model, name) == pytest.approx(getattr(fit.model, name), rel=1e-5)
        assert getattr(scaled.model, name) == pytest.approx(factor * getattr(fit.model, name), rel=1e-5)
        assert scaled.uncertainties[name] == pytest.approx(factor * fit.uncertainties[name], rel=1e-4)


def test_a_mixture_of_energies_is_no_more_uncertain_than_its_worst_part():
    fit = fit_cost(drawn(np.random.default_rng(6)))
    energy = np.geomspace(0.01, 100, 200)
    alone, error = fit.predict(energy, energy, 20, 2.0)
    mixed, sigma = fit.predict(0.01, 100.0, 20, [0.0, 1.0, 2.0, 3.0])
    assert np.all(sigma / mixed <= (error / alone).max() * (1 + 1e-6))
    assert (error / alone).max() < MOST_COST_ERROR


def test_constants_at_zero_are_remarked_and_predictions_are_kept():
    truth = CostModel(seconds_per_tev=20.0, seconds_per_event=0.05, energy_power=1.0)
    rng, covered = np.random.default_rng(12), []
    for _ in range(25):
        fit = fit_cost(drawn(rng, truth))
        assert all(getattr(fit.model, name) >= 0 for name in NAMES)
        seconds, sigma = fit.predict(0.1, 10.0, 10, 2.0)
        covered.append(abs(seconds - shower_seconds(0.1, 10.0, n_use=10, index=2.0, model=truth)[0]) < 2 * sigma)
    assert any(
        "do not show seconds_per_event_tev" in said or "do not show seconds_per_shower" in said for said in fit.remarks
    )
    assert np.mean(covered) > 0.85


def changed(name, row, value):
    """Return good logs with one value changed."""
    logs = exact()
    logs[name] = np.asarray(logs[name].value if hasattr(logs[name], "unit") else logs[name], dtype=float) * (
        logs[name].unit or 1
    )
    logs[name][row] = value * (logs[name].unit or 1)
    return logs


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (changed("cpu_time", 3, 0), r"cpu_time must be positive .*got 0 s in row 3"),
        (changed("cpu_time", 3, np.nan), "logs: cpu_time must be finite"),
        (changed("cpu_time", 3, 1e13), r"cpu_time must lie in \[1e-06, 1e\+12\]"),
        (changed("energy_min", 3, -1), "energy_min must be positive, got -1 TeV in row 3"),
        (changed("energy_max", 3, 1e-3), "energy_max must not be below energy_min"),
        (changed("n_showers", 3, 0.5), "n_showers must be a whole number of at least 1, got 0.5 in row 3"),
        (changed("n_use", 3, 0), "n_use must be a whole number of at least 1"),
        (changed("spectral_index", 3, -2), r"spectral_index must lie in \[0, 20\], got -2 in row 3"),
        (exact()["energy_min", "energy_max"], "logs must have the column n_showers"),
        (exact()[:0], "logs must hold jobs"),
        ([1, 2], "logs must have the column energy_min, got none"),
        (None, "logs must have the column energy_min, got none"),
    ],
)
def test_impossible_logs_are_told_in_a_sentence(logs, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        fit_cost(logs)
    assert "\n" not in str(caught.value)


def good():
    """Return logs of one number of uses, with a little noise."""
    return drawn(np.random.default_rng(8), uses=(10,), n_jobs=8, n_showers=400)


def with_times(factor):
    """Return good logs with other times."""
    logs = good()
    logs["cpu_time"] = logs["cpu_time"] * factor
    return logs


def one_off(factor, row=10):
    """Return good logs with one job that failed."""
    return with_times(np.where(np.arange(32) == row, factor, 1.0))


def tied():
    """Return logs in which the number of uses goes with the range."""
    logs = exact(uses=(10,), n_jobs=5, ranges=(*SLICES, (0.5, 5.0)))
    logs["n_use"] = np.where(logs["energy_min"].value < 0.05, 5, 20)
    return logs


def flat(falling):
    """Return logs whose times do not rise with energy."""
    logs, rng = good(), np.random.default_rng(2)
    fall = logs["energy_min"].value ** (-0.5 if falling else 0.0)
    logs["cpu_time"] = 400 * fall * rng.normal(1, 0.1, len(logs)) * u.s
    return logs


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (good()[:4], "at least 5 jobs for 3 constants, got 4"),
        (exact(n_jobs=1)[:6], "at least 7 jobs for 5 constants, got 6"),
        (good()[:16], r"at least 3 different ranges of energy \(or spectra\) to tell 3 constants apart, got 2"),
        (good()[:8], "at least 3 different ranges .* got 1"),
        (tied()[:20], "at least 5 combinations of energies and uses .* got 4"),
        (tied(), "must tell .* apart, got 5 combinations"),
        (flat(False), "must rise with energy"),
        (flat(True), "must rise with energy, got a rise of 0.0 standard deviations"),
        (
            one_off(1e-3),
            r"no job may be off the others by more than a factor of 2, got .* s in row 10 .*\(1 such in all",
        ),
        (one_off(30.0), "no job may be off .* in row 10 "),
        (one_off(1e4, 0), "no job may be off .* in row 0 "),
        (with_times(np.tile([0.4, 2.5], 16)), "must scatter by at most 50% about the best fit, got"),
        (
            exact(dataclasses.replace(TRUTH, energy_power=0.1), uses=(10,)),
            "energy_power must be known to 0.1 and lie within 0.2 to 2, got 0.20",
        ),
        (drawn(np.random.default_rng(1), uses=(10,), n_jobs=2, n_showers=100, scatter=0.3), "must be known to"),
    ],
)
def test_what_logs_do_not_support_is_refused(logs, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        fit_cost(logs)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("logs")


def test_a_wide_spectrum_supports_no_fit():
    rng, refused = np.random.default_rng(9), 0
    for _ in range(5):
        logs = drawn(rng, ranges=((0.003, 330.0), (0.03, 330.0), (0.3, 330.0)), uses=(10,), n_jobs=6, n_showers=1500)
        try:
            fit_cost(logs)
        except ProdconfError:
            refused += 1
    assert refused >= 4


def test_two_ranges_suffice_where_the_power_is_given():
    fit = fit_cost(good()[:16], energy_power=0.9)
    assert abs(fit.model.seconds_per_event_tev - 2.9) < 4 * fit.uncertainties["seconds_per_event_tev"]
    assert ("energy_power", "0.9", "given") in fit.table


@pytest.mark.parametrize("power", [0, -1, 6, np.nan, "1", True, [1.0, 1.0], 1 * u.TeV])
def test_impossible_powers_are_refused(power):
    with pytest.raises(ProdconfError, match="energy_power must"):
        fit_cost(good(), energy_power=power)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((0.0, 1.0, 10, 2.0), "energy_min must be positive"),
        ((1.0, 0.5, 10, 2.0), "energy_max must not be below energy_min"),
        ((0.1, 1.0, 10.5, 2.0), "n_use must be a whole number"),
        ((0.1, 1.0, 10, -2.0), r"index must lie in \[0, 20\]"),
        ((0.1, [1.0, 2.0], 10, [2.0, 2.0, 2.0]), "shapes that fit together"),
        ((0.1 * u.s, 1.0, 10, 2.0), "energy_min must have a unit convertible to TeV"),
    ],
)
def test_impossible_predictions_are_refused(asked, words):
    with pytest.raises(ProdconfError, match=words):
        fit_cost(good()).predict(*asked)


def test_predictions_beyond_the_logs_are_warned_of():
    fit = fit_cost(exact())
    assert fit.predict([], [], 10, 2.0)[1].shape == (0,)
    with pytest.warns(ProdconfWarning, match="beyond the energies of the logs"):
        fit.predict(0.001, 1.0, 10, 2.0)
    seconds, sigma = fit.predict(30 * u.GeV, [1, 10] * u.TeV, [[5], [20]], 2.0)
    assert seconds.shape == sigma.shape == (2, 2)
    assert seconds[1, 0] == pytest.approx(
        float(shower_seconds(0.03, 1.0, n_use=20, index=2.0, model=TRUTH)[0]), rel=1e-4
    )


def test_logs_are_read_from_both_kinds_of_files(tmp_path):
    logs = good()
    logs["cpu_time"] = logs["cpu_time"].to(u.h)
    logs.write(tmp_path / "logs.ecsv", format="ascii.ecsv")
    read = read_job_logs(tmp_path / "logs.ecsv")
    assert read.colnames == list(COLUMNS)
    np.testing.assert_allclose(read["cpu_time"].to_value("s"), good()["cpu_time"].value, rtol=1e-12)
    assert read["cpu_time"].unit == u.s
    lines = ["energy_min [GeV],energy_max,n_showers,cpu_time [min],other", "30,1,500,2.5,a", "100,10,20,1,b"]
    (tmp_path / "logs.csv").write_text("\n".join(lines) + "\n")
    read = read_job_logs(tmp_path / "logs.csv")
    assert read["energy_min"].to_value("TeV").tolist() == pytest.approx([0.03, 0.1])
    assert read["cpu_time"].to_value("s").tolist() == [150, 60]
    assert read["n_use"].tolist() == [1, 1]
    assert read["spectral_index"].tolist() == [2, 2]


def test_the_job_table_of_a_production_becomes_a_log(tmp_path):
    low, high = np.array(SLICES).T
    points = JobPoints(20.0, 180.0, low, high, 900.0, 8.0)
    for uses in (10, [5, 10, 10, 20]):
        jobs = plan_jobs(points, RunSettings(50, cost=TRUTH), n_events=4000, n_use=uses, spectral_index=-1.8)
        jobs["energy_min"], jobs["energy_max"] = low[jobs["point"]] * u.TeV, high[jobs["point"]] * u.TeV
        jobs["cpu_time"] = jobs["cpu_hours"]
        jobs.write(tmp_path / "jobs.ecsv", format="ascii.ecsv", overwrite=True)
        read = read_job_logs(tmp_path / "jobs.ecsv")
        assert set(read["spectral_index"]) == {1.8}
        assert read["n_use"].tolist() == np.broadcast_to(uses, 4)[jobs["point"]].tolist()
    jobs = plan_jobs(points, RunSettings(50, cost=TRUTH), n_events=4000, n_use=10, spectral_index=-1.8)
    jobs["energy_min"], jobs["energy_max"] = low[jobs["point"]] * u.TeV, high[jobs["point"]] * u.TeV
    jobs["cpu_time"] = jobs["cpu_hours"]
    assert fit_cost(jobs).model.seconds_per_event_tev == pytest.approx(2.9, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "cannot be read|must have the column"),
        ("a.csv", "energy_min,energy_max,n_showers,cpu_time\n1,2,3,a\n", "cpu_time must be one number in every row"),
        (
            "a.csv",
            "energy_min,energy_max,n_showers,cpu_time\n1,2,3,\n1,2,3,4\n",
            "cpu_time must be one number in every row",
        ),
        ("a.csv", "energy_min,energy_max,n_showers,cpu_time [m]\n1,2,3,4\n", "unit convertible to s, got m"),
        ("a.csv", "energy_min,energy_max,n_showers,cpu_time [flops]\n1,2,3,4\n", "logs"),
        ("a.ecsv", "energy_min,energy_max,n_showers,cpu_time\n1,2,3,4\n", "cannot be read as a table"),
        ("a.ecsv", "\0\1\2", "cannot be read as a table"),
    ],
)
def test_files_that_are_no_logs_are_told_in_a_sentence(name, text, words, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ProdconfError, match=words) as caught:
        read_job_logs(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(ProdconfError, match="cannot be read as a table"):
        read_job_logs(tmp_path / "none.ecsv")
    with pytest.raises(ProdconfError, match="logs must be a path, got 5"):
        read_job_logs(5)


def test_the_table_and_the_figure_show_the_fit():
    logs = drawn(np.random.default_rng(10))
    fit = fit_cost(logs)
    assert isinstance(fit, CostFit)
    assert fit.table[0] == ("constant", "value", "standard error")
    assert [row[0] for row in fit.table[1:6]] == list(NAMES)
    assert all(isinstance(cell, str) for row in fit.table for cell in row)
    assert fit.table[-1] == ("jobs", "120", "")
    figure = plot_fit(fit, logs)
    assert isinstance(figure, Figure)
    above, below = figure.axes
    dots = np.concatenate([line.get_ydata() for line in above.lines if line.get_marker() == "."])
    assert sorted(dots) == pytest.approx(sorted((logs["cpu_time"].value / logs["n_showers"]).tolist()))
    texts = [text.get_text() for text in above.get_legend().get_texts()]
    assert texts == ["5 uses", "20 uses"]
    place = np.concatenate([line.get_xdata() for line in below.lines if line.get_marker() == "."])
    mean = energy_moment(10.0, 100.0, index=2.0, power=fit.model.energy_power) ** (1 / fit.model.energy_power)
    assert place.max() == pytest.approx(float(mean))
    with pytest.raises(ProdconfError, match="fit must be a CostFit"):
        plot_fit(None, logs)


def test_sentences_hold_no_long_numbers():
    for logs in (one_off(1e-3), flat(True)):
        with pytest.raises(ProdconfError) as caught:
            fit_cost(logs)
        assert not re.search(r"\d\.\d{6}", str(caught.value))
