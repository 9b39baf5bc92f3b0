"""What a file is said to be."""

import pytest
from astropy.io import fits

from prodconf.core.errors import ProdconfError
from prodconf.events.report import inspect_file


def test_files_of_others_are_called_by_what_they_are(tmp_path, shared_data):
    """Of ctapipe and sim_telarray the real ones, of GADF its tables; what is read is said."""
    fits.HDUList([fits.PrimaryHDU(), *(fits.BinTableHDU(name=name) for name in ("EVENTS", "GTI"))]).writeto(
        tmp_path / "dl3.fits"
    )
    kinds = {
        tmp_path / "dl3.fits": "list of events as of GADF",
        shared_data / "ctapipe/gamma_prod6_6events.dl2.h5": "as files of ctapipe do",
        shared_data / "eventio/lst_with_photons.simtel.zst": "is one of sim_telarray",
    }
    for path, words in kinds.items():
        with pytest.raises(ProdconfError, match=rf"{words}.*; read are reduced events"):
            inspect_file(path)
