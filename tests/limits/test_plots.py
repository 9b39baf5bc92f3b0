"""Figures of records: which there are, what they are called, and what they show."""

from dataclasses import replace

import numpy as np
import pytest

from prodconf.core.errors import ProdconfError
from prodconf.events.sub_arrays import SubArray
from prodconf.limits.figures import FIGURE_NAMES, figure_stems, pilot_figures, write_limit_plots
from prodconf.limits.pilots import LimitRequest
from prodconf.limits.production import derive_limits
from prodconf.toys.sample import SampleSize, sample_models, write_pilot

ARRAYS = [SubArray("all"), SubArray("4 LSTs / north", ("LSTN-01", "LSTN-02", "LSTN-03", "LSTN-04"), 2)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A pilot with some hundred triggers."""
    stem, size = tmp_path_factory.mktemp("pilot") / "p", SampleSize((0.0,), (0.24,), 1, 50_000, 5)
    return write_pilot(stem, sample_models(size="small")[0], seed=np.random.SeedSequence(1), size=size)[0]


@pytest.fixture(scope="module")
def pilots(file):
    """Limits of two sub-arrays."""
    return derive_limits([file], ARRAYS, LimitRequest(0.05, slices=(0.001, 0.1, 10.0), histograms=True)).pilots


def test_records_hold_their_triggers_in_bins(pilots):
    for pilot in pilots:
        found = pilot.histograms
        assert found.n_events == found.energy.sum() == found.radius_energy.sum() == pilot.n_triggered
        assert found.radius_edges.tolist() == np.linspace(0, found.radius_edges[-1], 101).tolist()


def test_what_is_not_known_is_not_drawn(pilots):
    survivals = ["survival_energy", "survival_core_distance", "survival_view_cone"]
    curves = ("curve_core_distance", "curve_view_cone")
    assert tuple(pilot_figures(pilots[0])) == (*FIGURE_NAMES, *curves)
    tails_only = replace(pilots[0], histograms=None)
    assert tuple(pilot_figures(tails_only)) == (*survivals, *curves)
    assert list(pilot_figures(replace(tails_only, curves=None, radius=None))) == [survivals[0], survivals[2]]


def test_names_are_different_and_fit_for_files(pilots):
    dark = replace(pilots[0].point, nsb_level=None, nsb_label="dark / moon", particle_id=None, layout="a:b")
    records = [*pilots, *pilots, replace(pilots[0], point=dark), replace(pilots[0], sub_array="../x")]
    stems = figure_stems(records, primary="proton")
    assert stems[:2] == ["gamma_za20_az0_nsb0.24_all", "gamma_za20_az0_nsb0.24_4-LSTs-north"]
    assert stems[4] == "proton_za20_az0_nsbdark-moon_a-b_all"
    assert len(set(stems)) == len(stems)
    assert not any(set(stem) & set("/\\: ") for stem in stems)


def test_a_folder_is_whole_or_absent(pilots, tmp_path):
    unknown = pilots[0].histograms.empty()
    unknown.no_positions = "no positions"
    with pytest.raises(ProdconfError, match="no positions"):
        write_limit_plots([replace(pilots[0], histograms=unknown)], tmp_path / "plots")
    assert not list(tmp_path.iterdir())
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "mine.txt").touch()
    with pytest.raises(ProdconfError, match="is not empty"):
        write_limit_plots(pilots[:1], tmp_path / "plots")
    with pytest.raises(ProdconfError, match="at least one sub-array"):
        write_limit_plots([], tmp_path / "other")
