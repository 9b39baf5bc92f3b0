"""Configuration: every problem at once, one line each, and files that are no YAML."""

from pathlib import Path

import pytest

from prodconf.core.configuration import Energy, Length, SpectralIndex, Strict, load_yaml, to_unit, validate
from prodconf.core.errors import FileError, MissingFileError, ProdconfError


class Inner(Strict):
    radius: Length
    names: list[str] | str = ()


class Outer(Strict):
    energy_min: Energy
    energy_max: Energy
    inner: Inner | None = None


def problems(data):
    with pytest.raises(ProdconfError) as caught:
        validate(Outer, data, source="plan.yml")
    return str(caught.value).splitlines()


def test_all_problems_are_told_at_once():
    assert problems({"energie_min": "1 TeV", "energy_max": 3, "inner": {"radius": "1 TeV"}}) == [
        "plan.yml: unknown key energie_min (did you mean energy_min?)",
        'plan.yml: energy_max: needs a unit, as in "0.04 TeV" or {value: 0.04, unit: TeV}, got 3',
        "plan.yml: inner.radius: must have a unit convertible to m, got '1 TeV'",
    ]
    assert problems({}) == ["plan.yml: energy_min is missing", "plan.yml: energy_max is missing"]
    assert problems([1]) == ["plan.yml: must be a mapping of keys to values, got [1]"]


def test_one_line_for_a_value_that_may_be_several_things():
    good = {"energy_min": "1 TeV", "energy_max": "2 TeV"}
    assert len(problems(good | {"inner": {"radius": "1 m", "names": [1, 2]}})) == 1
    assert problems(good | {"inner": {"radius": "1 m", "zzz": 1}}) == ["plan.yml: unknown key inner.zzz"]


def test_many_problems_are_cut_short():
    lines = problems({f"{letter}{letter}": 1 for letter in "bcdfghjkmnpqrs"})
    assert len(lines) == 11
    assert lines[-1] == "plan.yml: and 6 more"


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(MissingFileError, match="cannot be read") as caught:
        load_yaml(tmp_path / "nowhere.yml")
    assert caught.value.path == tmp_path / "nowhere.yml"
    for text, words in (
        (b"", "is empty"),
        (b"\xff\xfe", "is not a text file"),
        (b"a: [", "is not valid YAML at line 1"),
    ):
        path = tmp_path / "plan.yml"
        path.write_bytes(text)
        with pytest.raises(FileError, match=words):
            load_yaml(path)


def test_the_keys_that_name_a_schema_are_accepted_in_every_file(tmp_path):
    words = "schema_name: any.metaschema\nschema_version: 0.1.0\nschema_url: https://example.org/any.yml\n"
    path = tmp_path / "file.yml"
    path.write_text(words + "energy_min: 1 TeV\nenergy_max: 2 TeV\n")
    assert load_yaml(path) == {"energy_min": "1 TeV", "energy_max": "2 TeV"}
    named = {"schema_name": "any", "schema_version": "0.1.0", "energy_min": "1 TeV", "energy_max": "2 TeV"}
    assert validate(Outer, named, source="plan.yml").energy_max == 2.0


@pytest.mark.parametrize("value", [{"value": 0.02, "unit": "dimensionless"}, "0.02 dimensionless"])
def test_what_has_no_unit_may_say_so(value):
    assert to_unit(value, "") == 0.02


@pytest.mark.parametrize("wrong", [-2, 0, 20, True, "2", float("nan"), None])
def test_a_spectral_index_is_positive(wrong):
    class Thrown(Strict):
        index: SpectralIndex

    assert validate(Thrown, {"index": 2}, source="x").index == 2.0
    with pytest.raises(ProdconfError, match="x: index"):
        validate(Thrown, {"index": wrong}, source="x")


@pytest.mark.parametrize(
    "value", ["1:59:59", "1:59:59.5", "1_300", "1_300.5", "9" * 400, "!!set [a, b]", "!!set {a, b}"]
)
def test_what_only_yaml_takes_for_a_number_is_refused_in_one_short_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "odd.yml"
    path.write_text(f"zenith: {value}\n")
    with pytest.raises(FileError, match="is not valid YAML at line 1") as told:
        load_yaml(path)
    assert len(str(told.value)) - len(str(path)) < 200
    path.write_text("text: '1:59:59'\nn: 1300\nx: 1.5e+3\n")
    assert load_yaml(path) == {"text": "1:59:59", "n": 1300, "x": 1500.0}


def test_a_file_too_large_for_a_configuration_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    path.write_text("a: " + "x" * 20_000_000)
    with pytest.raises(FileError, match="has 20000003 bytes"):
        load_yaml(path)


@pytest.mark.parametrize("value", [True, "1_300", "１３", [1.0, True], {"a": True}])
def test_what_python_alone_takes_for_a_number_is_none(value):
    class Place(Strict):
        level: float | list[float] | dict[str, float] | None = None
        name: str = ""
        shared: bool = False

    with pytest.raises(ProdconfError, match="level: must be a plain number"):
        validate(Place, {"level": value}, source="plan.yml")
    assert validate(Place, {"level": [1, 2.5], "name": "1_300", "shared": True}, source="").level == [1.0, 2.5]


@pytest.mark.parametrize("text", ["１３ m", "1_300 m", "1.0_5 m"])
def test_the_number_of_a_quantity_is_plain(text):
    with pytest.raises(ValueError, match="plain number"):
        to_unit(text, "m")
