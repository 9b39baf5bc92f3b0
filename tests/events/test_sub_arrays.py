"""Sub-arrays against sets of telescopes, real files, the predecessor's YAML, and what people write by mistake."""

import pickle
from collections import Counter

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.events.sub_arrays import (
    SubArray,
    absence,
    parse_sub_array,
    read_sub_arrays,
    require_sub_arrays,
    telescope_type,
)

NAMES = tuple(f"{kind}-{i:02d}" for kind in ("LSTS", "MSTS", "SSTS") for i in range(1, 51))


def masks_of(events: list[set[str]], telescopes: tuple[str, ...], n_words: int | None = None) -> np.ndarray:
    """Set one bit per telescope with Python's integers."""
    n_words = n_words or max(1, -(-len(telescopes) // 64))
    values = [sum(1 << telescopes.index(name) for name in seen) for seen in events]
    return np.array(
        [[value >> 64 * word & (1 << 64) - 1 for word in range(n_words)] for value in values], dtype=np.uint64
    ).reshape(len(events), n_words)


def kept(sub_array: SubArray, seen: set[str], telescopes: tuple[str, ...]) -> bool:
    """Apply the rule in words: count by type, drop the types below their minimum, compare the sum."""
    members = set(telescopes if sub_array.telescopes is None else sub_array.telescopes)
    listed = {name: kind for kind, names in (sub_array.types or {}).items() for name in names}
    numbers = Counter(
        listed.get(name) or (name.split("-")[0] if "-" in name else None) for name in seen if name in members
    )
    return sum(n for kind, n in numbers.items() if n >= sub_array.stereo.get(kind, 1)) >= sub_array.multiplicity


# ---------------------------------------------------------------- selection


@st.composite
def cases(draw):
    """A sub-array that can be reached, the telescopes of a file, and events."""
    telescopes = tuple(draw(st.permutations(NAMES)))[: draw(st.sampled_from([1, 5, 63, 64, 65, 128, 150]))]
    chosen = draw(st.none() | st.lists(st.sampled_from(NAMES), min_size=1, max_size=40, unique=True))
    of_type = Counter(name[:4] for name in (chosen or NAMES))
    stereo = {kind: draw(st.integers(1, n)) for kind, n in sorted(of_type.items()) if draw(st.booleans())}
    multiplicity = draw(st.integers(1, min(8, len(chosen or NAMES))))
    events = draw(st.lists(st.sets(st.sampled_from(telescopes), max_size=12), max_size=20))
    return SubArray("one", chosen and tuple(chosen), multiplicity, stereo), telescopes, events


@given(cases())
def test_the_selection_is_that_of_sets(case):
    sub_array, telescopes, events = case
    selected = sub_array.selector(telescopes)(masks_of(events, telescopes))
    assert selected.dtype == bool
    assert selected.tolist() == [kept(sub_array, seen, telescopes) for seen in events]


def test_a_lone_large_telescope_does_not_count():
    """One large and one medium telescope are no event of a stereo sub-array of two."""
    members = ("LSTN-01", "LSTN-02", "MSTN-01", "MSTN-02")
    events = [
        {"LSTN-01"},
        {"LSTN-01", "LSTN-02"},
        {"LSTN-01", "MSTN-01"},
        {"MSTN-01", "MSTN-02"},
        {"LSTN-01", "LSTN-09"},
    ]
    telescopes = (*members, "LSTN-09")
    masks = masks_of(events, telescopes)
    plain, stereo = SubArray("a", members, 2), SubArray("b", members, 2, stereo={"LSTN": 2})
    assert plain.selector(telescopes)(masks).tolist() == [False, True, True, True, False]
    assert stereo.selector(telescopes)(masks).tolist() == [False, True, False, True, False]
    single = SubArray("c", ("LSTN-01", "LSTN-02"), 1, stereo={"LSTN": 2})
    assert single.selector(telescopes)(masks).tolist() == [False, True, False, False, False]


def test_types_are_letters_or_listed():
    assert [telescope_type(name) for name in ("LSTN-01", "MSTS-114", "7", "LSTN", "A1-2")] == [
        "LSTN",
        "MSTS",
        "",
        "",
        "",
    ]
    assert telescope_type("7", {"LSTN": ("7",)}) == "LSTN"
    assert telescope_type("MSTN-01", {"large": ("MSTN-01",)}) == "large"
    by_number = SubArray("n", ("1", "2", "5"), 1, stereo={"LSTN": 2}, types={"LSTN": ("1", "2")})
    telescopes = ("1", "2", "5", "6")
    events = [{"1"}, {"1", "2"}, {"5"}, {"1", "6"}]
    assert by_number.selector(telescopes)(masks_of(events, telescopes)).tolist() == [False, True, True, False]


def test_masks_may_be_narrower_but_not_wider_than_the_telescopes():
    selector = SubArray("one", (NAMES[0], NAMES[100]), 1).selector(NAMES)
    narrow = masks_of([{NAMES[0]}, {NAMES[1]}], NAMES[:64])
    assert selector(narrow).tolist() == [True, False]
    few = SubArray("one", (NAMES[0],), 1).selector(NAMES[:64])
    with pytest.raises(ProdconfError, match=r"masks must have shape \(n, 1\) for 64 telescopes, got \(1, 3\)"):
        few(masks_of([{NAMES[0]}], NAMES))


def test_no_telescope_and_no_event():
    assert SubArray("all").selector(())(np.zeros((0, 1), dtype=np.uint64)).tolist() == []
    assert SubArray("none", ("LSTN-07",)).selector(NAMES)(masks_of([{NAMES[0]}], NAMES)).tolist() == [False]
    assert SubArray("all").selector(NAMES)(np.zeros((2, 3), dtype=np.uint64)).tolist() == [False, False]


def test_a_multiplicity_beyond_a_byte_is_counted():
    many = tuple(f"T-{i}" for i in range(700))
    masks = masks_of([set(many), set(many[:299])], many)
    assert SubArray("all", None, 300).selector(many)(masks).tolist() == [True, False]


def test_real_events_keep_their_stereo_rule(shared_data):
    """The file of 13 telescopes: what the text of each trigger says, telescope by telescope."""
    with h5py.File(shared_data / "reduced_events" / "gamma_diffuse_za20deg_v0.36.hdf5") as file:
        triggers = file["TRIGGERS"][:]
    events = [set(text.decode().split(",")) for text in triggers["telescope_list"]]
    telescopes = tuple(sorted(set().union(*events)))
    masks = masks_of(events, telescopes)
    large = tuple(name for name in telescopes if name.startswith("LSTN"))
    for sub_array in (
        SubArray("large in stereo", large, 1, stereo={"LSTN": 2}),
        SubArray("all in stereo", None, 2, stereo={"LSTN": 2}),
        SubArray("two large", large[:2], 2),
    ):
        selected = sub_array.selector(telescopes)(masks)
        assert selected.tolist() == [kept(sub_array, seen, telescopes) for seen in events]
    assert all(len(seen & set(large)) != 1 for seen in events)  # the simulated array had the rule already
    three = (*large[:2], "MSTN-03")  # six events hold one of the pair, its partner elsewhere, and the medium telescope
    plain, stereo = (SubArray("three", three, 2, rule).selector(telescopes)(masks) for rule in ({}, {"LSTN": 2}))
    lost = plain & ~stereo
    assert lost.sum() == sum(len(seen & set(large[:2])) == 1 and "MSTN-03" in seen for seen in events) == 6


# ---------------------------------------------------------------- records


def test_a_sub_array_is_a_plain_record():
    one = SubArray("a b", ["LSTN-01", 2, " 03 "], np.int64(2), {"LSTN": 1})
    assert one == SubArray("a b", ("LSTN-01", "2", "3"), 2, {"LSTN": 1})
    assert hash(one) == hash(SubArray("a b", ("LSTN-01", "2", "3"), 2))
    assert pickle.loads(pickle.dumps(one)) == one
    assert SubArray("all").telescopes is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"telescopes": ("LSTN-01",), "multiplicity": 2}, r"multiplicity must not exceed .* \(1\), got 2"),
        ({"telescopes": ("1", "2"), "multiplicity": 3}, r"multiplicity must not exceed .* \(2\), got 3"),
        ({"multiplicity": True}, "multiplicity must be one number, got True"),
        ({"multiplicity": 0}, "multiplicity must be a whole number from 1 to 65535, got 0"),
        ({"multiplicity": 2.5}, "multiplicity must be a whole number .* got 2.5"),
        ({"telescopes": ()}, "telescopes must name at least one telescope"),
        ({"telescopes": "LSTN-01"}, "telescopes must be a list of names or ids, got 'LSTN-01'"),
        ({"telescopes": 7}, "telescopes must be a list of names or ids, got 7"),
        ({"telescopes": {"LSTN-01": 1}}, "telescopes must be a list"),
        ({"telescopes": ("LSTN-01", "LSTN-01")}, "must name each telescope once, got LSTN-01 2 times"),
        ({"telescopes": (1, "1")}, "must name each telescope once, got 1 2 times"),
        ({"telescopes": (1, True)}, "ids such as 1, got True"),
        ({"telescopes": (-1,)}, "ids such as 1, got -1"),
        ({"telescopes": (1.0,)}, "ids such as 1, got 1.0"),
        ({"telescopes": (None,)}, "ids such as 1, got None"),
        ({"telescopes": ("LSTN-01,LSTN-02",)}, "got 'LSTN-01,LSTN-02'"),
        ({"telescopes": ("LSTN 01",)}, "got 'LSTN 01'"),
        ({"stereo": {"LSTN": True}}, "stereo: LSTN must be one number, got True"),
        ({"stereo": {"LSTN": 0}}, "stereo: LSTN must be a whole number from 1 to 65535, got 0"),
        ({"stereo": 2}, "stereo must be a mapping of types such as LSTN, got 2"),
        ({"stereo": {1: 2}}, r"stereo: a type must be a printable text .* got 1 \(quote it\)"),
        ({"telescopes": ("LSTN-01", "LSTN-02"), "stereo": {"LST": 2}}, r"types of its telescopes \(LSTN\), got 'LST'"),
        ({"telescopes": ("LSTN-01",), "stereo": {"LSTN": 2}}, "at most 0 of its telescopes can count"),
        (
            {"telescopes": ("LSTN-01", "MSTN-01"), "stereo": {"LSTN": 2}, "multiplicity": 2},
            "at most 1 of its telescopes can count",
        ),
        ({"types": {"LSTN": ["1"], "MSTN": ["1"]}}, "must give each telescope one type, got 1 2 times"),
        ({"types": {"LSTN": []}}, "types: LSTN must name at least one telescope"),
        ({"types": ["LSTN"]}, "types must be a mapping"),
        ({"name": ""}, "name must be a printable text .* got ''"),
        ({"name": "a "}, "name must be a printable text without blanks at its ends, got 'a '"),
        ({"name": "a\nb"}, "name must be a printable text"),
        ({"name": None}, "name must be a printable text .* got None"),
    ],
)
def test_a_wrong_sub_array_is_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(ProdconfError, match=sentence) as caught:
        SubArray(**{"name": "stage 1", **arguments})
    assert "\n" not in str(caught.value)
    if "name" not in arguments:
        assert str(caught.value).startswith("sub-array 'stage 1': ")


def test_a_stereo_minimum_waits_for_the_name_of_an_id():
    one = SubArray("by id", ("1", "2"), 1, stereo={"LSTN": 2})
    names = {"1": "LSTN-01", "2": "LSTN-02", "5": "MSTN-01", "6": "MSTN-02"}
    assert one.renamed(names) == SubArray("by id", ("LSTN-01", "LSTN-02"), 1, stereo={"LSTN": 2})
    with pytest.raises(ProdconfError, match=r"types of its telescopes \(MSTN\), got 'LSTN'"):
        SubArray("by id", ("5", "6"), 1, stereo={"LSTN": 2}).renamed(names)


def test_ids_become_names_also_in_types():
    one = SubArray("mixed", ("1", "MSTN-01"), types={"large": ("1", "9")})
    renamed = one.renamed({"1": "LSTN-01"})
    assert renamed.telescopes == ("LSTN-01", "MSTN-01")
    assert renamed.types == {"large": ("LSTN-01", "9")}
    assert SubArray("all").renamed({"1": "LSTN-01"}) == SubArray("all")
    with pytest.raises(ProdconfError, match="must name each telescope once, got LSTN-01 2 times"):
        SubArray("twice", ("1", "LSTN-01")).renamed({"1": "LSTN-01"})


def test_what_no_file_holds_is_told():
    telescopes = ("LSTN-01", "MSTN-01")
    one = SubArray("s", ("LSTN-01", "10", "9", "MSTN-07"), stereo={"LSTN": 1, "MSTN": 1})
    assert one.absent(telescopes) == ["9", "10", "MSTN-07", "type MSTN"]
    assert SubArray("s", ("LSTN-01",)).absent(telescopes) == []
    assert SubArray("s", None, stereo={"LST": 2}).absent(telescopes) == ["type LST"]
    assert "'s': no event holds 9, 10, MSTN-07, type MSTN (files hold LSTN-01, MSTN-01)" in absence(one, telescopes)
    assert absence(SubArray("s", ("LSTN-01",)), telescopes) == ""
    assert "multiplicity 3 is more than the 2 telescopes" in absence(SubArray("s", None, 3), telescopes)
    assert "files hold none" in absence(SubArray("s", ("1",)), ())


def test_where_ids_and_names_do_not_meet_the_way_out_is_told():
    named, numbered = ("LSTN-01", "MSTN-01"), ("2", "1", "10")
    assert absence(SubArray("s", ("1", "2")), named).endswith("hold no such ids, so give names")
    # one id found its name: the other is a telescope that did not trigger
    assert absence(SubArray("s", ("1", "2")).renamed({"1": "LSTN-01"}), named).endswith("MSTN-01)")
    assert absence(SubArray("s", ("3",)), numbered).endswith("no event holds 3 (files hold 1, 2, 10)")
    stereo = SubArray("s", None, 2, stereo={"LSTN": 2})
    assert absence(stereo, numbered).endswith("known by number has no type, so a stereo minimum needs types")
    assert absence(SubArray("s", None, 2, stereo={"LSTN": 2}, types={"LSTN": ("1", "2")}), numbered) == ""


def test_several_sub_arrays_have_several_names():
    pair = [SubArray("a"), SubArray("b")]
    assert require_sub_arrays(iter(pair)) == pair
    for wrong, sentence in (
        ([], "at least one"),
        ([SubArray("a"), SubArray("a", ("1",))], "different names, got a 2 times"),
        (SubArray("a"), "must be a list of SubArray, got SubArray"),
        ({"a": (None, 1)}, "must be a list of SubArray, got dict"),
        (["a"], "must be a list of SubArray, got 'a'"),
        (None, "must be a list of SubArray, got NoneType"),
    ):
        with pytest.raises(ProdconfError, match=sentence):
            require_sub_arrays(wrong)


# ---------------------------------------------------------------- YAML


def test_the_file_of_the_predecessor_loads_unchanged(shared_data):
    full, single, most = read_sub_arrays(shared_data / "configuration" / "telescope_ids_v0.16.yml")
    assert full == SubArray("full")
    assert single == SubArray("LST 1", ("1",))
    assert most == SubArray("LST 1-4 MST 1-15", tuple(str(i) for i in range(1, 20)))


def write(tmp_path, text):
    path = tmp_path / "sub_arrays.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_and_the_long_form(tmp_path):
    text = """
telescope_configs:
  named: [LSTN-01, MSTN-03]
  everything: all
  long: {telescopes: [1, 2, "03"], multiplicity: 2, stereo: {LSTN: 2}}
  everything, long: {telescopes: all, stereo: {LSTN: 2}}
  empty, long: {telescopes: [], multiplicity: 3}
types: {LSTN: [1, 2]}
"""
    types = {"LSTN": ("1", "2")}
    assert read_sub_arrays(write(tmp_path, text)) == [
        SubArray("named", ("LSTN-01", "MSTN-03"), types=types),
        SubArray("everything", types=types),
        SubArray("long", ("1", "2", "3"), 2, {"LSTN": 2}, types),
        SubArray("everything, long", None, 1, {"LSTN": 2}, types),
        SubArray("empty, long", None, 3, types=types),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("[1, 2]", "must be a mapping"),
        ("full: []", "unknown key full"),
        ("telescope_configs:", "must be a mapping .* got None"),
        ("telescope_configs: {}", "must name at least one sub-array"),
        ("telescope_configs: [1]", "must be a mapping"),
        ("telescope_configs: {a: [1]}\nstereo: {LSTN: 2}", "unknown key stereo"),
        ("telescope_configs: {a: }", "a.telescopes: must be a list .* got None"),
        ("telescope_configs: {a: 1}", "a.telescopes: must be a list .* got 1"),
        ("telescope_configs: {a: yes}", "a.telescopes: must be a list .* got True"),
        ("telescope_configs: {a: LSTN-01}", "a.telescopes: must be a list .* got 'LSTN-01'"),
        ("telescope_configs: {a: [on]}", "got True .YAML reads words such as yes"),
        ("telescope_configs: {a: [[1]]}", r"got \[1\]"),
        ("telescope_configs: {a: [2026-11-22]}", "ids such as 1, got datetime"),
        ("telescope_configs: {a: [1, 1]}", "each telescope once, got 1 2 times"),
        ("telescope_configs: {a: [1], a: [2]}", "a stands twice"),
        ("telescope_configs: {' a': [2]}", "name must be a printable text without blanks"),
        ("telescope_configs: {no: [1]}", "name must be a printable text"),
        ("telescope_configs: {4: [1]}", "name must be a printable text"),
        ("telescope_configs: {a: {multiplicity: 2}}", "a.telescopes is missing"),
        ("telescope_configs: {a: {telescopes: , multiplicity: 2}}", "a.telescopes: must be a list"),
        (
            "telescope_configs: {a: {telescopes: [1], multiplicities: 2}}",
            "unknown key telescope_configs.a.multiplicities",
        ),
        ("telescope_configs: {a: {telescopes: [1], multiplicity: yes}}", "must be one number, got True"),
        ("telescope_configs: {a: {telescopes: [1], multiplicity: 2}}", r"must not exceed .* \(1\), got 2"),
        ("telescope_configs: {a: {telescopes: all, stereo: }}", "stereo must be a mapping"),
        ("telescope_configs: {a: {telescopes: all, stereo: {LSTN: on}}}", "must be one number, got True"),
        ("telescope_configs: {a: []}\ntypes: [1]", "types: must be a mapping"),
        ("telescope_configs: {a: []}\ntypes:", "types: must be a mapping .* got None"),
        ("telescope_configs: {a: []}\ntypes: {LSTN: [1], MSTN: [1]}", "types must give each telescope one type"),
        ("telescope_configs: {a: [1", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, text, sentence):
    path = write(tmp_path, text)
    with pytest.raises(ProdconfError, match=sentence) as caught:
        read_sub_arrays(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ProdconfError, match="cannot be read"):
        read_sub_arrays(tmp_path / "missing.yml")


# ---------------------------------------------------------------- command line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", SubArray("all")),
        ("everything=all", SubArray("everything")),
        ("LSTN-01,LSTN-02", SubArray("LSTN-01,LSTN-02", ("LSTN-01", "LSTN-02"))),
        ("pair=LSTN-01, LSTN-02", SubArray("pair", ("LSTN-01", "LSTN-02"))),
        ("1,2", SubArray("1,2", ("1", "2"))),
        ("LST 1-2 = 1,2", SubArray("LST 1-2", ("1", "2"))),
    ],
)
def test_one_word_is_one_sub_array(text, expected):
    assert parse_sub_array(text) == expected


@pytest.mark.parametrize("text", ["", "=", "pair=", "=LSTN-01", "a=1,,2", "a=1,1", "a=b=c,d e", "a=all,1\n2", None, 3])
def test_a_wrong_word_is_refused(text):
    with pytest.raises(ProdconfError, match="sub-array"):
        parse_sub_array(text)


def test_an_id_of_many_digits_is_refused():
    with pytest.raises(ProdconfError, match="at most 9 digits, got one of 5000"):
        SubArray("a", ("9" * 5000,))
