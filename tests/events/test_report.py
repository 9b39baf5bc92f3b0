"""What a file is said to be."""

import h5py
import pytest
from astropy.io import fits

from prodconf.core.errors import ProdconfError
from prodconf.events.report import inspect_file


def test_files_of_others_are_called_by_what_they_are(tmp_path):
    """What is read is said."""
    tables = [fits.BinTableHDU(name=name) for name in ("EVENTS", "GTI")]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "dl3.fits")
    with h5py.File(tmp_path / "dl2.h5", "w") as file:
        file.create_group("dl2/event")
    (tmp_path / "run.simtel").write_bytes(b"\x37\x8a\x1f\xd4" + bytes(100))
    kinds = {"dl3.fits": "list of events as of GADF", "dl2.h5": "as files of ctapipe do", "run.simtel": "sim_telarray"}
    for name, words in kinds.items():
        with pytest.raises(ProdconfError, match=rf"{words}.*; read are reduced events"):
            inspect_file(tmp_path / name)


def test_real_files_of_others_are_called_by_what_they_are(shared_data):
    kinds = {
        shared_data / "ctapipe/gamma_prod6_6events.dl2.h5": "as files of ctapipe do",
        shared_data / "eventio/lst_with_photons.simtel.zst": "is one of sim_telarray",
    }
    for path, words in kinds.items():
        with pytest.raises(ProdconfError, match=rf"{words}.*; read are reduced events"):
            inspect_file(path)
