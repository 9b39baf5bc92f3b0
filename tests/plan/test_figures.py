"""Figures of a plan: labels that can be read, and axes that show what is drawn."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from prodconf.events.groups import PilotPoint
from prodconf.formulas.loss_tails import TailSummary, tail_limit
from prodconf.limits.pilots import PilotLimits
from prodconf.plan.figures import plot_required, plot_tails


def pilot(energy_min: float, width: float) -> PilotLimits:
    """A pilot whose outermost energies span a factor; its other tails are plain."""
    rng = np.random.default_rng(1)
    values = {
        "energy": energy_min * width ** rng.random(5000),
        "radius": 300 * np.sqrt(rng.exponential(1.0, 5000)),
        "viewcone": 2 * np.sqrt(rng.exponential(1.0, 5000)),
    }
    sides = {"energy": "lower", "radius": "upper", "viewcone": "upper"}
    tails = {name: TailSummary.from_values(one, sides[name], capacity=5000) for name, one in values.items()}
    limits = {name: tail_limit(tail, 0.01) for name, tail in tails.items()}
    return PilotLimits(PilotPoint(20.0, 0.0), "alpha", *limits.values(), tails, 5000, 50_000)


@pytest.mark.parametrize("width", [1.02, 1.3, 3.0, 8.0, 15.0, 60.0, 3000.0])
@pytest.mark.parametrize("energy_min", [0.00613, 0.0211, 1.9])
def test_energy_labels_do_not_overlap(width: float, energy_min: float) -> None:
    figure = plot_tails([pilot(energy_min, width)], 0.01)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    low, high = ax.get_xlim()
    at = [*ax.get_xticks(), *ax.get_xticks(minor=True)]
    words = [*ax.get_xticklabels(), *ax.get_xticklabels(minor=True)]
    shown = [word for x, word in zip(at, words, strict=True) if low <= x <= high and word.get_text()]
    boxes = sorted((word.get_window_extent() for word in shown), key=lambda box: box.x0)
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_axis_of_required_events_runs_over_the_bins_that_are_held() -> None:
    edges = np.logspace(-3, 3, 31)
    held = (edges[:-1] > 0.99) & (edges[1:] < 101)
    number = np.where(held, 1e6 * edges[:-1], 1e9)
    last = int(np.flatnonzero(held)[-1])
    one = SimpleNamespace(energy_edges=edges, zenith=20.0, azimuth=0.0, nsb_level=None)
    need = SimpleNamespace(held=held, deciding_bin=last, deciding_range=edges[[last, last + 1]], undetermined=())
    low, high = plot_required([one], [need], [number]).axes[0].get_xlim()
    assert 0.5 < low < 1.01
    assert 99 < high < 200


def test_required_events_with_no_held_bin_are_an_empty_picture() -> None:
    edges = np.logspace(-1, 1, 11)
    one = SimpleNamespace(energy_edges=edges, zenith=20.0, azimuth=0.0, nsb_level=0.24)
    need = SimpleNamespace(held=np.zeros(10, bool), deciding_bin=None, deciding_range=(np.nan,) * 2, undetermined=())
    assert plot_required([one], [need], [np.full(10, np.nan)]).axes[0].get_legend() is not None
