"""The study of allocation against the plan's proposal, direct calls of the allocation, and scaling laws by hand."""

from dataclasses import replace

import numpy as np
import pytest
import study_sample as shared
from astropy import units as u

from prodconf.core.drawing import to_svg
from prodconf.core.errors import ProdconfError
from prodconf.jobs.cost import CostModel, read_cost_model
from prodconf.plan.configuration import Slicing
from prodconf.plan.main_job import limits_request, production_at
from prodconf.plan.pointings import places_of_pilots, places_of_table, production_ranges, target_bins
from prodconf.plan.proposal import UsualProduction, divide, pointings_of, propose
from prodconf.plan.slices import best_uncertainties, cheapest_slices, floor_seconds, scaled, spectrum
from prodconf.precision.shower_reuse import ThrownSlices, recommend_uses, shower_reuse
from prodconf.studies.allocation import allocation_study, needed_by
from prodconf.studies.pilots import evaluate
from prodconf.studies.settings import StudySettings, plan_anew
from prodconf.studies.statistics import statistics_study

COST = {"seconds_per_shower": "2 s", "seconds_per_tev": "30 s / TeV", "seconds_per_event": "0.5 s"}


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return shared.sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return shared.read_once(sample)


@pytest.fixture(scope="session")
def plain(pilots):
    return allocation_study(pilots)


def with_plan(pilots, **changes):
    """Return the pilots with another allocation in their plan, or another cost."""
    cost = changes.pop("cost", pilots.inputs.cost)
    entry = Slicing(**changes) if changes else None
    configuration = pilots.configuration.model_copy(update={"allocation": entry})
    return replace(pilots, inputs=replace(pilots.inputs, configuration=configuration, cost=cost), plans={})


# ---------------------------------------------------------------- the plan


def proposal_at(pilots, plan, evaluations, rows):
    """Propose a production at the rows of a plan, with slices of its own at each pointing."""
    how, request = Slicing(shared=False), limits_request(pilots.configuration)
    places = places_of_table(rows)
    target = target_bins(evaluations, plan.pilots, places, how=how, request=request)
    thrown, usual = pointings_of(target, places, production_ranges(rows), how=how)
    thrown = replace(thrown, n_effective=None)  # a study answers where a plan has no price
    return propose(thrown, pilots.inputs.cost, UsualProduction(usual, (0.003, 330)), how=how)


def test_without_a_question_the_answer_is_the_plans_proposal(pilots):
    """All pointings of the plan, which are those of the pilots, with the discs of all energies."""
    plan = plan_anew(pilots)
    made = proposal_at(pilots, plan, plan.evaluations, plan.production)
    thrown = made.pointings
    table = made.slices
    assert len(thrown.zenith) == len(pilots.event_names)
    for name in pilots.event_names[1:]:  # a bin of the first rests on .9 events: no price
        study, place = allocation_study(pilots, StudySettings(pilot=name)), evaluate(pilots, name)
        near = (abs(table["zenith"].value - place.zenith) < 0.1) & (abs(table["azimuth"].value - place.azimuth) < 0.1)
        rows = table[near]
        # alone a pilot keeps an end bin of odd width, so that other slices may be the cheapest by a hair
        hours = rows["cpu_hours"].to_value("h").sum()
        assert study.proposed.seconds.sum() / 3600 == pytest.approx(hours, rel=0.05)
        low, high = rows["energy_min"].to_value("TeV").min(), rows["energy_max"].to_value("TeV").max()
        assert np.nanmin(study.proposed.energy_min) == pytest.approx(low, rel=1e-12)
        assert np.nanmax(study.proposed.energy_max) == pytest.approx(high, rel=1e-12)
        np.testing.assert_allclose(study.settings.radius, rows["core_scatter_radius"].to_value("m").max(), rtol=1e-9)
        np.testing.assert_allclose(study.settings.viewcone, rows["viewcone"].to_value("deg").max(), rtol=1e-9)


def test_totals_and_band_are_those_of_a_proposal_at_the_pointing(pilots, plain):
    evaluation = evaluate(pilots)
    plan = plan_anew(pilots)
    rows = plan.production
    near = (abs(rows["zenith"].value - evaluation.zenith) < 0.1) & (abs(rows["azimuth"].value) < 0.1)
    made = proposal_at(pilots, plan, [evaluation], rows[near])
    assert plain.hours == pytest.approx(made.hours, rel=1e-3)
    assert plain.floor_hours == pytest.approx(made.floor_hours, rel=1e-9)
    for name in ("value", "low", "high"):
        assert getattr(plain.needed, name) == pytest.approx(getattr(made.needed, name), rel=1e-9)
    assert plain.settings.confidence == made.confidence == 0.95


@pytest.mark.parametrize("index", [None, "free", 1.3, 2.0])
@pytest.mark.parametrize("slices", [None, 1, 2, 5, 8])
def test_the_slices_are_those_of_a_direct_call(pilots, slices, index):
    """Divided anew for what its bins need in their slices, the study could not do better by more than a little."""
    study = allocation_study(pilots, StudySettings(pilot=pilots.event_names[3], slices=slices, index=index))
    gamma = None if index in (None, "free") else index
    model = pilots.inputs.cost
    other = cheapest_slices(study.wanted, model, slices=3 if slices is None else slices, index=gamma)
    hours = other.seconds.sum() / 3600
    assert hours <= study.hours[1] * (1 + 1e-6)
    assert study.hours[1] <= 1.05 * hours
    assert study.proposed.energy_min[0, 0] == other.energy_min[0, 0]
    if gamma is not None:
        assert (study.proposed.index[study.proposed.n_events > 0] == gamma).all()
    assert study.today.seconds.sum() == pytest.approx(spectrum(study.usual, model).seconds.sum(), rel=1e-9)
    assert study.floor_hours == pytest.approx(floor_seconds(study.wanted, model).sum() / 3600, rel=0.3)
    assert study.floor_hours <= study.hours[1] * (1 + 1e-9)
    assert study.settings.index == ("free" if gamma is None else gamma)
    assert study.settings.slices == (slices or 3)


@pytest.fixture(scope="module")
def pointing(pilots):
    """Return what the bins of the first pilot need, for a target and a number of uses."""

    def at(target, n_use):
        plan, one = plan_anew(pilots), evaluate(pilots, pilots.event_names[3], target=target)
        how, request = Slicing(slices=8, n_use=(n_use,)), limits_request(pilots.configuration)
        places = places_of_pilots([one], "nearest")
        bins = target_bins([one], plan.pilots, places, how=how, request=request)
        return pointings_of(bins, places, production_ranges(production_at(plan, places)), how=how)[0]

    return at


@pytest.mark.parametrize(
    ("index", "target", "n_use", "times"),
    [
        ("free", 0.05, 5, (2.0, 30.0, 0.5, 1e-3)),
        (2.0, 0.2, 1, (1e-3, 1e-3, 1e-3, 10.0)),
        (0.7, 0.02, 20, (500.0, 1e-3, 1e-3, 1e-3)),
        ("free", 0.1, 2, (1.0, 1.0, 1.0, 1.0)),
    ],
)
def test_more_slices_never_cost_more(pilots, pointing, index, target, n_use, times):
    """On discs that do not share their guarantee with more slices."""
    names = ("seconds_per_shower", "seconds_per_tev", "seconds_per_event", "seconds_per_event_tev")
    model, gamma = CostModel(**dict(zip(names, times, strict=True))), None if index == "free" else index

    def hours(slices, gamma):
        how = Slicing(slices=slices, spectral_index=gamma, shared=False)
        return float(divide(pointing(target, n_use), model, how)[1].seconds.sum())

    found = [hours(n, gamma) for n in (1, 2, 4, 8)]
    assert (np.diff(found) <= 0.05 * np.array(found[:-1])).all()  # what more slices promise depends on what they throw
    assert hours(2, None) <= found[1] * 1.05


# ---------------------------------------------------------------- the study of statistics


@pytest.mark.parametrize("name", [3])  # all its bins are determined
@pytest.mark.parametrize("n_use", [None, 1, 20])
def test_one_slice_with_the_index_of_the_pilot_is_the_study_of_statistics(pilots, name, n_use):
    """Without the promise, over the bins with a target."""
    pilot = pilots.event_names[name]
    study = allocation_study(pilots, StudySettings(pilot=pilot, slices=1, index=2.0, n_use=n_use, cost=COST))
    ends = float(study.estimate.energy_min[0, 0]), float(study.estimate.energy_max[0, 0])
    other = statistics_study(pilots, StudySettings(pilot=pilot, energy_range=ends, n_use=n_use, cost=COST))
    assert (study.settings.radius, study.settings.viewcone) == (other.settings.radius, other.settings.viewcone)
    assert study.estimate.n_events.sum() == pytest.approx(other.n_events, rel=1e-9)
    assert study.needed.value == pytest.approx(float(other.cost.cpu_hours), rel=1e-3)
    assert study.settings.n_use == other.settings.n_use


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize("share", [1.0, 0.25, 4.0, 1e-3])
def test_a_budget_scales_all_uncertainties(pilots, plain, share):
    """N ∝ hours and δ ∝ N^-1/2: the bins that decide stand at the factor, the others below."""
    hours = share * plain.hours[1]
    study = allocation_study(pilots, StudySettings(budget=hours))
    factor = share**-0.5
    assert study.factors[1] == pytest.approx(factor, rel=1e-9)
    assert study.factors[0] == pytest.approx((hours / plain.hours[0]) ** -0.5, rel=1e-9)
    assert study.hours == plain.hours
    assert study.floor_hours == plain.floor_hours  # whatever is spent
    for one, other in ((study.proposed, plain.proposed), (study.today, plain.today)):
        assert one.seconds.sum() / 3600 == pytest.approx(hours, rel=1e-9)
        np.testing.assert_allclose(one.n_events, scaled(other, hours)[0].n_events)
    ratio = study.ratio(study.proposed)
    decides = study.proposed.deciding_bin[0][study.proposed.n_events[0] > 0]
    np.testing.assert_allclose(ratio[decides], factor, rtol=1e-6)
    assert np.nanmax(ratio) == pytest.approx(factor, rel=1e-6)
    np.testing.assert_array_equal(np.isfinite(ratio), study.wanted.asked[0])
    assert np.nanmax(study.ratio(study.today)) == pytest.approx(study.factors[0], rel=1e-6)
    best = best_uncertainties(study.wanted, pilots.inputs.cost, hours)[1][0]
    np.testing.assert_allclose(study.best, best)
    assert np.nanmean(best**2) <= np.nanmean(ratio**2) * (1 + 1e-6)


def test_a_target_scales_like_a_budget(pilots):
    """Where the effective area alone is asked for, half the uncertainty takes four times the hours (estimate)."""
    metrics = pilots.inputs.metrics.model_copy(update={"energy_estimate": None})
    own = replace(pilots, inputs=replace(pilots.inputs, metrics=metrics), plans={})
    one, other = (allocation_study(own, StudySettings(target=target, slices=1, index=2.0)) for target in (0.1, 0.05))
    assert other.needed.value == pytest.approx(4 * one.needed.value, rel=1e-9)
    assert (one.settings.target, other.settings.target) == (0.1, 0.05)


def test_every_bin_gets_what_it_needs(plain):
    for one, wanted in ((plain.today, plain.usual), (plain.proposed, plain.wanted)):
        needed = needed_by(one, wanted)
        assert (one.events_per_bin(plain.edges)[0] >= needed * (1 - 1e-6)).all()
        np.testing.assert_array_equal(needed > 0, plain.wanted.asked[0])


# ---------------------------------------------------------------- what the plan says, and what is asked


def test_the_plans_allocation_is_the_default(pilots):
    own = with_plan(pilots, slices=2, spectral_index=1.8, n_use=(2, 10))
    study = allocation_study(own)
    assert (study.settings.slices, study.settings.index) == (2, 1.8)
    assert set(study.wanted.events) == {2, 10}
    assert allocation_study(own, StudySettings(n_use=3)).settings.n_use == 3
    assert allocation_study(own, StudySettings(index="free")).hours[1] < study.hours[1]
    assert allocation_study(own, StudySettings(slices=4)).settings.slices == 4


def test_indices_of_another_number_of_slices_are_free(pilots):
    own = with_plan(pilots, slices=2, spectral_index=(1.5, None))
    assert allocation_study(own).settings.index == (1.5, None)
    study = allocation_study(own, StudySettings(slices=3))
    assert study.settings.index == "free"
    assert "here they are free" in " ".join(study.sentences)


def test_cost(pilots, plain):
    own = with_plan(pilots, cost=None)
    with pytest.raises(ProdconfError, match="cost must be given, in the plan or with the question"):
        allocation_study(own)
    model = read_cost_model(COST)
    assert (
        allocation_study(own, StudySettings(cost=COST)).table == allocation_study(own, StudySettings(cost=model)).table
    )
    assert read_cost_model(allocation_study(own, StudySettings(cost=COST)).settings.cost) == model
    double = CostModel(**{name: 2 * getattr(model, name) for name in ("seconds_per_shower", "seconds_per_tev")})
    half = CostModel(**{name: getattr(model, name) for name in ("seconds_per_shower", "seconds_per_tev")})
    assert allocation_study(own, StudySettings(cost=double)).hours[1] == pytest.approx(
        2 * allocation_study(own, StudySettings(cost=half)).hours[1]
    )
    assert read_cost_model(plain.settings.cost) == pilots.inputs.cost


def test_limits_are_those_that_are_asked_for(pilots):
    asked = {"loss_fraction": 0.05, "confidence": 0.68, "sub_array": "large telescopes", "multiplicity": 3}
    study, other = allocation_study(pilots, StudySettings(**asked)), statistics_study(pilots, StudySettings(**asked))
    assert (study.settings.radius, study.settings.viewcone) == (other.settings.radius, other.settings.viewcone)
    assert study.settings.confidence == 0.68
    assert study.hours[1] < allocation_study(pilots).hours[1]


def test_quantities_are_taken(pilots):
    assert (
        allocation_study(pilots, StudySettings(budget=10 * u.h)).table
        == allocation_study(pilots, StudySettings(budget=10.0)).table
    )
    assert allocation_study(pilots, StudySettings(budget=36000 * u.s)).settings.budget == pytest.approx(10)


# ---------------------------------------------------------------- what is shown


@pytest.mark.parametrize("budget", [None, 10.0])
def test_table_sentences_and_figure(pilots, budget):
    study = allocation_study(pilots, StudySettings(budget=budget))
    widths = {len(row) for row in study.table}
    assert widths == {7 if budget is None else 8}
    assert [row[0] for row in study.table[-3:]] == ["all slices", "one spectrum", "the least"]
    assert len(study.table) == 1 + (study.proposed.n_events > 0).sum() + 3
    words = " ".join(study.sentences)
    assert ("saving of" in words) == (budget is None)
    assert ("multiply every uncertainty" in words) == (budget is not None)
    assert "Each slice has the disc and the cone of its own energies" in words
    assert "nan" not in words + str(study.table)
    picture = to_svg(study.figure, study.description)
    for name in ("one spectrum", "slices", "needed" if budget is None else "the least in the mean square"):
        assert name in picture


def test_the_best_number_of_uses_is_that_of_the_advisor(pilots, plain):
    """Slice by slice, on the disc of the study, with the reason among the sentences."""
    file, there = pilots.inputs.files[0][0], np.flatnonzero(plain.proposed.n_events[0] > 0)
    assert len(plain.advice) == there.size
    for s, found in zip(there, plain.advice, strict=True):
        ends = np.array([plain.proposed.energy_min[0, s], plain.proposed.energy_max[0, s]])
        known = file.energy_edges[np.abs(np.log(file.energy_edges)[:, None] - np.log(ends)).argmin(axis=0)]
        thrown = ThrownSlices(known, plain.proposed.index[0, s], plain.settings.radius)
        assert found == recommend_uses(shower_reuse(file), pilots.inputs.cost, thrown)
        assert found.reason in plain.sentences


def test_slices_that_cost_more_than_one_spectrum_are_said_to(pilots):
    assert "times as much" in allocation_study(pilots, StudySettings(slices=1, index=10.0)).sentences[0]


BAD = (
    [("slices", value) for value in (0, 9, 1.5, "3", -1, np.nan, np.inf, True, [3], 10**30)]
    + [("index", value) for value in (-1, np.nan, np.inf, 11, "2", "steep", True, [2.0], "")]
    + [("budget", value) for value in (0, -1, np.inf, np.nan, 1e-300, 1e300, "10", True, 5 * u.m, [1.0])]
    + [("n_use", value) for value in (0, -1, 1.5, "2", np.nan)]
    + [("target", value) for value in (0, -1, np.nan, "0.1", 2.0)]
    + [("cost", value) for value in ({}, "1 s", {"seconds": "1 s"}, {"bytes_per_event": "1 kB"}, 5)]
    + [("confidence", 1.5), ("loss_fraction", 1.0), ("multiplicity", 99), ("pilot", "none"), ("sub_array", "none")]
)


@pytest.mark.parametrize(("name", "value"), BAD, ids=str)
def test_bad_input_is_one_clear_sentence(pilots, name, value):
    with pytest.raises(ProdconfError, match=name) as caught:
        allocation_study(pilots, StudySettings(**{name: value}))
    assert "\n" not in str(caught.value)


def test_a_pilot_that_knows_no_bin_of_the_target_is_named(pilots):
    evaluation, metrics = evaluate(pilots), pilots.inputs.metrics
    bins = np.flatnonzero(evaluation.n_passed == 0)
    low, high = evaluation.energy_edges[bins[0] : bins[0] + 2] * [0.999, 1.001]
    beyond = metrics.uncertainty_effective_area.model_copy(update={"energy_min": low, "energy_max": high})
    only = metrics.model_copy(update={"uncertainty_effective_area": beyond, "energy_estimate": None})
    own = replace(pilots, inputs=replace(pilots.inputs, metrics=only, cost=None), plans={})
    with pytest.raises(ProdconfError, match="target must be known in one energy bin at least"):
        allocation_study(own, StudySettings(cost=COST))
