"""Limits of pilots against all events of their files, the closed form of the toy, and many small toys."""

import dataclasses
import itertools
import math
import pickle
import subprocess
import sys
from functools import reduce
from operator import add
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from prodconf.core.errors import ArgumentError, FileError, ProdconfError, ProdconfWarning
from prodconf.events.groups import PilotGroup, PilotPoint, group_files
from prodconf.events.reduced import EventChunk, FileInfo, ReducedEventWriter
from prodconf.events.sub_arrays import SubArray, read_sub_arrays
from prodconf.formulas.loss_tails import CapacityError, TailSummary, Verdict, tail_limit
from prodconf.limits import pilots as module
from prodconf.limits.pilots import FileSummary, LimitRequest, PilotLimits, limits_of, pilot_limits, summarise_files
from prodconf.limits.tails import QUANTITIES, EventTails
from prodconf.toys.models import Throw, ToyModel, simulate, union_loss

TELESCOPES = ("LSTN-01", "LSTN-02", "MSTN-01", "MSTN-02", "MSTN-03")
EVERYTHING = [SubArray("all")]
POINT = FileInfo("run1", 0, 1, 1, -2.0, 0.006, 3.0, 0.0, 7.0, 0.0, 800.0, 20.0, 30.0, 0.24)

# Steep at the threshold (slope 4) and thrown beyond every scale, so that a loss of 1 % is inside the thrown ranges.
THROW = Throw(energy_min=0.006, energy_max=3.0, core_scatter_max=800.0, viewcone_max=7.0, azimuth=30.0)
MODEL = ToyModel(THROW, slope=4.0, correlation=0.2)


def write_events(path: Path, infos: list[FileInfo], *, seed: int, n_showers: int = 5, n_uses: int = 1, model=MODEL):
    """Write a file of the toy; each trigger has random telescopes."""
    rng = np.random.default_rng(seed)
    with ReducedEventWriter(path, telescopes=TELESCOPES) as writer:
        for info in infos:
            writer.add_file(info)
            for uses in simulate(model, rng=rng, n_showers=n_showers, n_uses=n_uses):
                writer.add_showers(
                    file_id=info.file_id,
                    shower_id=uses.shower_id,
                    event_id=uses.event_id,
                    energy=uses.energy,
                    x_core=uses.x_core,
                    y_core=uses.y_core,
                    azimuth=np.degrees(uses.azimuth),
                    altitude=np.degrees(uses.altitude),
                )
                rows = uses.triggered
                writer.add_triggers(
                    file_id=info.file_id,
                    shower_id=uses.shower_id[rows],
                    event_id=uses.event_id[rows],
                    array_altitude=90 - info.zenith,
                    array_azimuth=info.azimuth,
                    masks=rng.integers(1, 32, (rows.size, 1), dtype=np.uint64),
                )
    return path


def runs(*numbers: int, **changes) -> list[FileInfo]:
    """Describe some runs of one point."""
    return [
        dataclasses.replace(POINT, file_name=f"run{n}", file_id=i, run_number=n, **changes)
        for i, n in enumerate(numbers)
    ]


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    """Three files of one point, 360 000 uses of 72 000 showers."""
    folder = tmp_path_factory.mktemp("pilot")
    numbers = ((1, 2), (3,), (4, 5, 6))
    return [
        write_events(folder / f"part{i}.hdf5", runs(*n), seed=1100 + i, n_showers=12_000, n_uses=5)
        for i, n in enumerate(numbers)
    ]


@pytest.fixture(scope="module")
def events(pilot):
    return all_events(pilot)


def all_events(paths: list[Path]) -> dict[str, np.ndarray]:
    """Read every trigger with h5py alone and join it to its shower by a dictionary."""
    columns: dict[str, list] = {name: [] for name in ("energy", "radius", "viewcone", "telescopes", "shower")}
    for number, path in enumerate(paths):
        with h5py.File(path) as file:
            showers, triggers = file["SHOWERS"][:], file["TRIGGERS"][:]
        ids = ("file_id", "shower_id", "event_id")
        place = {key: row for row, key in enumerate(zip(*(showers[name].tolist() for name in ids), strict=True))}
        rows = showers[[place[key] for key in zip(*(triggers[name].tolist() for name in ids), strict=True)]]
        axis = [
            np.array([np.cos(alt) * np.cos(az), -np.cos(alt) * np.sin(az), np.sin(alt)])
            for alt, az in (
                (np.radians(rows["shower_altitude"]), np.radians(rows["shower_azimuth"])),
                (np.radians(triggers["array_altitude"]), np.radians(triggers["array_azimuth"])),
            )
        ]
        core = np.array([rows["x_core"], rows["y_core"], np.zeros(len(rows))])
        columns["energy"].append(rows["simulated_energy"])
        columns["radius"].append(np.linalg.norm(np.cross(core, axis[0], axis=0), axis=0))
        sine = np.linalg.norm(np.cross(axis[0], axis[1], axis=0), axis=0)
        columns["viewcone"].append(np.degrees(np.arctan2(sine, (axis[0] * axis[1]).sum(axis=0))))
        columns["telescopes"].append(np.array([set(t.decode().split(",")) for t in triggers["telescope_list"]]))
        columns["shower"].append(number * 10**9 + rows["file_id"].astype(np.int64) * 10**6 + rows["shower_id"])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def outward(values: np.ndarray, quantity: str) -> np.ndarray:
    """Order values, the most extreme first."""
    return np.sort(values) if quantity == "energy" else np.sort(values)[::-1]


# ---------------------------------------------------------------- all events of written files


def test_every_limit_is_the_order_statistic_of_all_events(pilot, events):
    sub_arrays = [
        SubArray("all, any"),
        SubArray("all, three", multiplicity=3),
        SubArray("large", ("LSTN-01", "LSTN-02"), 2),
        SubArray("medium", ("MSTN-03", "MSTN-01", "MSTN-02"), 2),
        SubArray("one", ("MSTN-02",)),
    ]
    (group,) = group_files(pilot)
    found = {one.sub_array: one for one in pilot_limits(group, sub_arrays, LimitRequest(0.01)).pilots}
    assert list(found) == [one.name for one in sub_arrays]
    for one in sub_arrays:
        wanted = set(TELESCOPES if one.telescopes is None else one.telescopes)
        keep = np.array([len(wanted & seen) >= one.multiplicity for seen in events["telescopes"]])
        limits = found[one.name]
        assert limits.n_triggered == keep.sum() > 300
        assert limits.n_simulated == 360_000
        for quantity in ("energy", "radius", "viewcone"):
            ordered, limit = outward(events[quantity][keep], quantity), getattr(limits, quantity)
            k = int(0.01 * keep.sum())
            assert limit.value == pytest.approx(ordered[k], rel=1e-7)
            assert limit.n_tail == k


def test_guarantee_and_design_effect_follow_from_the_outermost_events(pilot, events):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(0.02)).pilots
    n = limits.n_triggered
    for quantity in ("energy", "radius", "viewcone"):
        order = np.argsort(events[quantity] * (1 if quantity == "energy" else -1))
        outermost = events["shower"][order[: max(100, 2 * int(0.02 * n))]]
        passes = np.unique(outermost, return_counts=True)[1]
        limit = getattr(limits, quantity)
        assert n / limit.n_effective == pytest.approx((passes**2).sum() / passes.sum())
        # The largest count whose binomial tail leaves 95 %: k + 1 of n_effective events at a share of 0.02.
        k = np.arange(n)
        sure = stats.beta.cdf(0.02, k * limit.n_effective / n + 1, limit.n_effective * (1 - k / n)) >= 0.95
        assert limit.guaranteed == pytest.approx(outward(events[quantity], quantity)[k[sure].max()], rel=1e-7)


def test_chunks_and_files_divide_the_events_without_effect(pilot, monkeypatch):
    (group,) = group_files(pilot)
    (whole,) = pilot_limits(group, EVERYTHING, LimitRequest(0.01)).pilots
    original = module.triggered_blocks
    monkeypatch.setattr(module, "triggered_blocks", lambda path, **given: original(path, **given, chunk=7_777))
    (parts,) = pilot_limits(group, EVERYTHING, LimitRequest(0.01)).pilots
    assert (parts.energy, parts.radius, parts.viewcone) == (whole.energy, whole.radius, whole.viewcone)
    assert parts.tails == whole.tails


@pytest.mark.parametrize(("index", "loss_fraction"), [(1.5, 0.02), (2.6, 0.01)])
def test_another_spectrum_is_a_weight(pilot, events, index, loss_fraction):
    weight = events["energy"].astype(np.float64) ** (2.0 - index)
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=loss_fraction, index=index)).pilots
    for quantity in ("energy", "radius", "viewcone"):
        order = np.argsort(events[quantity] * (1 if quantity == "energy" else -1))
        beyond = np.cumsum(weight[order]) - weight[order]
        last = np.flatnonzero(beyond <= loss_fraction * weight.sum()).max()
        value = events[quantity][order[last]]
        assert getattr(limits, quantity).value == pytest.approx(value, rel=1e-7)
        assert getattr(limits, quantity).n_tail == (outward(events[quantity], quantity)[:last] != value).sum()


def test_the_pilots_own_spectrum_changes_nothing(pilot):
    (group,) = group_files(pilot)
    (own,) = pilot_limits(group, EVERYTHING, LimitRequest(0.01)).pilots
    (same,) = pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=0.01, index=2.0)).pilots
    assert own.energy == same.energy


def test_more_than_the_capacity_is_read_again(pilot, monkeypatch):
    """A loss fraction that needs more of the tail than is kept at first, with re-used showers and with weights."""
    (group,) = group_files(pilot)
    wanted = {
        index: pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=0.2, index=index)).pilots[0]
        for index in (2.0, 1.2)
    }
    monkeypatch.setattr(module.LimitRequest, "capacity", lambda request, n_triggers: 20)
    for index, expected in wanted.items():
        (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=0.2, index=index)).pilots
        for quantity in ("energy", "radius", "viewcone"):
            assert getattr(limits, quantity) == getattr(expected, quantity)


# ---------------------------------------------------------------- closed form


def test_closed_form_lies_in_the_interval(pilot):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(0.01)).pilots
    truth = MODEL.limits(0.01)
    expected = {"energy": truth.lower_energy, "radius": truth.upper_radius, "viewcone": np.degrees(truth.viewcone)}
    for quantity, value in expected.items():
        limit = getattr(limits, quantity)
        assert limit.verdict is Verdict.OK
        assert limit.interval_low <= value <= limit.interval_high
        assert limit.interval_low <= limit.value <= limit.interval_high
        # The guarantee costs: it lies further out than the estimate, within the 95 % interval or at its end.
        further = limit.value - limit.guaranteed if quantity == "energy" else limit.guaranteed - limit.value
        assert 0 < further <= limit.interval_high - limit.interval_low


def in_memory(model: ToyModel, rng: np.random.Generator, *, n_showers: int, n_uses: int) -> list[EventChunk]:
    """Make the chunks that a file of these events would give."""
    chunks = []
    for uses in simulate(model, rng=rng, n_showers=n_showers, n_uses=n_uses):
        rows = uses.triggered
        chunks.append(
            EventChunk(
                energy=uses.energy[rows],
                angular_distance=uses.offset[rows],
                weight=np.ones(rows.size),
                file_id=np.zeros(rows.size, dtype=np.int64),
                shower_key=uses.shower_id[rows],
                masks=uses.masks,
                telescopes=model.telescopes,
                n_showers=uses.energy.size,
                positions=np.stack([uses.x_core[rows], uses.y_core[rows], uses.core_distance[rows]]),
            )
        )
    return chunks


def point_of(throw: Throw) -> PilotPoint:
    return PilotPoint(
        zenith=throw.zenith,
        azimuth=throw.azimuth,
        nsb_level=throw.nsb_level,
        particle_id=1,
        index=throw.index,
        energy_range=(throw.energy_min, throw.energy_max),
        core_scatter=(0.0, throw.core_scatter_max),
        viewcone=(0.0, throw.viewcone_max),
    )


@pytest.fixture
def limits_in_memory(monkeypatch):
    """Derive limits from chunks instead of files."""

    def derive(chunks, point, **arguments):
        monkeypatch.setattr(module, "triggered_blocks", lambda path, **given: iter(chunks))
        n_triggers = sum(chunk.energy.size for chunk in chunks)
        group = PilotGroup(point, [Path("toy")], n_triggers=n_triggers, first_files=[0])
        return pilot_limits(group, EVERYTHING, LimitRequest(**arguments)).pilots[0]

    return derive


def true_losses(model: ToyModel, energy: float, radius: float, viewcone: float) -> dict[str, float]:
    """Share of the triggers beyond some cuts, integrated by hand (slope 4, index 2)."""
    thrown, scale, e_c = model.throw, model.core_scale, model.break_energy
    disc, cone = thrown.core_scatter_max, np.radians(thrown.viewcone_max)
    mu = 1 - np.cos(np.radians(model.angle_scale))
    below = (e_c**3 - thrown.energy_min**3) / (3 * e_c**4)
    total = below + 1 / e_c - 1 / thrown.energy_max
    r, edge = np.exp(-((np.array([radius, disc]) / scale) ** 2))
    t, rim = np.exp(-(1 - np.cos([np.radians(viewcone), cone])) / mu)
    return {
        "energy": (energy**3 - thrown.energy_min**3) / (3 * e_c**4) / total,
        "radius": (r - edge) / (1 - edge),
        "viewcone": (t - rim) / (1 - rim),
    }


def test_loss_at_the_closed_form_is_the_loss_fraction():
    truth = MODEL.limits(0.01)
    for share in true_losses(MODEL, truth.lower_energy, truth.upper_radius, np.degrees(truth.viewcone)).values():
        assert share == pytest.approx(0.01, rel=1e-9)


def test_the_guarantee_holds_in_many_pilots_with_reused_showers(limits_in_memory):
    """A hundred pilots of about 400 triggers, ten uses of each shower: 95 % guarantees and 95 % intervals."""
    throw = Throw(energy_min=0.006, energy_max=3.0, core_scatter_max=700.0, viewcone_max=6.0)
    model, rng = ToyModel(throw, slope=4.0, correlation=0.3), np.random.default_rng(20260101)
    f, n_toys = 0.05, 100
    truth = model.limits(f)
    expected = {"energy": truth.lower_energy, "radius": truth.upper_radius, "viewcone": np.degrees(truth.viewcone)}
    counts = {name: dict.fromkeys(expected, 0) for name in ("exceeds", "sample exceeds", "covers", "ok")}
    for _ in range(n_toys):
        chunks = in_memory(model, rng, n_showers=2_400, n_uses=10)
        limits = limits_in_memory(chunks, point_of(throw), loss_fraction=f)
        found = {quantity: getattr(limits, quantity) for quantity in expected}
        sure = true_losses(model, *(limit.guaranteed for limit in found.values()))
        plain = true_losses(model, *(limit.value for limit in found.values()))
        for quantity, limit in found.items():
            counts["exceeds"][quantity] += sure[quantity] > f
            counts["sample exceeds"][quantity] += plain[quantity] > f
            counts["covers"][quantity] += limit.interval_low <= expected[quantity] <= limit.interval_high
            counts["ok"][quantity] += limit.verdict is Verdict.OK
    error = np.sqrt(0.05 * 0.95 / n_toys)
    for quantity in expected:
        assert counts["ok"][quantity] > 0.95 * n_toys
        assert counts["exceeds"][quantity] / n_toys <= 0.05 + 2.5 * error
        assert counts["covers"][quantity] / n_toys >= 0.95 - 2.5 * error
        assert counts["sample exceeds"][quantity] / n_toys > 0.4  # without the guarantee: every second one


# ---------------------------------------------------------------- verdicts


def test_a_pilot_thrown_too_narrow_says_so(limits_in_memory):
    """Cores thrown to 300 m, where the trigger reaches 350 m e-folds: only the radius is cut off."""
    throw = dataclasses.replace(THROW, core_scatter_max=300.0)
    chunks = in_memory(ToyModel(throw, slope=4.0), np.random.default_rng(1), n_showers=100_000, n_uses=1)
    limits = limits_in_memory(chunks, point_of(throw), loss_fraction=0.01)
    assert limits.radius.verdict is Verdict.TRUNCATED
    assert limits.radius.value == limits.radius.guaranteed == 300.0
    assert limits.radius.loss_bound == 1.0
    assert "least 300" in limits.radius.reason
    assert limits.energy.verdict is limits.viewcone.verdict is Verdict.OK


def test_a_cone_and_an_energy_range_too_narrow_say_so(limits_in_memory):
    throw = dataclasses.replace(THROW, energy_min=0.02, viewcone_max=2.0)
    chunks = in_memory(ToyModel(throw, slope=4.0), np.random.default_rng(2), n_showers=30_000, n_uses=1)
    limits = limits_in_memory(chunks, point_of(throw), loss_fraction=0.01)
    assert limits.energy.verdict is limits.viewcone.verdict is Verdict.TRUNCATED
    assert (limits.energy.guaranteed, limits.viewcone.guaranteed) == (0.02, 2.0)


def test_a_pilot_too_small_gives_its_extreme(limits_in_memory):
    """ln 0.05 / ln 0.99 = 299 triggers are needed for 1 %."""
    (chunk,) = in_memory(ToyModel(THROW, slope=4.0), np.random.default_rng(3), n_showers=20_000, n_uses=1)
    assert 100 < chunk.energy.size < 299
    limits = limits_in_memory([chunk], point_of(THROW), loss_fraction=0.01)
    assert {limits.energy.verdict, limits.radius.verdict, limits.viewcone.verdict} == {Verdict.SAMPLE_LIMITED}
    assert limits.energy.value == chunk.energy.min()
    assert limits.radius.guaranteed == chunk.core_distance.max()
    assert limits.viewcone.guaranteed == pytest.approx(np.degrees(chunk.angular_distance.max()))
    assert limits.radius.loss_bound == pytest.approx(1 - 0.05 ** (1 / chunk.energy.size), rel=1e-6)


def test_a_point_source_has_no_view_cone(limits_in_memory):
    (chunk,) = in_memory(ToyModel(THROW, slope=4.0), np.random.default_rng(4), n_showers=60_000, n_uses=1)
    chunk = dataclasses.replace(chunk, angular_distance=np.full(chunk.energy.size, np.radians(0.5)))
    point = dataclasses.replace(point_of(THROW), viewcone=(0.0, 0.0))
    limits = limits_in_memory([chunk], point, loss_fraction=0.01)
    assert limits.viewcone is None
    assert any("point-like" in note for note in limits.notes)
    assert limits.energy.verdict is limits.radius.verdict is Verdict.OK


@pytest.mark.parametrize(
    "arguments", [{}, {"index": 2.7}, {"energy_rule": "peak"}, {"budget": 0.03}, {"slices": [0.1, 1]}]
)
def test_one_thrown_energy_and_offset_are_their_limits(limits_in_memory, arguments):
    """Nothing lies beyond the one value that was thrown, though files round it to either side."""
    (chunk,) = in_memory(ToyModel(THROW, slope=4.0), np.random.default_rng(5), n_showers=60_000, n_uses=1)
    jitter = np.random.default_rng(6).uniform(1 - 6e-8, 1 + 6e-8, chunk.energy.size)
    chunk = dataclasses.replace(chunk, energy=0.7 * jitter, angular_distance=np.radians(0.4) * jitter)
    point = dataclasses.replace(point_of(THROW), energy_range=(0.7, 0.7), viewcone=(0.4, 0.4))
    arguments = {"loss_fraction": 0.01} | arguments
    limits = limits_in_memory([chunk], point, **arguments)
    for limit, thrown in ((limits.energy, 0.7), (limits.viewcone, 0.4)):
        assert {limit.value, limit.guaranteed, limit.interval_low, limit.interval_high} == {thrown}
        assert (limit.verdict, limit.n_tail, limit.loss_bound) == (Verdict.OK, 0, 0.0)
        assert f"all showers were thrown at {thrown}" in limit.reason
    beyond = (chunk.core_distance > limits.radius.value).mean()  # of all events, whatever the index
    assert limits.joint.fraction == limits.radius.n_tail / chunk.energy.size == beyond <= 0.03
    if "slices" in arguments:
        assert limits.curves.viewcone.value.tolist() == [0.4]


def test_nothing_triggered_and_bad_arguments_are_refused(tmp_path, limits_in_memory, pilot):
    dark = dataclasses.replace(MODEL, efficiency=1e-9)
    path = write_events(tmp_path / "dark.hdf5", runs(1), seed=5, n_showers=10, model=dark)
    (group,) = group_files([path])
    with pytest.raises(FileError, match=r"dark.hdf5: no event triggered, so"):
        pilot_limits(group, EVERYTHING)
    (group,) = group_files(pilot)
    for arguments in ({"loss_fraction": -0.1}, {"loss_fraction": 1.0}, {"confidence": 1.0}, {"confidence": np.nan}):
        with pytest.raises(ProdconfError):
            pilot_limits(group, EVERYTHING, LimitRequest(**arguments))


def test_a_silent_sub_array_has_no_record(pilot):
    (group,) = group_files(pilot)
    found = pilot_limits(group, [SubArray("silent", ("SSTS-01",)), *EVERYTHING], LimitRequest(0.01))
    assert [one.sub_array for one in found.pilots] == ["all"]
    assert list(found.empty) == ["silent"]
    assert "no event holds SSTS-01" in found.empty["silent"]
    assert pickle.loads(pickle.dumps(found)).empty == found.empty
    (partly,) = pilot_limits(group, [SubArray("partly", ("SSTS-01", "LSTN-01"))], LimitRequest(0.01)).pilots
    assert any("no event holds SSTS-01" in note for note in partly.notes)


def test_zero_loss_is_the_extreme_and_never_ok(pilot, events):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(0.0)).pilots
    for quantity in ("energy", "radius", "viewcone"):
        limit = getattr(limits, quantity)
        assert limit.verdict is not Verdict.OK
        extreme = outward(events[quantity], quantity)[0]
        assert limit.value <= extreme * (1 + 1e-7) if quantity == "energy" else limit.value >= extreme * (1 - 1e-7)


def test_a_source_counts_once(tmp_path):
    """The merged file holds what the single one holds as well."""
    single = write_events(tmp_path / "a_single.hdf5", runs(2), seed=2, n_showers=2000)
    merged = write_events(tmp_path / "merged.hdf5", runs(1, 2, 3), seed=3, n_showers=2000)
    (group,) = group_files([single, merged])
    assert group.files == [merged]
    assert group.notes == ["a_single.hdf5 was left out: run2 is in merged.hdf5 as well"]
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(0.1)).pilots
    assert limits.n_simulated == 6000
    assert limits.notes[: len(group.notes)] == tuple(group.notes)


# ---------------------------------------------------------------- the anchor: closed form, many toys

ANCHOR = ToyModel(Throw())
ANCHOR_POINT = PilotPoint(
    zenith=20.0, azimuth=0.0, index=2.0, core_scatter=(0.0, 1000.0), viewcone=(0.0, 8.0), energy_range=None
)


def anchor_triggers(rng: np.random.Generator, n: int):
    """Triggers of the anchor by inversion: flat in energy below the break, E^-2 above; two truncated exponentials."""
    low, knee, high = 0.003, 0.03, 330.0
    below = (knee - low) / knee**2
    share = rng.random(n) * (below + 1 / knee - 1 / high)
    energy = np.where(share < below, low + share * knee**2, 1 / np.maximum(1 / knee - share + below, 1 / high))
    edge, mu = np.exp(-((1000 / 350) ** 2)), 1 - np.cos(np.radians(3))
    radius = 350 * np.sqrt(-np.log(1 - rng.random(n) * (1 - edge)))
    rim = np.exp(-(1 - np.cos(np.radians(8))) / mu)
    versine = -mu * np.log(1 - rng.random(n) * (1 - rim))
    return energy, radius, np.degrees(np.arccos(1 - versine))


def anchor_losses(limits: dict[str, float], index: float = 2.0) -> dict[str, float]:
    """True share of the triggers, of a spectrum of another index, beyond each of some cuts."""
    low, knee, high, rise = 0.003, 0.03, 330.0, 3 - index
    below = (knee**rise - low**rise) / rise / knee**2
    total = below + (knee ** (1 - index) - high ** (1 - index)) / (index - 1)
    edge, mu = np.exp(-((1000 / 350) ** 2)), 1 - np.cos(np.radians(3))
    rim = np.exp(-(1 - np.cos(np.radians(8))) / mu)
    return {
        "energy": (limits["energy"] ** rise - low**rise) / rise / knee**2 / total,
        "radius": (np.exp(-((limits["radius"] / 350) ** 2)) - edge) / (1 - edge),
        "viewcone": (np.exp(-(1 - np.cos(np.radians(limits["viewcone"]))) / mu) - rim) / (1 - rim),
    }


def anchor_limits(rng: np.random.Generator, n: int, **arguments) -> PilotLimits:
    """Limits of one toy sample of the anchor."""
    request, triggers = LimitRequest(**arguments), anchor_triggers(rng, n)
    weight = None if request.index is None else triggers[0] ** (2.0 - request.index)
    tails = EventTails(capacity=(1 if weight is None else 3) * request.capacity(n))
    tails.add(*triggers, weight=weight, shower=np.arange(n))
    summary = FileSummary({"all": tails}, ("T",), n_simulated=n, n_triggered=n)
    return limits_of(PilotGroup(ANCHOR_POINT, [Path("toy")]), summary, EVERYTHING, request).pilots[0]


def test_the_anchor_lies_in_the_interval_and_the_union_is_counted():
    limits = anchor_limits(np.random.default_rng(8), 1_000_000)
    truth = {"energy": 0.0030569973, "radius": 903.06, "viewcone": 7.5388}  # published to these digits
    for loss in anchor_losses(truth).values():
        assert loss == pytest.approx(1e-3, rel=2e-4)
    for quantity, value in truth.items():
        limit = getattr(limits, quantity)
        assert limit.verdict is Verdict.OK
        assert limit.interval_low <= value <= limit.interval_high
        assert limit.n_tail == 1000
    expected = 1 - (1 - 1e-3) ** 3
    assert limits.joint.fraction == pytest.approx(expected, abs=3 * np.sqrt(expected / 1e6))
    assert expected < limits.joint.bound < 1.1 * expected
    assert limits.joint_guaranteed.fraction < limits.joint.fraction


@pytest.mark.parametrize("n_toys", [80, pytest.param(500, marks=pytest.mark.long)])
def test_guarantee_coverage_and_union_in_many_toys(n_toys):
    """10 000 triggers, a loss of 0.2 %: twenty events beyond each cut."""
    n, f, rng = 10_000, 2e-3, np.random.default_rng(2026)
    truth = ANCHOR.limits(f)
    expected = {"energy": truth.lower_energy, "radius": truth.upper_radius, "viewcone": np.degrees(truth.viewcone)}
    exceeds, covers, joint_exceeds, joint = dict.fromkeys(expected, 0), dict.fromkeys(expected, 0), 0, []
    for _ in range(n_toys):
        found = anchor_limits(rng, n, loss_fraction=f)
        limits = {quantity: getattr(found, quantity) for quantity in expected}
        sure = anchor_losses({quantity: limit.guaranteed for quantity, limit in limits.items()})
        for quantity, limit in limits.items():
            exceeds[quantity] += sure[quantity] > f
            covers[quantity] += limit.interval_low <= expected[quantity] <= limit.interval_high
        losses = anchor_losses({quantity: limit.value for quantity, limit in limits.items()})
        joint_exceeds += 1 - np.prod([1 - loss for loss in losses.values()]) > found.joint.bound
        joint.append(found.joint.fraction)
    error = np.sqrt(0.05 * 0.95 / n_toys)
    for quantity in expected:
        assert exceeds[quantity] / n_toys <= 0.05 + 2 * error
        assert abs(covers[quantity] / n_toys - 0.95) <= 0.015 + 2 * error
    assert joint_exceeds / n_toys <= 0.05 + 2 * error
    assert np.mean(joint) == pytest.approx(union_loss(f), rel=0.01)


@pytest.mark.parametrize("n_toys", [200, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize(("index", "f"), [(1.5, 0.002), (1.5, 0.01), (2.6, 0.01)])
def test_the_guarantee_holds_for_a_spectrum_that_was_not_thrown(index, f, n_toys):
    """10 000 triggers of E^-2; of index 1.5 a few heavy ones carry a good part of all weight."""
    rng = np.random.default_rng(15)
    beyond, covers, held = [], [], []
    for _ in range(n_toys):
        limits = anchor_limits(rng, 10_000, loss_fraction=f, index=index)
        records = {name: getattr(limits, name) for name in QUANTITIES}
        lost = {
            end: anchor_losses({name: getattr(one, end) for name, one in records.items()}, index)
            for end in ("value", "guaranteed", "interval_low", "interval_high")
        }
        beyond.append([lost["guaranteed"][name] > max(f, one.loss_bound) for name, one in records.items()])
        covers.append([(lost["interval_low"][name] - f) * (lost["interval_high"][name] - f) <= 0 for name in records])
        joints = {"value": limits.joint, "guaranteed": limits.joint_guaranteed}
        held.append([1 - math.prod(1 - x for x in lost[end].values()) <= one.bound for end, one in joints.items()])
    error = np.sqrt(0.05 * 0.95 / n_toys)
    assert (np.mean(beyond, axis=0) <= 0.05 + 3 * error).all()
    assert (np.mean(covers, axis=0) >= 0.95 - 3 * error).all()
    assert (np.mean(held, axis=0) >= 0.95 - 3 * error).all()


def test_the_coverage_of_the_interval_is_within_a_percent_and_a_half():
    """
    Exactly, without toys: the true limit lies in the interval if the number of events beyond it, a binomial number,
    lies between two ranks. The counts are whole, so the coverage is 95 % or a little more.
    """
    coverage = []
    for f, beyond in itertools.product((1e-3, 2e-3, 1e-2), np.geomspace(20, 3000, 12)):
        n = int(beyond / f)
        capacity = LimitRequest(loss_fraction=f).capacity(n)
        ranks = TailSummary("lower", capacity, np.arange(1.0, capacity + 1), np.ones(capacity), None, n, n, n)
        limit = tail_limit(ranks, f)
        # Event number r (from 1) lies below the truth if at least r events do.
        coverage.append(stats.binom.cdf(limit.interval_high - 1, n, f) - stats.binom.cdf(limit.interval_low - 1, n, f))
    assert min(coverage) >= 0.95
    assert max(coverage) <= 0.965


# ---------------------------------------------------------------- partitions, chunks, orders


def piece(chunk: EventChunk, rows: np.ndarray) -> EventChunk:
    """Take some events of a chunk."""
    columns = ("energy", "angular_distance", "weight", "file_id", "shower_key", "masks")
    taken = {name: getattr(chunk, name)[rows] for name in columns}
    return dataclasses.replace(chunk, **taken, positions=chunk.positions[:, rows], n_showers=rows.size)


def assert_same(one, two):
    """Records whose floating-point numbers agree to 1e-12, everything else exactly."""
    if dataclasses.is_dataclass(one):
        one, two = ({f.name: getattr(record, f.name) for f in dataclasses.fields(record)} for record in (one, two))
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        one, two = list(one.values()), list(two.values())
    if isinstance(one, (list, tuple)):
        for first, second in zip(one, two, strict=True):
            assert_same(first, second)
    elif isinstance(one, (float, np.ndarray)):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=0)
    else:
        assert one == two


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n_files=st.integers(1, 5), n_chunks=st.integers(1, 6))
def test_any_order_partition_and_chunk_gives_the_same_record(monkeypatch, seed, n_files, n_chunks):
    rng, model = np.random.default_rng(seed), ToyModel(THROW, slope=4.0, correlation=0.3)
    (chunk,) = in_memory(model, np.random.default_rng(1), n_showers=1_500, n_uses=10)
    arrays = [SubArray("all"), SubArray("some", TELESCOPES_OF_TOY[:2])]
    request, toy = (
        LimitRequest(0.02, index=2.3, slices=[0.01, 0.05, 3.0]),
        PilotGroup(point_of(THROW), [Path("toy")], first_files=[0]),
    )

    def summary(rows):
        cuts = np.sort(rng.integers(0, rows.size + 1, n_chunks - 1))
        pieces = [piece(chunk, part) for part in np.split(rows, cuts)]
        monkeypatch.setattr(module, "triggered_blocks", lambda path, **given: iter(pieces))
        return summarise_files(toy, arrays, request, capacity=300)

    whole = summary(np.arange(chunk.energy.size))
    order = rng.permutation(chunk.energy.size)
    cuts = np.sort(rng.integers(0, order.size + 1, n_files - 1))
    parts = [summary(part) for part in np.split(order, cuts)]
    assert reduce(add, parts) == reduce(lambda a, b: b + a, parts) == whole
    one, two = (limits_of(toy, found, arrays, request).pilots for found in (whole, reduce(add, parts)))
    assert_same(one, two)
    assert len(one) == 2


TELESCOPES_OF_TOY = ToyModel(THROW).telescopes


def file_by_file(group: PilotGroup) -> list[PilotGroup]:
    """Groups of one file each."""
    pairs = zip(group.files, group.first_files, strict=True)
    return [dataclasses.replace(group, files=[file], first_files=[first]) for file, first in pairs]


def test_the_sum_over_files_is_what_pilot_limits_does(pilot):
    (group,) = group_files(pilot)
    request = LimitRequest(0.01, slices=[0.01, 0.1, 1], histograms=True)
    parts = [summarise_files(one, EVERYTHING, request, capacity=900) for one in file_by_file(group)]
    back = pickle.loads(pickle.dumps(parts[2] + parts[0] + parts[1]))
    (found,), (expected,) = (
        one.pilots for one in (limits_of(group, back, EVERYTHING, request), pilot_limits(group, EVERYTHING, request))
    )
    fields = [f.name for f in dataclasses.fields(expected) if f.name not in ("tails", "histograms")]  # other capacities
    assert [getattr(found, name) for name in fields] == [getattr(expected, name) for name in fields]
    assert np.array_equal(found.histograms.radius_energy, expected.histograms.radius_energy)
    assert found.histograms.ground.sum() == found.n_triggered


def test_summaries_of_other_sub_arrays_do_not_add(pilot):
    (group,) = group_files(pilot)
    first = file_by_file(group)[0]
    one, other = (summarise_files(first, [SubArray(name)], LimitRequest(), capacity=100) for name in ("one", "other"))
    with pytest.raises(ArgumentError, match="the same sub-arrays to be merged, got one and other"):
        one + other
    with pytest.raises(CapacityError) as refused:
        limits_of(group, one, [SubArray("one")], LimitRequest(0.2))
    back = pickle.loads(pickle.dumps(refused.value))
    assert (str(back), back.needed) == (str(refused.value), refused.value.needed)


# ---------------------------------------------------------------- rules


def lost(events, limits) -> np.ndarray:
    """Find the events that three cuts lose."""
    return (
        (events["energy"] < limits.energy.value * (1 - 1e-7))
        | (events["radius"] > limits.radius.value * (1 + 1e-7))
        | (events["viewcone"] > limits.viewcone.value * (1 + 1e-7))
    )


def test_the_joint_loss_is_the_union(pilot, events):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest({"energy": 0.02, "radius": 0.01, "viewcone": 0.03})).pilots
    assert limits.loss_fractions == {"energy": 0.02, "radius": 0.01, "viewcone": 0.03}
    assert limits.joint.n_lost == lost(events, limits).sum()
    assert limits.joint.fraction == limits.joint.n_lost / limits.n_triggered
    n_tail = [limit.n_tail for limit in (limits.energy, limits.radius, limits.viewcone)]
    assert max(n_tail) < limits.joint.n_lost < sum(n_tail)


def test_the_budget_is_used_to_the_last_event(pilot, events):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(budget=0.03)).pilots
    n = limits.n_triggered
    assert lost(events, limits).sum() == limits.joint.n_lost <= 0.03 * n
    (fraction,) = set(limits.loss_fractions.values())
    assert int(0.03 * n) // 3 / n <= fraction <= 0.03
    (more,) = pilot_limits(group, EVERYTHING, LimitRequest(fraction + 1.001 / n)).pilots
    assert more.joint.fraction > 0.03
    (weighted,) = pilot_limits(group, EVERYTHING, LimitRequest(budget=0.03, index=2.4)).pilots
    assert 0.028 < weighted.joint.fraction <= 0.03


def test_a_least_number_of_lost_events_raises_the_fraction(pilot):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=1e-4, min_lost_events=50)).pilots
    (plain,) = pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=0.01, min_lost_events=10)).pilots
    for quantity in ("energy", "radius"):
        limit = getattr(limits, quantity)
        assert limit.n_tail == 50
        assert limit.loss_fraction == pytest.approx(50 / limits.n_triggered)
        assert "raised from 0.0001 so that 50 events may be lost" in limit.reason
        assert getattr(plain, quantity).loss_fraction == 0.01
    (few,) = pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=1e-4, min_lost_events=10**6)).pilots
    assert few.energy.verdict is not Verdict.OK
    assert few.energy.loss_fraction == 1e-4
    assert "so the loss fraction stands alone" in few.energy.reason


def test_slices_have_their_own_order_statistics(pilot, events):
    (group,) = group_files(pilot)
    edges = [0.006, 0.02, 0.05, 0.5, 2.9, 3.5]
    (limits,) = pilot_limits(group, EVERYTHING, LimitRequest(loss_fraction=0.02, slices=edges)).pilots
    curve = limits.curves.radius
    assert limits.curves.edges == tuple(edges)
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = np.sort(events["radius"][(events["energy"] >= low) & (events["energy"] < high)])[::-1]
        assert curve.n_events[i] == inside.size
        if inside.size == 0:
            assert np.isnan(curve.value[i])
            assert curve.verdict[i] == ""
        elif curve.verdict[i] == "ok":
            assert curve.value[i] == pytest.approx(inside[int(0.02 * inside.size)], rel=1e-7)
            assert curve.low[i] <= curve.value[i] <= curve.guaranteed[i] <= curve.high[i] * (1 + 1e-9)
    assert {"ok", "sample_limited"} <= set(curve.verdict)
    assert limits.curves.viewcone.n_events.tolist() == curve.n_events.tolist()


# ---------------------------------------------------------------- energy by the peak


def bell(rng, n: int, *, low=1e-3, weight=None) -> FileSummary:
    """Triggers of a Gaussian spectrum in ln E around 0.1 TeV, thrown from `low` on."""
    energy = np.exp(rng.normal(np.log(0.1), 0.7, n))
    energy = energy[energy > low]
    tails = EventTails(capacity=max(1000, n // 20))
    tails.add(energy, np.ones(energy.size), np.ones(energy.size), shower=np.arange(energy.size))
    return FileSummary({"all": tails}, ("T",), n_simulated=n, n_triggered=energy.size)


def peak_limit(summary: FileSummary, low=1e-3, **arguments):
    point = dataclasses.replace(ANCHOR_POINT, energy_range=(low, 100.0))
    group = PilotGroup(point, [Path("toy")])
    return limits_of(group, summary, EVERYTHING, LimitRequest(energy_rule="peak", **arguments)).pilots[0]


def test_the_peak_rule_covers_its_closed_form():
    """sqrt(2 ln 100) widths below the centre the spectrum has 1 % of its peak."""
    rng, n_toys = np.random.default_rng(4), 60
    truth = 0.1 * np.exp(-0.7 * np.sqrt(2 * np.log(100)))
    point, request = dataclasses.replace(ANCHOR_POINT, energy_range=(1e-3, 100.0)), LimitRequest(energy_rule="peak")
    found = [module._peak_limit(bell(rng, 30_000).tails["all"], point, request) for _ in range(n_toys)]
    error = np.sqrt(0.05 * 0.95 / n_toys)
    assert {limit.verdict for limit in found} <= {Verdict.OK, Verdict.SAMPLE_LIMITED}
    assert np.mean([limit.interval_low <= truth <= limit.interval_high for limit in found]) >= 0.95 - 3 * error
    assert np.mean([limit.guaranteed > truth for limit in found]) <= 0.05 + 3 * error
    assert np.median([limit.value for limit in found]) == pytest.approx(truth, rel=0.04)


def test_the_peak_rule_says_what_it_cannot_know():
    rng = np.random.default_rng(5)
    good = peak_limit(bell(rng, 300_000), loss_fraction=0.01)
    assert good.energy.verdict is Verdict.OK
    assert "reaches 0.01 of its peak (at 0.0" in good.energy.reason or "(at 0.1" in good.energy.reason
    assert good.energy.loss_fraction == good.energy.n_tail / good.n_triggered
    assert good.joint.n_lost >= good.energy.n_tail
    cut = peak_limit(bell(rng, 30_000, low=0.05), low=0.05, loss_fraction=0.01).energy
    assert cut.verdict is Verdict.TRUNCATED
    assert (cut.value, cut.guaranteed, cut.loss_bound) == (0.05, 0.05, 1.0)
    few = peak_limit(bell(rng, 40), loss_fraction=0.01).energy
    assert few.verdict is Verdict.SAMPLE_LIMITED
    one = peak_limit(bell(rng, 1), loss_fraction=0.01).energy
    assert one.verdict is Verdict.SAMPLE_LIMITED
    assert one.reason == "fewer than three bins of energy hold events"


def test_the_peak_rule_reads_deep_enough(pilot, events):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(
        group, EVERYTHING, LimitRequest(energy_rule="peak", peak_fraction=0.3, loss_fraction=0.01)
    ).pilots
    if limits.energy.verdict is not Verdict.TRUNCATED:
        assert limits.energy.n_tail == (events["energy"] < limits.energy.value).sum() > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss_fraction": {"energy": 0.1}}, "loss_fraction must name energy, radius, viewcone, got energy"),
        ({"loss_fraction": 1.0}, "loss_fraction must lie in"),
        ({"min_lost_events": -1}, "min_lost_events must be a whole number, 0 or more, got -1"),
        ({"min_lost_events": 2.5}, "min_lost_events must be a whole number"),
        ({"budget": 1.0}, "budget must lie in"),
        ({"budget": 0.1, "min_lost_events": 3}, "budget sets all three limits and cannot be combined with min_lost"),
        ({"budget": 0.1, "energy_rule": "peak"}, "cannot be combined with energy_rule 'peak'"),
        ({"energy_rule": "first"}, "energy_rule must be 'loss' or 'peak', got 'first'"),
        ({"peak_fraction": 0.0}, "peak_fraction must lie in"),
        ({"interval": 95}, "interval must lie in"),
        ({"slices": [1.0, 0.1]}, "slices must be at least two increasing numbers in TeV"),
    ],
)
def test_bad_settings_are_refused(pilot, arguments, words):
    (group,) = group_files(pilot)
    with pytest.raises(ProdconfError, match=words):
        pilot_limits(group, EVERYTHING, LimitRequest(**arguments))


def test_sub_arrays_must_be_named_apart_and_be_sub_arrays(pilot):
    (group,) = group_files(pilot)
    for wrong in ([], [SubArray("a"), SubArray("a")], {"a": (None, 1)}):
        with pytest.raises(ProdconfError, match="sub_arrays must"):
            pilot_limits(group, wrong)


def test_events_beyond_what_was_thrown_are_told(limits_in_memory):
    chunks = in_memory(MODEL, np.random.default_rng(6), n_showers=20_000, n_uses=1)
    point = dataclasses.replace(point_of(THROW), core_scatter=(0.0, 300.0))
    with pytest.warns(ProdconfWarning, match="events reach a radius of"):
        limits_in_memory(chunks, point, loss_fraction=0.05)


def test_limits_need_no_heavy_libraries():
    """Loading them takes longer than most files."""
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from prodconf.limits.tails import EventTails\n"
        "from prodconf.events.groups import PilotGroup, PilotPoint\n"
        "from prodconf.limits.pilots import FileSummary, LimitRequest, limits_of\n"
        "from prodconf.events.sub_arrays import SubArray\n"
        "tails = EventTails(capacity=1000)\n"
        "tails.add(np.linspace(1, 2, 5000), np.linspace(1, 2, 5000), np.linspace(1, 2, 5000), shower=np.arange(5000))\n"
        "summary = FileSummary({'all': tails}, ('T',), 5000, 5000)\n"
        "request = LimitRequest(budget=0.01)\n"
        "limits_of(PilotGroup(PilotPoint(20.0, 0.0), [Path('x')]), summary, [SubArray('all')], request)\n"
        "heavy = {'scipy.stats', 'scipy.optimize', 'matplotlib', 'pydantic', 'yaml', 'dask'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- real files


def test_old_files_give_energy_and_cone_but_no_radius(shared_data):
    """The same seven triggers in v0.16, which has no event numbers, and in v0.17."""
    folder = shared_data / "reduced_events"
    old, new = (
        pilot_limits(group_files([folder / f"run202_proton_za20deg_v0.{v}.hdf5"])[0], EVERYTHING).pilots[0]
        for v in (16, 17)
    )
    assert old.n_triggered == new.n_triggered == 7
    assert old.radius is None
    assert any("core positions cannot be known" in note for note in old.notes)
    assert new.radius.value == pytest.approx(842, abs=0.5)
    for limits in (old, new):
        assert limits.energy.value == pytest.approx(0.0759, abs=5e-5)
        assert limits.viewcone.value == pytest.approx(3.93, abs=5e-3)
        assert limits.energy.verdict is limits.viewcone.verdict is Verdict.SAMPLE_LIMITED


def test_the_seven_triggers_have_the_distances_on_record(shared_data):
    """The largest are the limits of a file with fewer triggers than any limit needs."""
    (group,) = group_files([shared_data / "reduced_events" / "run202_proton_za20deg_v0.17.hdf5"])
    (limits,) = pilot_limits(group, EVERYTHING).pilots
    np.testing.assert_allclose(limits.tails["radius"].values, [842, 799, 591, 462, 223, 136, 52], atol=0.51)
    np.testing.assert_allclose(limits.tails["viewcone"].values, [3.93, 3.60, 1.93, *[1.71] * 4], atol=5e-3)
    np.testing.assert_allclose(limits.tails["energy"].values, [0.0759, 0.0762, 0.1316, *[8.50] * 4], rtol=1e-3)
    assert limits.energy.n_effective == pytest.approx(7 / (19 / 7))  # one shower triggered four times


def test_sub_arrays_by_common_number(shared_data):
    """The predecessor's list of numbers, on files that number telescopes and on files that name them."""
    folder = shared_data / "reduced_events"
    arrays = read_sub_arrays(shared_data / "configuration" / "telescope_ids_v0.16.yml")
    for name in ("run202_proton_za20deg_v0.16.hdf5", "run202_proton_za20deg_v0.17.hdf5", "proton_za20deg_v0.32.hdf5"):
        (group,) = group_files([folder / name])
        found = pilot_limits(group, arrays)
        silent = set(found.empty)
        assert {one.sub_array for one in found.pilots} | silent == {one.name for one in arrays}
        assert all(one.n_triggered <= found.pilots[0].n_triggered for one in found.pilots)


@pytest.mark.parametrize(
    "name",
    [
        "run202_proton_za20deg_v0.16.hdf5",
        "run202_proton_za20deg_v0.17.hdf5",
        "proton_za20deg_v0.32.hdf5",
        "gamma_diffuse_za20deg_v0.34.hdf5",
        "gamma_diffuse_za20deg_v0.36.hdf5",
    ],
)
def test_real_samples_are_too_small_and_say_so(shared_data, name):
    (group,) = group_files([shared_data / "reduced_events" / name])
    (limits,) = pilot_limits(group, EVERYTHING).pilots
    for limit in (limits.energy, limits.radius, limits.viewcone):
        if limit is not None:
            assert limit.verdict is not Verdict.OK
            assert "fewer than the 2 995 that a loss of 0.001 needs" in limit.reason
            if "proton" in name:
                assert limit.verdict is Verdict.SAMPLE_LIMITED
    assert limits.joint.n_lost == 0
