"""A whole production: sums to the last event, bands that cover, and the numbers of the plan it is part of."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u

from prodconf.core.errors import ProdconfError
from prodconf.formulas.power_law import integral
from prodconf.jobs.cost import CostModel
from prodconf.jobs.runs import RunSettings
from prodconf.plan.configuration import Slicing
from prodconf.plan.proposal import Pointings, UsualProduction, compare, hours_band, propose, slice_table
from prodconf.plan.slices import cheapest_slices, floor_seconds, spectrum, thrown_over
from prodconf.precision.needs import PilotBins, ThrownRanges, needs_at
from prodconf.sky.interpolation import PilotPoints, grid_weights

EDGES = np.geomspace(0.05, 30, 25)
CENTRE = np.sqrt(EDGES[1:] * EDGES[:-1])
MODEL = CostModel(
    seconds_per_shower=0.1,
    seconds_per_tev=3.0,
    seconds_per_event=0.02,
    seconds_per_event_tev=0.4,
    bytes_per_event=100,
    bytes_per_trigger=20_000,
)
TARGET = 0.05


def pilot_of(counts, zenith, n_use=5, design=1.5):
    """Stand for a pilot: only what needs read of it."""
    return SimpleNamespace(
        zenith=zenith, azimuth=0.0, n_use=n_use, thrown_area=np.pi * 1000.0**2, source=f"{zenith}", index=2.0
    )


def pointings(counts, *, true=1.0, uses=(5,), radius=None, viewcone=None):
    """Pointings at two pilots; what each bin needs is `true` times k0 / k of an array whose area rises to 1 TeV."""
    counts = np.atleast_2d(counts).astype(float)
    pilots = tuple(pilot_of(row, 20.0 + 40 * i) for i, row in enumerate(counts))
    full = np.ones_like(counts)
    per_area = 1 / np.minimum(1, CENTRE) ** 1.2 * full * true
    slope = 0.0 * full
    bins = PilotBins(pilots, EDGES, per_area, counts, full / TARGET**2, 1.5 * full, counts, slope, full > 0)
    place = np.array([p.zenith for p in pilots]), np.zeros(len(pilots)), np.full(len(pilots), 0.24)
    points = PilotPoints(*place)
    radius = np.broadcast_to(800.0 if radius is None else radius, counts.shape)
    cone = np.broadcast_to(5.0 if viewcone is None else viewcone, counts.shape)
    size = len(pilots)
    made = {
        n: needs_at(
            bins,
            grid_weights(points, *place),
            ThrownRanges(np.full(size, 0.01), np.full(size, 100.0), radius, cone, n),
        )
        for n in uses
    }
    return Pointings(*place, radius, cone, made)


MANY = np.full((2, 24), 400)


def proposed(where, *, energy_range=(0.003, 330), **options):
    """Propose a production for some pointings, beside one spectrum over an energy range on the same discs."""
    return propose(where, MODEL, UsualProduction(where, energy_range), **options)


# --- sums -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("length", [{"showers_per_run": 700}, {"wall_time": "5 h"}])
@pytest.mark.parametrize("uses", [(5,), (1, 5, 20)])
def test_slices_and_jobs_add_up_to_the_last_event(length, uses):
    made = proposed(pointings(MANY, uses=uses), how=Slicing(slices=4, **length))
    table, jobs = made.slices, made.jobs
    for name in ("n_showers", "n_events"):
        by_hand = np.zeros(len(table), np.int64)
        for row in jobs:
            by_hand[row["point"]] += row[name]
        assert by_hand.tolist() == table[name].tolist()
    assert table["n_runs"].sum() == len(jobs)
    for row in made.points:
        mine = table[table["point"] == row["point"]]
        for name in ("n_showers", "n_events", "n_runs"):
            assert row[name] == mine[name].sum()
        np.testing.assert_allclose(row["cpu_hours"].value, mine["cpu_hours"].value.sum(), rtol=1e-12)
    assert 0 < made.needed.slices[made.proposed.n_events > 0].min() < 0.1  # 400 events: 5 % each, less for the largest
    assert (made.points["uncertainty"] < made.needed.slices.max()).all()
    np.testing.assert_allclose(table["cpu_hours"].sum(), jobs["cpu_hours"].sum(), rtol=1e-12)
    assert (table["n_events"] == table["n_showers"] * table["n_use"]).all()
    assert (table["n_events"] >= table["n_events_required"]).all()
    assert sorted(jobs["run_number"]) == list(range(1, len(jobs) + 1))


def test_every_bin_gets_what_it_needs_on_the_disc_of_its_slice():
    radius = 300 + 150 * np.log(CENTRE / 0.04)
    cone = 3 + 4 * np.exp(-CENTRE)  # the cone narrows where the disc widens
    where = pointings(MANY, radius=radius, viewcone=cone)
    table = proposed(where).slices
    needed = where.needs[5]
    for row in table:
        low, high, gamma = row["energy_min"].value, row["energy_max"].value, row["spectral_index"]
        held = (EDGES[:-1] > low * 0.999) & (EDGES[1:] < high * 1.001)
        assert row["core_scatter_radius"].to_value(u.m) == radius[held].max()
        assert row["viewcone"].to_value(u.deg) == cone[held].max()
        share = integral(EDGES[:-1], EDGES[1:], gamma)[held] / integral(low, high, gamma)
        etendue = np.pi * radius[held].max() ** 2 * 2 * np.pi * (1 - np.cos(np.deg2rad(cone[held].max())))
        density = row["n_events_required"] * share / etendue
        sure, estimate = (
            x[row["point"]][held] / needed.etendue[row["point"]][held] for x in (needed.sure, needed.events)
        )
        assert (density <= sure * (1 + 1e-9)).any()  # no more than with the error shared by all bins
        assert (density > estimate).all()


def test_storage_counts_uses_and_events_that_pass():
    where = pointings(MANY)
    table, _ = slice_table(cheapest_slices(where.wanted(None), MODEL, slices=24), where, RunSettings(1000, cost=MODEL))
    thrown = (table["n_events"] / table["n_events_required"]).sum()  # whole runs throw a little more
    passed = thrown / TARGET**2 * (1 + 0.5 * (1000 / 800) ** 2)
    wanted = table["n_events"].sum() * 100 + passed * 20_000
    np.testing.assert_allclose(table["storage"].sum().to_value(u.byte), wanted, rtol=1e-9)


def test_plans_side_by_side():
    made = proposed(pointings(MANY))
    found = compare({"now": made.slices, "half": made.slices[: len(made.slices) // 2]})
    assert found["saving"][0] == 0
    share = made.slices["cpu_hours"][len(made.slices) // 2 :].sum() / made.slices["cpu_hours"].sum()
    np.testing.assert_allclose(found["saving"][1], share.value, rtol=1e-12)
    assert found["n_events"][0] == made.slices["n_events"].sum()
    with pytest.raises(ProdconfError, match="plans must hold"):
        compare({})


# --- what is proposed -------------------------------------------------------------------------------------------------
def test_a_proposal_lies_between_the_floor_and_today():
    where = pointings(MANY)
    made = proposed(where)
    usual, hours = made.hours
    assert made.floor_hours <= hours < usual
    assert made.needed.low < made.needed.value < made.needed.high
    assert made.needed.value < made.larger_pilot_hours < hours
    np.testing.assert_allclose(made.floor_hours, floor_seconds(where.wanted(), MODEL).sum() / 3600)


def test_several_uses_are_never_dearer_than_one_of_them():
    costs = [proposed(pointings(MANY, uses=uses)).proposed.seconds.sum() for uses in ((5,), (20,), (5, 20))]
    assert costs[2] <= min(costs[:2]) * (1 + 1e-9)


def test_pointings_without_a_known_bin_are_left_out():
    where = pointings(MANY)
    one = where.needs[5]
    mask = np.array([[False], [True]])
    emptied = replace(one, events=np.where(mask, one.events, 0.0), sure=np.where(mask, one.sure, 0.0))
    emptied = replace(emptied, held=one.held & mask)
    made = proposed(replace(where, needs={5: emptied}))
    assert set(made.slices["point"]) == {1}
    nothing = replace(emptied, events=0 * one.events)
    with pytest.raises(ProdconfError, match="needs must be known"):
        proposed(replace(where, needs={5: nothing}))


def test_energies_of_today_hold_the_targets_and_are_those_of_each_pointing():
    low, high = np.array([0.003, 0.2]), np.array([330.0, 10.0])
    made = proposed(pointings(MANY), energy_range=(low, high))
    usual = UsualProduction(pointings(MANY), (low, high)).at_all_energies()
    np.testing.assert_allclose(usual.ends[0], [0.003, EDGES[0]])
    np.testing.assert_allclose(usual.ends[1], [330.0, EDGES[-1]])
    names = ["all energies", "energies of the targets", "best index", "slices", "discs of their own"]
    assert made.comparison["name"].tolist() == names
    hours = made.comparison["cpu_hours"].value
    assert (np.diff(hours) <= 1e-3 * hours[-1]).all()  # the last one has whole runs
    assert made.comparison["saving"][1] == 0


# --- bands ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", [30, 300])
def test_the_band_covers_what_the_true_needs_cost(k):
    """Pilots are drawn again and again; the slices made from each are priced with the true needs."""
    rng, inside, total = np.random.default_rng(11), 0, 60
    base = pointings(np.full((1, 24), k), radius=1000.0)  # the pilots' own: their design effect is known here
    for _ in range(total):
        counts = np.maximum(rng.poisson(k, (1, 24)), 1)
        drawn = pointings(counts, true=k / counts, radius=1000.0)
        made = cheapest_slices(drawn.wanted(None), MODEL, slices=3)
        band = hours_band(made, drawn, n_replicas=60)
        truth = 0.0
        for s in np.flatnonzero(made.n_events[0] > 0):
            part = slice(made.first[0, s], made.last[0, s])
            share = integral(EDGES[:-1], EDGES[1:], made.index[0, s])[part]
            ratio = (base.needs[5].events[0][part] / share).max() / (drawn.needs[5].events[0][part] / share).max()
            truth += made.seconds[0, s] / 3600 * ratio
        inside += band.low <= truth <= band.high
    assert 0.5 <= inside / total <= 0.86


def test_a_band_shrinks_with_the_pilot_and_has_its_estimate_inside():
    widths = []
    for k in (20, 200, 2000):
        where = pointings(np.full((2, 24), k))
        band = hours_band(cheapest_slices(where.wanted(None), MODEL, slices=3), where)
        assert band.low < band.value < band.high
        widths.append(np.log(band.high / band.low))
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


# --- with a plan ------------------------------------------------------------------------------------------------------
def test_one_spectrum_is_the_plans_own_number_at_its_pilots(small_plan):
    """At a pilot's pointing, on the plan's disc and energies, the estimate is the number of events of the plan."""
    from prodconf.plan.configuration import PRODUCTION
    from prodconf.plan.main_job import limits_request
    from prodconf.plan.pointings import (
        places_of_pilots,
        plan_points,
        production_limits,
        production_ranges,
        target_bins,
    )
    from prodconf.plan.proposal import pointings_of
    from prodconf.precision.pilots import requirement

    plan, _ = small_plan
    places, request = places_of_pilots(plan.evaluations), limits_request(plan.configuration)
    determined = [replace(p, status=np.where(p.status == "undetermined", "ok", p.status)) for p in plan.evaluations]
    target = target_bins(determined, plan.pilots, places, how=Slicing(), request=request)
    ends = [production_limits(plan.limits, places)[0][f"{x}_energy_limit"].to_value(u.TeV) for x in ("lower", "upper")]
    needs = [requirement(p, energy_limit=a, energy_max=b) for p, a, b in zip(determined, *ends, strict=True)]
    rows, _ = plan_points(plan.limits, determined, needs, places, target=target)
    assert set(rows["array_name"]) == {PRODUCTION}
    ranges = production_ranges(rows)
    _, today = pointings_of(target, places, ranges)
    for i in range(len(rows)):
        one = Pointings(
            *(values[[i]] for values in (places.zenith, places.azimuth, places.nsb_level)),
            today.radius[[i]],
            today.viewcone[[i]],
            {n: replace(needs.at([i]), blind=np.zeros_like(needs.blind[[i]])) for n, needs in today.needs.items()},
        )
        ends = float(ranges["energy_min"][i]), float(ranges["energy_max"][i])
        found = spectrum(thrown_over(one.wanted(None), ends), MODEL, index=plan.configuration.spectral_index)
        np.testing.assert_allclose(found.n_events[0, 0], rows["n_events"][i], rtol=1e-5)


def test_a_plan_writes_the_slices_that_it_speaks_of(small_plan):
    from astropy.table import QTable

    plan, folder = small_plan
    written = QTable.read(folder / "allocation.ecsv")
    known = written[: len(plan.proposal.slices)]
    assert known["n_events"].tolist() == plan.proposal.slices["n_events"].tolist()
    assert len(written) == len(known) + len(plan.proposal.undetermined) > len(known)
    for row in written[len(known) :]:  # the slices of the others, and no number
        same = known[known["slice"] == row["slice"]][0]
        assert (row["spectral_index"], row["n_use"]) == (same["spectral_index"], same["n_use"])
        assert row["n_events"] is np.ma.masked or np.ma.is_masked(row["n_events"])
    assert any("There is no price for" in sentence for sentence in plan.summary)
    assert any("slices of energy" in sentence for sentence in plan.summary)
    assert "The cheapest way" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_plan_takes_its_costs_from_job_logs(small_sample, tmp_path):
    from prodconf.core.configuration import validate
    from prodconf.core.errors import ProdconfWarning
    from prodconf.jobs.logs import fit_cost, read_job_logs
    from prodconf.plan.configuration import PlanConfiguration, read_configuration
    from prodconf.plan.main_job import open_inputs

    rng, lines = np.random.default_rng(4), ["energy_min,energy_max,n_showers,n_use,cpu_time"]
    for low, high in ((0.01, 0.05), (0.05, 0.5), (0.5, 5.0), (5.0, 50.0)):
        for _ in range(6):
            moment = integral(low, high, 1.0) / integral(low, high, 2.0)
            time = 20_000 * (0.3 + 5 * (0.05 + 1.5 * moment)) * rng.normal(1, 0.03)
            lines.append(f"{low},{high},20000,5,{time}")
    (tmp_path / "jobs.csv").write_text("\n".join(lines), encoding="utf-8")
    configuration, folder = read_configuration(small_sample.configuration)
    logs = {"job_logs": str(tmp_path / "jobs.csv"), "bytes_per_trigger": "20 kB"}
    changed = configuration.model_copy(update={"cost": logs})
    with pytest.warns(ProdconfWarning, match="cost: jobs.csv"):  # one number of uses: showers and uses are not apart
        inputs = open_inputs(changed, folder)
    fit = fit_cost(read_job_logs(tmp_path / "jobs.csv")).model
    assert inputs.cost == replace(fit, bytes_per_trigger=20_000.0)
    assert tmp_path / "jobs.csv" in inputs.paths
    wrong = {"limits_table": "limits.ecsv", "cost": logs | {"seconds_per_event": "1 s"}}
    with pytest.raises(ProdconfError, match="job_logs gives the times"):
        validate(PlanConfiguration, wrong, source="plan")
