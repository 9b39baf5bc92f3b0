"""Limits of pilots against all events of their files, the closed form of the toy, and many small toys."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from scipy import stats

from prodconf import pilot_limits as module
from prodconf.errors import ProdconfError
from prodconf.loss_tails import Verdict
from prodconf.pilot_limits import PilotGroup, PilotPoint, group_files, pilot_limits, same_place
from prodconf.reduced_events import EventChunk, FileInfo, ReducedEventWriter
from prodconf.toy_models import Throw, ToyModel, simulate

TELESCOPES = ("LSTN-01", "LSTN-02", "MSTN-01", "MSTN-02", "MSTN-03")
EVERYTHING = {"all": (None, 1)}
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
    sub_arrays = {
        "all, any": (None, 1),
        "all, three": (None, 3),
        "large": (("LSTN-01", "LSTN-02"), 2),
        "medium": (("MSTN-03", "MSTN-01", "MSTN-02"), 2),
        "one": (("MSTN-02",), 1),
    }
    (group,) = group_files(pilot)
    found = {one.sub_array: one for one in pilot_limits(group, sub_arrays, loss_fraction=0.01)}
    assert list(found) == list(sub_arrays)
    for name, (telescopes, multiplicity) in sub_arrays.items():
        wanted = set(TELESCOPES if telescopes is None else telescopes)
        keep = np.array([len(wanted & seen) >= multiplicity for seen in events["telescopes"]])
        limits = found[name]
        assert limits.n_triggered == keep.sum() > 300
        assert limits.n_simulated == 360_000
        for quantity in ("energy", "radius", "viewcone"):
            ordered, limit = outward(events[quantity][keep], quantity), getattr(limits, quantity)
            k = int(0.01 * keep.sum())
            assert limit.value == pytest.approx(ordered[k], rel=1e-7)
            assert limit.n_tail == k


def test_guarantee_and_design_effect_follow_from_the_outermost_events(pilot, events):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, loss_fraction=0.02)
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
    (whole,) = pilot_limits(group, EVERYTHING, loss_fraction=0.01)
    original = module.iterate
    monkeypatch.setattr(module, "iterate", lambda files: original(files, chunk=7_777))
    (parts,) = pilot_limits(group, EVERYTHING, loss_fraction=0.01)
    assert (parts.energy, parts.radius, parts.viewcone) == (whole.energy, whole.radius, whole.viewcone)
    assert parts.tails == whole.tails


@pytest.mark.parametrize(("index", "loss_fraction"), [(1.5, 0.02), (2.6, 0.01)])
def test_another_spectrum_is_a_weight(pilot, events, index, loss_fraction):
    weight = events["energy"].astype(np.float64) ** (2.0 - index)
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, loss_fraction=loss_fraction, index=index)
    for quantity in ("energy", "radius", "viewcone"):
        order = np.argsort(events[quantity] * (1 if quantity == "energy" else -1))
        beyond = np.cumsum(weight[order]) - weight[order]
        last = np.flatnonzero(beyond <= loss_fraction * weight.sum()).max()
        value = events[quantity][order[last]]
        assert getattr(limits, quantity).value == pytest.approx(value, rel=1e-7)
        assert getattr(limits, quantity).n_tail == (outward(events[quantity], quantity)[:last] != value).sum()


def test_the_pilots_own_spectrum_changes_nothing(pilot):
    (group,) = group_files(pilot)
    (own,) = pilot_limits(group, EVERYTHING, loss_fraction=0.01)
    (same,) = pilot_limits(group, EVERYTHING, loss_fraction=0.01, index=2.0)
    assert own.energy == same.energy


def test_more_than_the_capacity_is_read_again(pilot, monkeypatch):
    """A loss fraction that needs more of the tail than is kept at first, with re-used showers and with weights."""
    (group,) = group_files(pilot)
    wanted = {index: pilot_limits(group, EVERYTHING, loss_fraction=0.2, index=index)[0] for index in (2.0, 1.2)}
    monkeypatch.setattr(module, "CAPACITY", 20)
    for index, expected in wanted.items():
        (limits,) = pilot_limits(group, EVERYTHING, loss_fraction=0.2, index=index)
        for quantity in ("energy", "radius", "viewcone"):
            assert getattr(limits, quantity) == getattr(expected, quantity)


# ---------------------------------------------------------------- closed form


def test_closed_form_lies_in_the_interval(pilot):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, loss_fraction=0.01)
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
                simulated_energy=uses.energy,
                simulated_weight=np.ones(uses.energy.size),
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
        monkeypatch.setattr(module, "iterate", lambda files: iter(chunks))
        return pilot_limits(PilotGroup(point), EVERYTHING, **arguments)[0]

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
    """250 pilots of about 400 triggers, ten uses of each shower: 95 % guarantees and 95 % intervals."""
    throw = Throw(energy_min=0.006, energy_max=3.0, core_scatter_max=700.0, viewcone_max=6.0)
    model, rng = ToyModel(throw, slope=4.0, correlation=0.3), np.random.default_rng(20260101)
    f, n_toys = 0.05, 250
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


def test_nothing_triggered_and_bad_arguments_are_refused(tmp_path, limits_in_memory, pilot):
    dark = dataclasses.replace(MODEL, efficiency=1e-9)
    path = write_events(tmp_path / "dark.hdf5", runs(1), seed=5, n_showers=10, model=dark)
    (group,) = group_files([path])
    with pytest.raises(ProdconfError, match=r"dark.hdf5: no event triggered"):
        pilot_limits(group, EVERYTHING)
    (group,) = group_files(pilot)
    for arguments in ({"loss_fraction": -0.1}, {"loss_fraction": 1.0}, {"confidence": 1.0}, {"confidence": np.nan}):
        with pytest.raises(ProdconfError):
            pilot_limits(group, EVERYTHING, **arguments)


def test_a_silent_sub_array_has_no_record(pilot):
    (group,) = group_files(pilot)
    found = pilot_limits(group, {"silent": (("SSTS-01",), 1), "loud": (None, 1)}, loss_fraction=0.01)
    assert [one.sub_array for one in found] == ["loud"]


def test_zero_loss_is_the_extreme_and_never_ok(pilot, events):
    (group,) = group_files(pilot)
    (limits,) = pilot_limits(group, EVERYTHING, loss_fraction=0.0)
    for quantity in ("energy", "radius", "viewcone"):
        limit = getattr(limits, quantity)
        assert limit.verdict is not Verdict.OK
        extreme = outward(events[quantity], quantity)[0]
        assert limit.value <= extreme * (1 + 1e-7) if quantity == "energy" else limit.value >= extreme * (1 - 1e-7)


# ---------------------------------------------------------------- grouping


@pytest.fixture
def describe(tmp_path, monkeypatch):
    """Make files that hold nothing but what they say of their sources."""
    known = {}

    def make(name: str, infos: list[FileInfo]) -> Path:
        path = tmp_path / name
        path.write_text(name * len(infos), encoding="utf-8")
        known[path] = infos
        return path

    monkeypatch.setattr(module, "read_file_infos", lambda path: known[path])
    return make


def test_pointings_are_sorted_into_groups(describe):
    places = [(40.0, 0.0, 0.24), (20.0, 180.0, 0.24), (20.0, 0.0, 0.24), (20.0, 0.0, 0.84), (20.02, 359.99, 0.24)]
    paths = []
    for i, (zenith, azimuth, nsb) in enumerate(places):
        infos = runs(i + 1, zenith=zenith, azimuth=azimuth, nsb_level=nsb)
        paths.append(describe(f"{i}.hdf5", infos))
    groups = group_files(paths)
    names = [{path.name for path in group.files} for group in groups]
    assert sorted(map(sorted, names[:3])) == [["0.hdf5"], ["1.hdf5"], ["2.hdf5", "4.hdf5"]]  # 359.99 deg is 0 deg
    assert names[3] == {"3.hdf5"}
    assert groups[2].point.zenith == 40.0
    assert all(group.notes == [] for group in groups)


def test_particles_stand_apart(describe):
    paths = [describe(f"{i}.hdf5", runs(i, particle_id=i)) for i in (1, 14)]
    assert {group.point.particle_id for group in group_files(paths)} == {1, 14}


def test_the_order_of_the_files_does_not_matter(describe):
    paths = [describe(f"{i}.hdf5", runs(i)) for i in range(4)]
    one, two = group_files(paths), group_files(paths[::-1])
    assert [(g.point, sorted(g.files), g.notes) for g in one] == [(g.point, sorted(g.files), g.notes) for g in two]


def test_a_source_counts_once(tmp_path):
    """The merged file holds what the single one holds as well."""
    single = write_events(tmp_path / "a_single.hdf5", runs(2), seed=2, n_showers=2000)
    merged = write_events(tmp_path / "merged.hdf5", runs(1, 2, 3), seed=3, n_showers=2000)
    (group,) = group_files([single, merged])
    assert group.files == [merged]
    assert group.notes == ["a_single.hdf5 was left out: run2 is in merged.hdf5 as well"]
    (limits,) = pilot_limits(group, EVERYTHING, loss_fraction=0.1)
    assert limits.n_simulated == 6000
    assert limits.notes[: len(group.notes)] == tuple(group.notes)


def test_mixed_pointings_in_one_file_are_refused(describe):
    infos = [*runs(1), *(dataclasses.replace(info, file_id=1) for info in runs(2, zenith=40.0))]
    path = describe("mixed.hdf5", infos)
    with pytest.raises(ProdconfError, match=r"mixed.hdf5: table FILE_INFO mixes pointings"):
        group_files([path])


THROWN_OTHERWISE = [
    {"core_scatter_max": 900.0},
    {"viewcone_max": 6.0},
    {"energy_min": 0.01},
    {"energy_max": 4.0},
    {"spectral_index": -2.5},
]


@pytest.mark.parametrize("changes", THROWN_OTHERWISE, ids=lambda changes: next(iter(changes)))
def test_mixed_thrown_ranges_in_two_files_are_refused(describe, changes):
    paths = [describe(f"{i}.hdf5", runs(i, **more)) for i, more in ((1, {}), (2, changes))]
    with pytest.raises(ProdconfError, match="throws other ranges or another spectrum"):
        group_files(paths)


@pytest.mark.parametrize("changes", THROWN_OTHERWISE, ids=lambda changes: next(iter(changes)))
def test_mixed_thrown_ranges_in_one_file_are_refused(describe, changes):
    infos = [*runs(1), *(dataclasses.replace(info, file_id=1) for info in runs(2, **changes))]
    path = describe("mixed.hdf5", infos)
    with pytest.raises(ProdconfError, match=r"mixed.hdf5"):
        group_files([path])


def test_same_place_knows_the_circle_and_the_unknown():
    here = PilotPoint(20.0, 0.0, 0.24, 1)
    assert same_place(here, PilotPoint(20.0, 359.97, 0.241, 1))
    assert not same_place(here, PilotPoint(20.1, 0.0, 0.24, 1))
    assert not same_place(here, PilotPoint(20.0, 0.0, 0.25, 1))
    assert not same_place(here, PilotPoint(20.0, 0.0, None, 1))
    assert not same_place(here, PilotPoint(20.0, 0.0, 0.24, 14))
    assert same_place(PilotPoint(20.0, 0.0), PilotPoint(20.0, 0.0))


def test_a_file_that_does_not_know_its_pointing_is_refused(monkeypatch):
    info = dataclasses.replace(POINT, zenith=None)
    monkeypatch.setattr(module, "read_file_infos", lambda path: [info])
    path = SimpleNamespace(stat=lambda: SimpleNamespace(st_size=1), name="old.hdf5")
    with pytest.raises(ProdconfError, match="the pointing is not known"):
        group_files([path])


# ---------------------------------------------------------------- real files


def test_old_files_give_energy_and_cone_but_no_radius(shared_data):
    """The same seven triggers in v0.16, which has no event numbers, and in v0.17."""
    folder = shared_data / "reduced_events"
    old, new = (
        pilot_limits(group_files([folder / f"run202_proton_za20deg_v0.{v}.hdf5"])[0], EVERYTHING)[0] for v in (16, 17)
    )
    assert old.n_triggered == new.n_triggered == 7
    assert old.radius is None
    assert any("core positions cannot be known" in note for note in old.notes)
    assert new.radius.value == pytest.approx(842, abs=0.5)
    for limits in (old, new):
        assert limits.energy.value == pytest.approx(0.0759, abs=5e-5)
        assert limits.viewcone.value == pytest.approx(3.93, abs=5e-3)
        assert limits.energy.verdict is limits.viewcone.verdict is Verdict.SAMPLE_LIMITED


def test_one_source_in_two_generations_counts_once(shared_data):
    folder = shared_data / "reduced_events"
    (group,) = group_files([folder / f"gamma_diffuse_za20deg_v0.{v}.hdf5" for v in (34, 36)])
    assert [path.name for path in group.files] == ["gamma_diffuse_za20deg_v0.36.hdf5"]
    assert len(group.notes) == 1
    assert "v0.34.hdf5 was left out" in group.notes[0]
