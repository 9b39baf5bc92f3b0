"""What several tests share: the real sample files (skipped where absent), the embedded sample, the command line."""

import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import settings

from prodconf.core.errors import ProdconfWarning

settings.register_profile("short", parent=settings.default, max_examples=40, deadline=None)
settings.register_profile("long", max_examples=1000, deadline=None)  # pytest --hypothesis-profile=long
settings.load_profile("short")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real sample files, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real sample files (../shared/data) are not here")
    return SHARED


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory):
    """Files of the small embedded sample; not to be changed."""
    from prodconf.toys.sample import write_sample

    return write_sample(tmp_path_factory.mktemp("sample") / "pilots", size="small")


@pytest.fixture(scope="session")
def small_plan(small_sample, tmp_path_factory):
    """Plan of the small sample, and the folder it was written to; not to be changed."""
    from prodconf.plan.main_job import plan_production

    folder = tmp_path_factory.mktemp("plan") / "plan"
    return plan_production(small_sample.configuration, folder), folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the program; return exit status, standard output and standard error."""

    def call(*arguments):
        from prodconf import command_line

        monkeypatch.setattr(sys, "argv", ["prodconf", *map(str, arguments)])
        warnings.simplefilter("default", ProdconfWarning)  # what is not ours stays an error
        capsys.readouterr()
        try:
            command_line.main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capsys.readouterr()

    return call
