"""The sample production, read back by readers that know nothing of the models."""

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from prodconf.core.errors import ProdconfError
from prodconf.events.dl2 import DL2File
from prodconf.events.reduced import iterate
from prodconf.precision.targets import read_metrics
from prodconf.sky.shower_frame import angular_distance
from prodconf.toys.models import TELESCOPES, Throw, ToyModel
from prodconf.toys.sample import (
    SIZES,
    SampleSize,
    energy_bins,
    sample_metrics,
    sample_models,
    truth_areas,
    truth_limits,
    write_pilot,
    write_sample,
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("toy") / "pilots", size="small", seed=11)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A million uses of the closed-form model, thrown where it triggers often."""
    model = ToyModel(Throw(core_scatter_max=600, viewcone_max=6), correlation=0.2)
    stem = tmp_path_factory.mktemp("toy") / "point"
    size = SampleSize((0.0,), (0.24,), n_runs=4, n_showers=50_000, n_uses=5)
    return model, write_pilot(stem, model, seed=np.random.SeedSequence(3), size=size)


def _chunks(path):
    chunks = list(iterate(path, chunk=50_000))
    names = ("energy", "core_distance", "angular_distance", "shower_key", "masks", "file_id")
    return chunks, {name: np.concatenate([getattr(c, name) for c in chunks]) for name in names}


def test_everything_is_there_and_read(sample):
    assert len(sample.reduced_events) == len(sample.dl2_events) == len(sample_models(size="small")) == 3
    assert read_metrics(sample.metrics) == sample_metrics()
    uses = SIZES["small"].n_runs * SIZES["small"].n_showers * SIZES["small"].n_uses
    for model, reduced, dl2 in zip(sample_models(size="small"), sample.reduced_events, sample.dl2_events, strict=True):
        chunks, events = _chunks(reduced)
        listed = DL2File(dl2)
        assert sum(c.n_showers for c in chunks) == listed.n_simulated.sum() == uses
        assert len(events["energy"]) == listed.n_events > 50
        assert (listed.zenith, listed.azimuth) == pytest.approx((model.throw.zenith, model.throw.azimuth), abs=1e-4)
        assert listed.warnings == []
        assert listed.n_runs_present == listed.n_runs_total == SIZES["small"].n_runs


def test_both_files_hold_the_same_events(sample):
    for reduced, dl2 in zip(sample.reduced_events, sample.dl2_events, strict=True):
        _, events = _chunks(reduced)
        chunks = list(DL2File(dl2).chunks())
        energy = np.concatenate([c.energy_true for c in chunks])
        offset = np.concatenate([c.offset for c in chunks])
        one, two = np.lexsort((events["angular_distance"], events["energy"])), np.lexsort((offset, energy))
        np.testing.assert_allclose(events["energy"][one], energy[two], rtol=2e-7)
        np.testing.assert_allclose(events["angular_distance"][one], offset[two], atol=2e-6)


def test_thrown_cores_fill_the_disc_of_the_shower_plane(sample):
    for model, reduced in zip(sample_models(size="small"), sample.reduced_events, strict=True):
        with h5py.File(reduced) as file:
            rows = file["SHOWERS"][:]
            assert file.attrs["simtools_write_status"] == "complete"
        az, alt = np.radians(rows["shower_azimuth"]), np.radians(rows["shower_altitude"])
        x, y = rows["x_core"], rows["y_core"]
        axis = x * np.cos(alt) * np.cos(az) - y * np.cos(alt) * np.sin(az)
        r = np.sqrt(x * x + y * y - axis * axis)
        assert r.max() == pytest.approx(model.throw.core_scatter_max, rel=1e-4)
        pointing = np.radians([model.throw.azimuth, 90 - model.throw.zenith])
        assert np.degrees(angular_distance(az, alt, *pointing)).max() == pytest.approx(
            model.throw.viewcone_max, rel=1e-3
        )
        assert rows["simulated_energy"].min() >= model.throw.energy_min
        np.testing.assert_array_equal(rows["event_id"] // 100, rows["shower_id"])


def test_masks_are_stereo(sample):
    for reduced in sample.reduced_events:
        chunks, events = _chunks(reduced)
        assert set(chunks[0].telescopes) <= set(TELESCOPES)
        assert (np.bitwise_count(events["masks"]).sum(axis=1) >= 2).all()
        multiplicity = np.sort(np.bitwise_count(events["masks"]).sum(axis=1))
        with fits.open(str(reduced).replace(".reduced.hdf5", ".dl2.fits")) as hdus:
            np.testing.assert_array_equal(np.sort(hdus["EVENTS"].data["MULTIP"]), multiplicity)


def test_triggers_scatter_around_the_truth(sample):
    """Counts per point and above/below a TeV, within four standard deviations of re-used showers."""
    truth = QTable.read(sample.truth, format="ascii.ecsv")
    for index, (reduced, dl2) in enumerate(zip(sample.reduced_events, sample.dl2_events, strict=True)):
        point, n_simulated = truth[truth["production_index"] == index], DL2File(dl2).n_simulated
        _, events = _chunks(reduced)
        first, passes = np.unique(events["shower_key"], return_index=True, return_counts=True)[1:]
        high = events["energy"][first] > 1
        for part, bins in ((high, point["energy_low"].value > 0.99), (~high, point["energy_low"].value < 0.99)):
            expected = (n_simulated * point["efficiency"])[bins].sum()
            error = np.sqrt(max((passes[part] ** 2).sum(), expected))
            assert passes[part].sum() == pytest.approx(expected, abs=4 * error)


def test_effective_area_and_limits_of_the_closed_form(toy):
    """chi2 of the area below 2 per bin; loss beyond each true limit within four standard deviations."""
    model, (reduced, dl2) = toy
    _, events = _chunks(reduced)
    listed = DL2File(dl2)
    energy = np.concatenate([c.energy_true for c in listed.chunks()])
    passed = np.histogram(energy, listed.energy_edges)[0]
    p = model.efficiencies(listed.energy_edges)
    expected = listed.n_simulated * p
    used = expected > 10
    variance = (expected * model.design_effect(p, n_uses=5, analytic=True))[used]
    assert used.sum() > 15  # bins of 0.2 dex
    assert ((passed - expected)[used] ** 2 / variance).sum() / used.sum() < 2
    n, passes = energy.size, np.unique(events["shower_key"], return_counts=True)[1]
    d = (passes**2).sum() / n
    mean_square = (listed.n_simulated * p**2).sum() / (listed.n_simulated * p).sum()
    assert d == pytest.approx(1 + 4 * mean_square * (1 + model.relative_variance()), rel=0.04)
    limits = model.limits(1e-2)
    assert n > 5000
    for tail, inflation in (
        (events["energy"] < limits.lower_energy, d),
        (events["core_distance"] > limits.upper_radius, 1),
        (events["angular_distance"] > limits.viewcone, d),
    ):
        assert tail.sum() == pytest.approx(1e-2 * n, abs=4 * np.sqrt(inflation * 1e-2 * n))


def test_reconstruction_in_the_files(toy):
    _, (_, dl2) = toy
    chunks = list(DL2File(dl2).chunks())
    true, reco = (np.concatenate([getattr(c, f"energy_{name}") for c in chunks]) for name in ("true", "reco"))
    error = np.degrees(np.concatenate([c.direction_error for c in chunks]))
    select = (true > 0.025) & (true < 0.036)
    low, high = np.quantile(np.log(reco[select] / true[select]), [0.16, 0.84])
    assert (high - low) / 2 == pytest.approx(0.25, abs=0.03)
    sigma = np.hypot(0.025, 0.03 * true**-0.4)
    assert np.quantile(error / sigma, 0.68) == pytest.approx(1.51, abs=0.06)


def test_energy_bins_are_fifths_of_a_decade():
    for low, high in ((0.003, 330.0), (0.01, 100.0), (0.012, 330.0)):
        edges = energy_bins(Throw(energy_min=low, energy_max=high))
        assert (edges[0], edges[-1]) == (low, high)
        width = np.diff(np.log10(edges))
        assert (width > 0).all()
        np.testing.assert_allclose(width[1:-1], 0.2, atol=1e-9)


def test_truth_of_the_anchor():
    row = truth_limits([ToyModel()], (1e-3,))[0]
    assert row["lower_energy_limit"].to_value("TeV") == pytest.approx(0.0030569973, abs=5e-11)
    assert row["upper_radius_limit"].to_value("m") == pytest.approx(903.06, abs=0.005)
    assert row["viewcone_radius"].to_value("deg") == pytest.approx(7.5388, abs=5e-5)
    areas = truth_areas([ToyModel()], target=0.1)
    p = areas["efficiency"]
    np.testing.assert_allclose(areas["required_events"], (1 - p) / p * 100)
    np.testing.assert_allclose(areas["effective_area"].to_value("m2"), p * np.pi * 1e6)


def test_same_seed_same_arrays(sample, tmp_path):
    """The last point made alone, from its own child of the seed, is the one in the sample; another seed is not."""
    model, size = sample_models(size="small")[-1], SIZES["small"]
    for seed, same in ((11, True), (12, False)):
        child = np.random.SeedSequence(seed).spawn(3)[-1]
        reduced, dl2 = write_pilot(tmp_path / f"{seed}", model, seed=child, size=size, first_run=2001)
        with h5py.File(sample.reduced_events[-1]) as a, h5py.File(reduced) as b:
            for name in ("SHOWERS", "TRIGGERS"):
                assert (a[name][:].tobytes() == b[name][:].tobytes()) is same
        with fits.open(sample.dl2_events[-1]) as a, fits.open(dl2) as b:
            for name in ("EVENTS", "SIMULATED EVENTS"):
                assert (a[name].data.tobytes() == b[name].data.tobytes()) is same


def test_what_exists_is_kept(sample):
    before = {path.name: path.stat().st_mtime_ns for path in sample.folder.iterdir()}
    with pytest.raises(ProdconfError, match="not empty"):
        write_sample(sample.folder, size="small")
    assert {path.name: path.stat().st_mtime_ns for path in sample.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"size": "huge"}, "size"), ({"kind": "real"}, "kind"), ({"seed": -1}, "seed"), ({"seed": True}, "seed")],
)
def test_unknown_choices_leave_nothing(tmp_path, choice, message):
    with pytest.raises(ProdconfError, match=message):
        write_sample(tmp_path / "sample", **choice)
    assert list(tmp_path.iterdir()) == []


def test_a_point_without_triggers_is_refused(tmp_path):
    model = ToyModel(efficiency=1e-9)
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=10, n_uses=1)
    with pytest.raises(ProdconfError):
        write_pilot(tmp_path / "void", model, seed=np.random.SeedSequence(1), size=size)
