"""The sorts of failures: what each is, and that it comes back whole from another process."""

import pickle

import pytest

from prodconf.core.errors import ArgumentError, FileError, MissingFileError, OutsideError, ProdconfError
from prodconf.core.files import atomic_folder
from prodconf.formulas.loss_tails import CapacityError


@pytest.mark.parametrize(
    "error",
    [
        ProdconfError("a"),
        ArgumentError("a must be b, got c"),
        OutsideError("energy lies beyond the pilots"),
        FileError("run7.hdf5", "has no table SHOWERS"),
        MissingFileError("run8.hdf5", "does not exist"),
        CapacityError("capacity must be at least 7", 7),
    ],
)
def test_every_failure_is_a_value_error_that_travels(error):
    back = pickle.loads(pickle.dumps(error))
    assert isinstance(back, ValueError)
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_a_missing_file_is_the_systems_own_error_too():
    with pytest.raises(FileNotFoundError, match=r"^run8.hdf5: does not exist$"):
        raise MissingFileError("run8.hdf5", "does not exist")


@pytest.mark.parametrize("made", [lambda path: FileError(path, "is empty"), lambda path: ProdconfError(f"{path}: b")])
def test_errors_of_an_unfinished_folder_name_the_final_one(tmp_path, made):
    with pytest.raises(ProdconfError) as caught, atomic_folder(tmp_path / "plan") as temporary:
        raise made(temporary / "grid.ecsv")
    assert str(caught.value).startswith(str(tmp_path / "plan" / "grid.ecsv"))
