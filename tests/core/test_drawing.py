"""Figures of the studies: what stands on the axes, and SVG that is the same for the same figure."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import study_sample as shared
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.drawing import amount, log_axis, new_axes, to_svg
from prodconf.studies.grid import grid_study
from prodconf.studies.limits import limits_study
from prodconf.studies.settings import StudySettings
from prodconf.studies.statistics import statistics_study

STUDIES = (limits_study, statistics_study, grid_study)


@pytest.fixture(scope="session")
def pilots(tmp_path_factory):
    return shared.read_once(shared.sample_of(tmp_path_factory))


@settings(max_examples=100, deadline=None)
@given(st.floats(-9, 9), st.floats(0.1, 14))
def test_ticks_of_a_logarithmic_axis_are_right_and_not_too_many(low, decades):
    """Inside the ends, spelled as the numbers that they stand for; at most about ten of whole decades."""
    _, axes = new_axes()
    ends = 10**low, 10 ** (low + decades)
    log_axis(axes.yaxis, *ends)
    assert axes.get_yscale() == "log"
    assert axes.get_ylim() == pytest.approx(ends)
    ticks = axes.get_yticks()
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert len(ticks) == len(words) <= 10
    assert (np.diff(ticks) > 0).all()
    assert all(ends[0] * (1 - 1e-6) <= tick <= ends[1] * (1 + 1e-6) for tick in ticks)
    for tick, word in zip(ticks, words, strict=True):
        assert float(word) == pytest.approx(tick, rel=1e-6)
    assert decades < 1.0 or len(ticks)


def test_amounts():
    assert amount(np.nan) == amount(np.inf) == amount(np.inf, "GB") == "not determined"
    assert amount(0.0).startswith("0")
    assert amount(12.0, "GB").endswith(" GB")
    assert "10⁶" in amount(2.5e6)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_pictures_are_sound_named_and_always_the_same(pilots, study):
    one, other = (to_svg(answer.figure, answer.description) for answer in (study(pilots), study(pilots)))
    assert one == other
    root = ElementTree.fromstring(one)
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    assert root.get("aria-label") == study(pilots).description
    assert root.get("width") == "100%"
    assert root.get("viewBox")
    assert len(root.findall(".//{http://www.w3.org/2000/svg}text")) > 3  # text stays text
    assert len(one) < 400_000
    assert re.search(r"(href|src)=\"(?!#|data:)", one) is None  # nothing is fetched


def test_descriptions_stay_within_their_attribute():
    figure, _ = new_axes()
    words = '"><script>alert(1)</script> & \\1 \\g<0>'
    root = ElementTree.fromstring(to_svg(figure, words))
    assert root.get("aria-label") == words
    assert root.findall(".//{http://www.w3.org/2000/svg}script") == []


def test_the_figure_of_limits_shows_them(pilots):
    study = limits_study(pilots, StudySettings(loss_fraction=0.05))
    axes = study.figure.axes[0]
    labels = axes.get_legend_handles_labels()[1]
    for name, unit in (("energy", "TeV"), ("radius", "m"), ("viewcone", "deg")):
        assert any(f"{getattr(study.record, name).guaranteed:.4g} {unit}" in label for label in labels)
    thrown = study.record.point
    low, high = thrown.energy_range
    cut = study.record.energy.guaranteed
    wanted = {
        np.log(high / cut) / np.log(high / low),
        study.record.radius.guaranteed / thrown.core_scatter[1],
        study.record.viewcone.guaranteed / thrown.viewcone[1],
    }
    dashed = {float(line.get_xdata()[0]) for line in axes.lines if line.get_linestyle() == "--"}
    assert sorted(dashed) == pytest.approx(sorted(wanted))


def test_the_figure_of_statistics_shows_every_bin(pilots):
    study = statistics_study(pilots)
    axes = study.figure.axes[0]
    steps = np.concatenate([stairs.get_data().values for stairs in axes.patches if hasattr(stairs, "get_data")])
    heights = sorted(steps[np.isfinite(steps)])
    assert heights == pytest.approx(sorted(study.per_bin[np.isfinite(study.per_bin)]))
    lines = [float(line.get_ydata()[0]) for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert any(one == pytest.approx(study.n_events) for one in lines)


def test_no_figure_stays_open(pilots):
    """They are made without pyplot, which would keep every one of them."""
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    for study in STUDIES:
        to_svg(study(pilots).figure, "x")
    assert pyplot.get_fignums() == before
