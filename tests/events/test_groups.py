"""Grouping of event files: written files, files that only describe themselves, real samples, and hostile mixtures."""

import dataclasses
import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodconf.core.errors import ArgumentError, FileError, ProdconfError
from prodconf.events.groups import PilotGroup, PilotPoint, group_files, parse_file_name, same_place
from prodconf.events.reduced import FileInfo, FileOverview, ReducedEventWriter, iterate, read_overview
from prodconf.events.report import inspect_file

POINT = FileInfo("run1", 0, 1, 1, -2.0, 0.006, 3.0, 0.0, 7.0, 0.0, 800.0, 20.0, 30.0, 0.24)


def runs(*numbers: int, **changes) -> list[FileInfo]:
    """Describe some runs of one point."""
    return [
        dataclasses.replace(POINT, file_name=f"run{n}", file_id=i, run_number=n, **changes)
        for i, n in enumerate(numbers)
    ]


class Files:
    """Files that hold nothing but what they say of themselves."""

    def __init__(self) -> None:
        self.known: dict[Path, FileOverview] = {}

    def add(self, name, infos, *, layout="", generation="v0.34", n_rows=100, n_triggers=10) -> Path:
        self.known[Path(name)] = FileOverview(infos, n_rows, n_triggers, generation, layout)
        return Path(name)

    def group(self, files=None, **arguments) -> list[PilotGroup]:
        return group_files(list(self.known) if files is None else files, overview=self.read, **arguments)

    def read(self, path: Path) -> FileOverview:
        if path not in self.known:
            raise ProdconfError(f"{path}: cannot be read")
        return self.known[path]


@pytest.fixture
def files():
    return Files()


def names(group: PilotGroup) -> list[str]:
    return [path.name for path in group.files]


def write_events(path: Path, infos: list[FileInfo], *, n_rows: int = 6) -> Path:
    """Write a file in which every second use of each run triggers."""
    with ReducedEventWriter(path, telescopes=("LSTN-01",)) as writer:
        for info in infos:
            number = np.arange(n_rows)
            writer.add_file(info)
            pointing = {"azimuth": info.azimuth, "altitude": 90 - info.zenith}
            place = {"x_core": 1.0, "y_core": 2.0, **pointing}
            writer.add_showers(file_id=info.file_id, shower_id=number, event_id=number, energy=0.1, **place)
            half = {"shower_id": number[::2], "event_id": number[::2]}
            array = {f"array_{name}": value for name, value in pointing.items()}
            ones = np.ones((half["shower_id"].size, 1), dtype=np.uint64)
            writer.add_triggers(file_id=info.file_id, **half, **array, masks=ones)
    return path


# ---------------------------------------------------------------- places


def test_pointings_are_sorted_into_groups(files):
    places = [(40.0, 0.0, 0.24), (20.0, 180.0, 0.24), (20.0, 0.0, 0.24), (20.0, 0.0, 0.84), (20.02, 359.99, 0.24)]
    for i, (zenith, azimuth, nsb) in enumerate(places):
        files.add(f"{i}.hdf5", runs(i + 1, zenith=zenith, azimuth=azimuth, nsb_level=nsb))
    groups = files.group()
    assert sorted(map(names, groups[:3])) == [["0.hdf5"], ["1.hdf5"], ["2.hdf5", "4.hdf5"]]  # 359.99 deg is 0 deg
    assert names(groups[3]) == ["3.hdf5"]
    assert groups[2].point.zenith == 40.0
    assert all(group.notes == [] for group in groups)


def test_particles_and_layouts_stand_apart(files):
    for i, (particle, layout) in enumerate(itertools.product((1, 14), ("Alpha", "Beta"))):
        files.add(f"{i}.hdf5", runs(i, particle_id=particle), layout=layout)
    found = [(group.point.particle_id, group.point.layout, names(group)) for group in files.group()]
    assert found == [
        (1, "Alpha", ["0.hdf5"]),
        (1, "Beta", ["1.hdf5"]),
        (14, "Alpha", ["2.hdf5"]),
        (14, "Beta", ["3.hdf5"]),
    ]


def test_same_place_knows_the_circle_and_the_unknown():
    here = PilotPoint(20.0, 0.0, 0.24, 1)
    assert same_place(here, PilotPoint(20.0, 359.97, 0.241, 1))
    assert not same_place(here, PilotPoint(20.1, 0.0, 0.24, 1))
    assert not same_place(here, PilotPoint(20.0, 0.0, 0.25, 1))
    assert not same_place(here, PilotPoint(20.0, 0.0, None, 1))
    assert not same_place(here, PilotPoint(20.0, 0.0, 0.24, 14))
    assert same_place(PilotPoint(20.0, 0.0), PilotPoint(20.0, 0.0))
    assert same_place(here, PilotPoint(20.0, 0.0, 0.24, None, layout="Alpha"))
    assert not same_place(PilotPoint(20.0, 0.0, layout="Beta"), PilotPoint(20.0, 0.0, layout="Alpha"))
    assert not same_place(PilotPoint(20.0, 0.0, nsb_label="dark"), PilotPoint(20.0, 0.0, nsb_label="moon"))
    assert not same_place(PilotPoint(20.0, 0.0, nsb_label="dark"), PilotPoint(20.0, 0.0))


@given(st.permutations(range(7)))
def test_the_order_of_the_files_does_not_matter(order):
    files = Files()
    listed = [
        files.add("a.hdf5", runs(1), layout="Alpha"),
        files.add("b.hdf5", runs(2), n_rows=1000),
        files.add("c.hdf5", runs(3, particle_id=None), layout="Alpha"),
        files.add("d.hdf5", runs(4, particle_id=14), layout="Beta"),
        files.add("e.hdf5", runs(1, 5), layout="Alpha"),
        files.add("f.hdf5", runs(1, 5), generation="v0.35-0.36"),
        files.add("g.hdf5", runs(1, zenith=60.0)),
    ]
    # b could be Alpha or Beta only if the particles were the same: d throws protons.
    expected = files.group(sorted(listed))
    assert files.group([listed[i] for i in order]) == expected
    assert [names(group) for group in expected] == [["b.hdf5", "c.hdf5", "f.hdf5"], ["d.hdf5"], ["g.hdf5"]]


# ---------------------------------------------------------------- the sums that go with a group


def test_counts_and_running_numbers_are_those_of_the_events(tmp_path):
    paths = [
        write_events(tmp_path / name, runs(*numbers))
        for name, numbers in (("c.hdf5", (1,)), ("a.hdf5", (2, 3, 4)), ("b.hdf5", (5, 6)))
    ]
    (group,) = group_files(paths)
    assert names(group) == ["a.hdf5", "b.hdf5", "c.hdf5"]
    assert group.first_files == [0, 3, 5]
    assert (group.n_rows, group.n_triggers) == (36, 18)
    assert group.sources == {f"run{i}" for i in range(1, 7)}
    assert group.name == "a.hdf5"
    together = np.concatenate([chunk.file_id for chunk in iterate(group.files)])
    apart = [
        chunk.file_id + first
        for path, first in zip(group.files, group.first_files, strict=True)
        for chunk in iterate(path)
    ]
    assert np.concatenate(apart).tolist() == together.tolist()


def test_one_name_instead_of_a_list(tmp_path):
    path = write_events(tmp_path / "a.hdf5", runs(1))
    assert group_files(str(path)) == group_files([path]) == group_files([path, str(path)])


# ---------------------------------------------------------------- events that count twice


def test_a_source_counts_once(tmp_path):
    """The merged file holds what the single one holds as well."""
    single = write_events(tmp_path / "a_single.hdf5", runs(2))
    merged = write_events(tmp_path / "merged.hdf5", runs(1, 2, 3))
    (group,) = group_files([single, merged])
    assert group.files == [merged]
    assert group.notes == ["a_single.hdf5 was left out: run2 is in merged.hdf5 as well"]
    assert group.n_rows == 18


def test_a_file_that_shares_a_part_is_refused(files):
    files.add("a.hdf5", runs(1, 2, 3))
    files.add("b.hdf5", runs(3, 4))
    for skipped in (None, {}):
        with pytest.raises(ProdconfError, match=r"b.hdf5: shares run3, but not all of its sources, with a.hdf5"):
            files.group(skipped=skipped)


def test_a_file_in_parts_of_two_others_is_left_out(files):
    files.add("a.hdf5", runs(1, 2, 3))
    files.add("b.hdf5", runs(4, 5, 6))
    files.add("c.hdf5", runs(3, 4))
    (group,) = files.group()
    assert names(group) == ["a.hdf5", "b.hdf5"]
    assert group.notes == ["c.hdf5 was left out: run3 is in a.hdf5 as well"]


def test_one_name_at_two_places_is_no_copy(files):
    files.add("a.hdf5", runs(1))
    files.add("b.hdf5", runs(1, zenith=40.0))
    files.add("c.hdf5", runs(1, particle_id=14))
    assert len(files.group()) == 3


def test_one_name_thrown_differently_is_no_copy(files):
    files.add("point_like.hdf5", runs(1, viewcone_max=0.0))
    files.add("diffuse.hdf5", runs(1), n_rows=1000)
    with pytest.raises(
        ProdconfError, match=r"point_like.hdf5: throws other ranges .*viewcone 0 to 7 deg, and 0 to 0 deg"
    ):
        files.group()


def test_of_two_generations_the_newer_stays(files):
    files.add("a_old.hdf5", runs(1, spectral_index=None), generation="v0.34")
    files.add("new.hdf5", runs(1), generation="v0.35-0.36", layout="Alpha")
    (group,) = files.group()
    assert names(group) == ["new.hdf5"]


def write_run(path, name, seed, **changes):
    """Write a run whose showers depend on the seed."""
    rng = np.random.default_rng(seed)
    info = dataclasses.replace(POINT, file_name=name, **changes)
    with ReducedEventWriter(path, telescopes=("LSTN-01",)) as writer:
        number = np.arange(300)
        writer.add_file(info)
        place = {"x_core": rng.normal(size=300), "y_core": rng.normal(size=300), "azimuth": 30.0, "altitude": 70.0}
        writer.add_showers(file_id=0, shower_id=number, event_id=number, energy=rng.uniform(0.1, 1, 300), **place)
    return path


def test_a_renamed_copy_counts_once_and_other_runs_of_one_number_do_not(tmp_path):
    one = write_run(tmp_path / "a.hdf5", "run1", 1)
    copy = write_run(tmp_path / "b.hdf5", "elsewhere/renamed", 1)
    other_seed = write_run(tmp_path / "c.hdf5", "run1_b", 2)
    other_number = write_run(tmp_path / "d.hdf5", "run2", 3, run_number=2)
    (group,) = group_files([copy, one, other_seed, other_number])
    assert names(group) == ["a.hdf5", "c.hdf5", "d.hdf5"]
    assert group.notes == ["b.hdf5 was left out: renamed is in a.hdf5 as well, under the name run1"]
    assert group.n_rows == 900


def test_a_renamed_run_at_another_place_is_no_copy(tmp_path):
    one = write_run(tmp_path / "a.hdf5", "run1", 1)
    moved = write_run(tmp_path / "b.hdf5", "renamed", 1, nsb_level=0.84)
    assert len(group_files([one, moved])) == 2


def test_the_real_renamed_copy_counts_once(shared_data):
    folder = shared_data / "cases" / "same_file_twice"
    if not folder.is_dir():
        pytest.skip("the sample cases are not here")
    (group,) = group_files(sorted(folder.glob("*.hdf5")))
    assert (len(group.files), group.n_rows, group.n_triggers) == (1, 12_000, 65)
    assert len(group.notes) == 1


# ---------------------------------------------------------------- mixtures


def test_mixed_pointings_in_one_file_are_refused(files):
    files.add("mixed.hdf5", [*runs(1), *(dataclasses.replace(info, file_id=1) for info in runs(2, zenith=40.0))])
    with pytest.raises(ProdconfError, match=r"mixed.hdf5: table FILE_INFO mixes pointings.*zenith 20 deg.*zenith 40"):
        files.group()


def test_particles_mixed_with_an_unknown_one_first_are_refused(files):
    infos = [info for n, particle in enumerate((None, 1, 14)) for info in runs(n, particle_id=particle)]
    files.add("mixed.hdf5", infos)
    with pytest.raises(ProdconfError, match="mixes pointings, NSB levels or particles"):
        files.group()


THROWN_OTHERWISE = [
    {"core_scatter_max": 900.0},
    {"viewcone_max": 6.0},
    {"energy_min": 0.01},
    {"energy_max": 4.0},
    {"spectral_index": -2.5},
    {"spectral_index": None},
    {"core_scatter_max": None},
]


@pytest.mark.parametrize("changes", THROWN_OTHERWISE, ids=str)
def test_mixed_thrown_ranges_are_refused(files, changes):
    files.add("1.hdf5", runs(1))
    files.add("2.hdf5", runs(2, **changes))
    for skipped in (None, {}):
        with pytest.raises(ProdconfError, match="throws other ranges or another spectrum"):
            files.group(skipped=skipped)
    mixed = files.add("mixed.hdf5", [*runs(1), *(dataclasses.replace(info, file_id=1) for info in runs(2, **changes))])
    with pytest.raises(ProdconfError, match=r"mixed.hdf5: table FILE_INFO mixes thrown ranges"):
        files.group([mixed])


def test_the_jitter_of_single_precision_is_no_difference(files):
    files.add("1.hdf5", runs(1, energy_min=0.03, zenith=20.0))
    files.add("2.hdf5", runs(2, energy_min=float(np.float32(0.03)), zenith=20.000008))
    assert len(files.group()) == 1


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"energy_max": 0.0}, "energy_max"),
        ({"energy_max": np.inf}, "energy_max"),
        ({"energy_min": 0.0}, "energy_min"),
        ({"energy_min": 3.5}, "energy_min"),
        ({"energy_min": -1.0, "energy_max": None}, "energy_min"),
        ({"viewcone_max": 181.0}, "viewcone_max"),
        ({"viewcone_min": 8.0}, "viewcone_min"),
        ({"core_scatter_max": 0.0}, "core_scatter_max"),
        ({"core_scatter_min": 800.0}, "core_scatter_min"),
        ({"zenith": 90.0}, "zenith"),
        ({"zenith": -1.0}, "zenith"),
        ({"azimuth": np.inf}, "azimuth"),
        ({"nsb_level": 0.0}, "nsb_level"),
        ({"spectral_index": 2.0}, "spectral_index"),
    ],
)
def test_what_no_simulation_throws_is_refused(files, changes, column):
    files.add("odd.hdf5", runs(1, **changes))
    with pytest.raises(ProdconfError, match=rf"odd.hdf5: table FILE_INFO, column {column}: must"):
        files.group()


# ---------------------------------------------------------------- what is not known


def test_a_file_without_layout_joins_the_only_one_that_fits(files):
    files.add("a.hdf5", runs(1), n_rows=1000)
    files.add("b.hdf5", runs(2), layout="Alpha")
    files.add("c.hdf5", runs(3, particle_id=None), layout="Alpha")
    (group,) = files.group()
    assert names(group) == ["a.hdf5", "b.hdf5", "c.hdf5"]
    assert (group.point.layout, group.point.particle_id) == ("Alpha", 1)
    assert group.notes == [
        "particle_id of 1 of 3 files (first c.hdf5) is not known and taken to be 1",
        "layout of 1 of 3 files (first a.hdf5) is not known and taken to be Alpha",
    ]


def test_a_file_that_fits_two_layouts_is_refused(files):
    files.add("a.hdf5", runs(1), n_rows=1000)
    files.add("b.hdf5", runs(2), layout="Alpha")
    files.add("c.hdf5", runs(3), layout="Beta")
    with pytest.raises(
        ProdconfError, match=r"a.hdf5: its layout is not known, and could be Alpha as b.hdf5 or Beta as"
    ):
        files.group()
    skipped = {}
    assert [names(group) for group in files.group(skipped=skipped)] == [["b.hdf5"], ["c.hdf5"]]
    assert list(skipped) == [Path("a.hdf5")]


def test_files_that_all_do_not_know_are_one_group(files):
    for i in range(3):
        files.add(f"{i}.hdf5", runs(i, particle_id=None))
    (group,) = files.group()
    assert (group.notes, group.point.layout, group.point.particle_id) == ([], "", None)


def test_a_source_without_triggers_has_the_pointing_of_its_file(files):
    """As in v0.14-0.16, where the pointing is known from triggers only."""
    infos = [*runs(1, zenith=None, azimuth=None), *runs(2), *runs(3, zenith=None, azimuth=None)]
    files.add("old.hdf5", infos)
    (group,) = files.group()
    assert group.point.zenith == 20.0
    assert group.notes == [
        "pointing of simulation files without triggers in 1 of 1 files (first old.hdf5) is taken from the others "
        "in the file"
    ]


def test_a_file_that_does_not_know_its_pointing_is_refused(files):
    files.add("old.hdf5", runs(1, zenith=None))
    with pytest.raises(ProdconfError, match=r"old.hdf5: the pointing is not known.*taken from file names"):
        files.group()


# ---------------------------------------------------------------- bad files


def test_bad_files_are_listed_and_left_out(files, tmp_path):
    files.add("good.hdf5", runs(1))
    files.add("nowhere.hdf5", runs(2, zenith=None))
    listed = [*files.known, Path("missing.hdf5")]
    with pytest.raises(ProdconfError, match="the pointing is not known"):
        files.group(listed)
    skipped = {Path("before.hdf5"): "by the caller"}
    (group,) = files.group(listed, skipped=skipped)
    assert names(group) == ["good.hdf5"]
    assert [path.name for path in skipped] == ["before.hdf5", "nowhere.hdf5", "missing.hdf5"]
    assert "the pointing is not known" in skipped[Path("nowhere.hdf5")]


def test_real_bad_files_are_listed(tmp_path):
    good = write_events(tmp_path / "good.hdf5", runs(1))
    whole = good.read_bytes()
    bad = {"empty": b"", "text": b"not a file of events", "cut": whole[: len(whole) // 2]}
    for name, content in bad.items():
        (tmp_path / f"{name}.hdf5").write_bytes(content)
    (tmp_path / "folder.hdf5").mkdir()
    skipped = {}
    (group,) = group_files([*sorted(tmp_path.glob("*.hdf5")), tmp_path / "missing.hdf5"], skipped=skipped)
    assert group.files == [good]
    assert sorted(path.stem for path in skipped) == ["cut", "empty", "folder", "missing", "text"]
    for path, sentence in skipped.items():
        assert str(path) in sentence or path.name in sentence
        assert "\n" not in sentence


def test_nothing_left_is_an_error(files):
    with pytest.raises(ArgumentError, match=r"files: no file can be used \(none was given\)"):
        files.group([])
    skipped = {}
    with pytest.raises(ProdconfError, match=r"no file can be used \(missing.hdf5: cannot be read\)"):
        files.group([Path("missing.hdf5")], skipped=skipped)
    assert list(skipped) == [Path("missing.hdf5")]
    with pytest.raises(ProdconfError, match="files must be a path, got 3"):
        files.group([3])


# ---------------------------------------------------------------- file names


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("gamma_20deg_180deg_run000001___cta-prod6_desert-dark.simtel.zst", (1, 20.0, 180.0, "dark")),
        ("gamma_20deg_0deg_run1___cta-prod5-lapalma_moon.simtel.zst", (1, 20.0, 0.0, "moon")),
        ("electron_52.5deg_0deg_run1_half-moon_cone10.simtel.zst", (3, 52.5, 0.0, "halfmoon")),
        ("proton_run000202_za20deg_azm000deg_North_alpha_6.0.0_test_file.simtel.zst", (14, 20.0, 0.0, None)),
        ("run202_proton_za20deg_azm0deg_North_test_layout_test-prod.simtel.zst", (14, 20.0, 0.0, None)),
        ("gamma_diffuse_za60deg_azm180deg_full.hdf5", (1, 60.0, 180.0, "full")),
        ("gamma_full_array_za60deg.hdf5", (1, 60.0, None, None)),
        ("GAMMA_20DEG_180DEG_DARK.simtel", (1, 20.0, 180.0, "dark")),
        ("gammas_20degrees_darkness_protonium.hdf5", (None, None, None, None)),
        ("run000001.simtel.zst", (None, None, None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_what_names_say(name, facts):
    keys = ("particle_id", "zenith", "azimuth", "nsb_label")
    assert parse_file_name(name) == {key: value for key, value in zip(keys, facts, strict=True) if value is not None}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gamma_proton_20deg_0deg.hdf5", "must name one particle, names gamma and proton"),
        ("gamma_za20deg_za40deg.hdf5", "must name one zenith, names 20 and 40"),
        ("gamma_20deg_0deg_dark_moon.hdf5", "must name one nsb_label, names dark and moon"),
    ],
)
def test_a_name_that_says_two_things_is_refused(name, sentence):
    with pytest.raises(ProdconfError, match=sentence):
        parse_file_name(name)


def old(name: str) -> list[FileInfo]:
    return [FileInfo(name, 0)]


def test_names_fill_what_files_lack_and_the_group_says_so(files):
    files.add("a.hdf5", old("gamma_20deg_180deg_run1___cta-prod6_dark.simtel.zst"))
    files.add("b.hdf5", old("gamma_20deg_180deg_run2___cta-prod6_dark.simtel.zst"))
    files.add("c.hdf5", old("gamma_20deg_180deg_run3___cta-prod6_moon.simtel.zst"))
    with pytest.raises(ProdconfError, match="the pointing is not known"):
        files.group()
    dark, moon = files.group(from_names=True)
    assert (names(dark), names(moon)) == (["a.hdf5", "b.hdf5"], ["c.hdf5"])
    assert dark.point == PilotPoint(20.0, 180.0, particle_id=1, nsb_label="dark")
    assert dark.point.nsb_level is moon.point.nsb_level is None  # a word is never turned into a number
    assert moon.point.nsb_label == "moon"
    assert dark.notes == [
        f"{what} of 2 of 2 files (first a.hdf5) is from their names"
        for what in ("particle", "zenith", "azimuth", "night sky")
    ]


def test_what_the_file_holds_is_not_taken_from_its_name(files):
    (info,) = runs(1)
    files.add("a.hdf5", [dataclasses.replace(info, file_name="proton_60deg_180deg_run1_moon.simtel.zst")])
    (group,) = files.group(from_names=True)
    assert (group.point.zenith, group.point.particle_id, group.point.nsb_label) == (20.0, 1, "")
    assert group.notes == []


def test_the_event_file_speaks_where_the_simulation_file_does_not(files):
    files.add("proton_40deg_0deg_dark.hdf5", old("gamma_run1.simtel.zst"))
    (group,) = files.group(from_names=True)
    assert group.point == PilotPoint(40.0, 0.0, particle_id=1, nsb_label="dark")


def test_a_bad_name_is_a_bad_file(files):
    files.add("good.hdf5", runs(1))
    files.add("bad.hdf5", old("gamma_proton_20deg_0deg.simtel.zst"))
    skipped = {}
    files.group(from_names=True, skipped=skipped)
    assert "must name one particle" in skipped[Path("bad.hdf5")]


# ---------------------------------------------------------------- real files


def test_one_source_in_two_generations_counts_once(shared_data):
    folder = shared_data / "reduced_events"
    (group,) = group_files([folder / f"gamma_diffuse_za20deg_v0.{v}.hdf5" for v in (34, 36)])
    assert names(group) == ["gamma_diffuse_za20deg_v0.36.hdf5"]
    assert len(group.notes) == 1
    assert "v0.34.hdf5 was left out" in group.notes[0]
    assert (group.n_rows, group.n_triggers) == (300, 103)
    assert group.point.layout == "CTAO-North-Alpha"


def test_the_real_folder_is_sorted(shared_data):
    """Runs 201 and 202 of v0.16 and v0.17 hold one simulation; v0.32 holds another one under other names."""
    skipped = {}
    groups = group_files(sorted((shared_data / "reduced_events").glob("*.hdf5")), skipped=skipped)
    assert [path.name for path in skipped] == ["gamma_diffuse_za20deg_v0.36.trigger_histograms.hdf5"]
    assert [(g.point.nsb_level, g.point.particle_id, len(g.files), g.n_triggers) for g in groups] == [
        (None, None, 1, 7),
        (pytest.approx(0.2405, abs=1e-4), 1, 1, 103),
        (1.0, 14, 2, 15),
    ]
    assert groups[2].first_files == [0, 2]


def test_names_complete_the_real_old_file(shared_data):
    (group,) = group_files(shared_data / "reduced_events" / "run202_proton_za20deg_v0.16.hdf5", from_names=True)
    assert group.point.particle_id == 14
    assert group.notes == ["particle of 1 of 1 files (first run202_proton_za20deg_v0.16.hdf5) is from their names"]


# ---------------------------------------------------------------- what a file says twice


def pointed(path, zenith, azimuth, *, altitude=70.0, array_azimuth=0.0):
    """Write a file whose FILE_INFO and triggers may disagree."""
    number = np.arange(4)
    point = {"zenith": 20.0 if zenith is None else zenith, "azimuth": 0.0 if azimuth is None else azimuth}
    with ReducedEventWriter(path, telescopes=("LSTN-01",)) as writer:
        writer.add_file(dataclasses.replace(POINT, **point))
        key = {"file_id": 0, "shower_id": number, "event_id": number}
        writer.add_showers(**key, energy=0.1, x_core=1.0, y_core=2.0, azimuth=0.0, altitude=70.0)
        array = {"array_altitude": altitude, "array_azimuth": array_azimuth}
        writer.add_triggers(**key, **array, masks=np.ones((4, 1), dtype=np.uint64))
    with h5py.File(path, "r+") as file:
        stored = file["FILE_INFO"][:]
        for name, value in (("zenith", zenith), ("azimuth", azimuth)):
            stored[name] = np.nan if value is None else stored[name]
        file["FILE_INFO"][:] = stored
    return path


@pytest.mark.parametrize("look", [lambda path: group_files([path]), inspect_file, read_overview])
def test_a_pointing_that_the_triggers_contradict_is_refused(tmp_path, look):
    path = pointed(tmp_path / "a.hdf5", 60.0, 90.0)
    words = "FILE_INFO says zenith 60 deg, azimuth 90 deg of run1, its TRIGGERS say zenith 20 deg, azimuth 0 deg"
    with pytest.raises(FileError, match=words):
        look(path)


@pytest.mark.parametrize(("zenith", "azimuth"), [(None, None), (20.0, None), (None, 0.0), (20.0, 360.0), (20.2, 0.5)])
def test_the_triggers_point_where_file_info_is_silent(tmp_path, zenith, azimuth):
    (group,) = group_files([pointed(tmp_path / "a.hdf5", zenith, azimuth)])
    expected = (20.0 if zenith is None else zenith, (azimuth or 0.0) % 360)
    assert (group.point.zenith, group.point.azimuth) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("column", "value"), [("energy_max", 1e31), ("azimuth", 1e20), ("nsb_level", 1e200)])
@pytest.mark.parametrize("look", [lambda path: group_files([path]), inspect_file])
def test_what_no_file_can_say_is_refused_in_every_look(tmp_path, look, column, value):
    path = pointed(tmp_path / "a.hdf5", 20.0, 0.0)
    with h5py.File(path, "r+") as file:
        stored = file["FILE_INFO"][:]
        stored[column] = value
        file["FILE_INFO"][:] = stored
        del file["TRIGGERS"]
    with pytest.raises(FileError, match=column):
        look(path)
