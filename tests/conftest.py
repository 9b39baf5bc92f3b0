"""Where the real sample files are; what is not there is skipped with a reason."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real sample files, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real sample files (../shared/data) are not here")
    return SHARED
