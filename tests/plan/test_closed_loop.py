"""The judge that knows the truth passes the plan, and finds each of six faults built into it, with its reason."""

from dataclasses import replace

import numpy as np
import pytest

from prodconf.core.errors import ProdconfError
from prodconf.plan import closed_loop, pointings, proposal
from prodconf.plan.closed_loop import Judged, Loop, LoopVerdict, draw_loop, run_loop
from prodconf.plan.configuration import Slicing
from prodconf.precision import area, pilots

LOOP = Loop(how=Slicing(slices=2, spectral_index=1.5))


@pytest.fixture(scope="module", params=[6, pytest.param(60, marks=pytest.mark.long)])
def drawn(request):
    """Pilots of some toys, the same for the plan and all mutants."""
    rng = np.random.default_rng(1)
    return [draw_loop(LOOP, rng) for _ in range(request.param)]


def no_design_effect(patch):
    patch.setattr(area, "_design_effect", lambda *args, **kwargs: np.ones_like(design(*args, **kwargs)))


def fewer_events(patch):
    patch.setattr(proposal, "wanted_in", lambda *args, **how: _times(wanted(*args, **how), 0.8))


def fewer_for_energy(patch):
    def less(*args):
        required, variance = bias(*args)
        return 0.7 * required, variance

    patch.setattr(pilots, "required_events_bias", less)


def smaller_disc(patch):
    def smaller(*args, **how):
        found = along(*args, **how)
        return replace(found, radius=0.8 * found.radius)

    patch.setattr(pointings, "limits_along_energy", smaller)


def equal_energies(patch):
    """Interpolate needs at equal energies, read 20 % too high, without a word of it in their doubt."""
    logs = np.log(LOOP.edges[1:] * LOOP.edges[:-1]) / 2

    def shifted(bins):
        read = [np.interp(logs + np.log(1.2), logs, row) for row in np.log(bins.per_area)]
        others = tuple(shifted(one) for one in bins.others)
        return replace(bins, threshold=None, per_area=np.exp(read), between=0.0, others=others)

    def misread(bins, *args, **how):
        return needs_at(shifted(bins), *args, **how)

    patch.setattr(proposal, "needs_at", misread)


def loss_ignored(patch):
    def careless(*args, request, **how):
        return along(*args, request=replace(request, loss_fraction=0.2), **how)

    patch.setattr(pointings, "limits_along_energy", careless)


design, wanted, bias = area._design_effect, proposal.wanted_in, pilots.required_events_bias
along, needs_at = pointings.limits_along_energy, proposal.needs_at


def _times(found, factor):
    return replace(found, events={n: factor * events for n, events in found.events.items()})


def test_the_plan_passes(drawn):
    found = run_loop(LOOP, drawn)
    assert found.holds, found.sentences
    words = found.sentences
    assert words[0].startswith(("Not refuted by", "Shown"))


@pytest.mark.parametrize(
    ("mutant", "word"),
    [
        (no_design_effect, "effective area"),
        (fewer_events, "target on"),
        (fewer_for_energy, "energy bias"),
        (equal_energies, "target on"),
        (smaller_disc, "disc may lose"),
        (loss_ignored, "may lose"),
    ],
)
def test_a_mutant_is_refuted_with_its_reason(drawn, monkeypatch, mutant, word):
    mutant(monkeypatch)
    found = run_loop(LOOP, drawn)
    assert not found.holds
    assert any(word in reason for reason in found.reasons), found.reasons


def test_needs_of_the_energy_target_hold_at_the_low_end_of_its_range_far_from_the_pilots():
    """Over its threshold a bin at 52 deg is read from bins of the pilots where only the other target is asked for."""
    model = replace(LOOP.model, toy=replace(LOOP.model.toy, break_energy=0.15))
    far = replace(LOOP, model=model, pointings=(20.0, 32.0, 52.0))
    rng = np.random.default_rng(1)
    found = run_loop(far, [draw_loop(far, rng) for _ in range(6)])
    assert found.holds, found.sentences


@pytest.mark.parametrize(("kept", "word"), [(5, "Not refuted by 5"), (100, "Shown"), (50, "Refuted")])
def test_verdict_says_what_the_number_of_plans_supports(kept, word):
    """Five of five is not kept (Clopper-Pearson: at least 48 % in a two-sided 95 % interval); 100 of 100 is."""
    ratio = np.full((100 if kept == 50 else kept, 1, 1), 0.9)
    fails = ratio.copy()
    fails[kept:] = 1.1
    pull = np.where(np.arange(ratio.size) % 2, 0.9, -0.9)[:, None, None]
    found = LoopVerdict(Judged(fails, ratio, ratio, ratio, pull), 0.95)
    assert found.sentences[0].startswith(word)
    if kept == 5:
        assert found.interval("area")[2] == pytest.approx(0.025 ** (1 / 5))
    assert found.holds == (kept != 50)


def test_a_bin_that_is_not_thrown_keeps_nothing():
    missing = np.array([[[0.5, np.inf, np.nan]]])
    found = LoopVerdict(Judged(missing, missing, missing, missing, np.full((1, 1, 3), np.nan)), 0.95)
    assert not found.kept["area"].any()


@pytest.mark.parametrize("value", [0, 1.5, "3", 10**6])
def test_arguments_are_checked(value):
    with pytest.raises(ProdconfError, match="n_toys"):
        closed_loop.validate_loop(n_toys=value)
