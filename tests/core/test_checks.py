"""The checks: one number, one path, and what is no such thing."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from prodconf.core.checks import require_loss_fraction, require_path, require_probability, require_scalar, require_whole
from prodconf.core.errors import ArgumentError, ProdconfError


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_stays_what_it_is(value):
    for form in (value, np.float64(value), np.array(value), value * u.deg):
        assert require_scalar("offset", form, "deg") == value


def test_other_numbers_and_units():
    assert require_scalar("offset", 60 * u.arcmin, "deg") == pytest.approx(1.0, rel=1e-15)
    assert require_scalar("offset", np.int32(3), "deg") == 3.0
    assert require_scalar("fraction", 50 * u.percent) == pytest.approx(0.5, rel=1e-15)


@pytest.mark.parametrize(
    "value",
    [
        *([1.0], [1, 2], (), np.array([1.0]), True, np.True_, np.array(True), "1", b"1", None, 1j, {}, {"value": 1}),
        *(1 * u.m, [1, 2] * u.deg, 1 * u.one, np.ma.masked, 10**400, object(), [[1], [1, 2]], np.nan, np.inf),
        *(np.array("1"), np.nan * u.deg, np.array(1j)),
    ],
)
def test_anything_else_is_no_number(value):
    with pytest.raises(ProdconfError, match=r"^offset_max must be (one number in deg|finite), got ") as caught:
        require_scalar("offset_max", value, "deg")
    assert len(str(caught.value).splitlines()) == 1


def test_paths():
    assert require_path("file", "a/b") == require_path("file", Path("a/b")) == Path("a/b")
    for value in (None, 3, b"x", [], 1.5, True):
        with pytest.raises(ProdconfError, match=r"^file must be a path, got "):
            require_path("file", value)


def test_fractions_are_one_number():
    assert require_loss_fraction(0.0) == 0.0
    assert require_probability(np.float64(0.5)) == 0.5
    for check in (require_loss_fraction, require_probability):
        for value in ([0.5], True, "0.5", 1.0, np.nan):
            with pytest.raises(ProdconfError, match="must"):
                check(value)


def test_whole_numbers():
    for value in (3, 3.0, np.int64(3), np.float32(3)):
        assert require_whole("n_use", value, 1, 20) == require_whole("n_use", value, 1) == 3
    assert require_whole("capacity", 10**12, 1) == 10**12
    for value, high, words in ((2.5, 20, "from 1 to 20"), (21, 20, "from 1 to 20"), (0, None, "of at least 1")):
        with pytest.raises(ArgumentError, match=f"n_use must be a whole number {words}, got"):
            require_whole("n_use", value, 1, high)
