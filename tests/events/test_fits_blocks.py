"""Rows read in blocks against astropy's own reading, and damage told in a sentence."""

import gzip
from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits

from prodconf.core.errors import ProdconfError
from prodconf.events._fits_blocks import TableRows, find_table, open_fits

N = 1003
RNG = np.random.default_rng(2)


@pytest.fixture
def sample(tmp_path):
    """Write a table with a column of every kind of number."""
    columns = [
        fits.Column(name="byte", format="B", array=RNG.integers(0, 255, N)),
        fits.Column(name="text", format="5A", array=np.array(["abc"] * N)),
        fits.Column(name="unsigned", format="J", bzero=2**31, array=RNG.integers(0, 2**32, N).astype(np.uint32)),
        fits.Column(name="long", format="K", array=RNG.integers(-(2**40), 2**40, N)),
        fits.Column(name="single", format="E", array=RNG.normal(size=N)),
        fits.Column(name="double", format="D", array=RNG.normal(size=N)),
        fits.Column(name="pair", format="2E", array=RNG.normal(size=(N, 2))),
        fits.Column(name="group", format="I", array=np.arange(N) // 10),
    ]
    path = tmp_path / "table.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="ROWS")]).writeto(path)
    return path


NUMBERS = ["byte", "unsigned", "long", "single", "double", "group"]


def rows_of(path, names=NUMBERS):
    """Open the table."""
    with open_fits(path) as hdus:
        return TableRows(find_table(hdus, "ROWS", path), list(names))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [1, 100, N, 5000])
def test_blocks_hold_what_astropy_reads(sample, packed, size):
    wanted = {name: np.array(fits.getdata(sample)[name]) for name in NUMBERS}
    if packed:
        sample.with_suffix(".fits.gz").write_bytes(gzip.compress(sample.read_bytes()))
        sample = sample.with_suffix(".fits.gz")
    table = rows_of(sample)
    blocks = list(table.blocks(size))
    assert [len(block) for block in blocks] == [min(size, N - start) for start in range(0, N, size)]
    for name in NUMBERS:
        np.testing.assert_array_equal(np.concatenate([table.column(block, name) for block in blocks]), wanted[name])


def test_names_in_any_case(sample):
    table = rows_of(sample, ["SINGLE"])
    np.testing.assert_array_equal(
        table.column(next(table.blocks(N)), "SINGLE"), fits.getdata(sample)["single"].astype("=f4")
    )


@pytest.mark.parametrize("size", [1, 7, 10, 95])
def test_groups_are_not_cut(sample, size):
    table = rows_of(sample)
    groups = [table.column(block, "group") for block in table.blocks(size, whole=["group"])]
    np.testing.assert_array_equal(np.concatenate(groups), np.arange(N) // 10)
    assert all(one[-1] != other[0] for one, other in pairwise(groups))
    starts = [block.start for block in table.blocks(size, whole=["group"])]
    assert all(start % 10 == 0 for start in starts)


def test_pieces_are_spread_evenly(sample):
    table = rows_of(sample)
    pieces = list(table.pieces(5, 20))
    assert [piece.start for piece in pieces] == [0, 245, 491, 737, 983]
    np.testing.assert_array_equal(table.column(pieces[2], "group"), np.arange(491, 511) // 10)
    assert sum(len(piece) for piece in table.pieces(100, 20)) == N


@pytest.mark.parametrize(
    ("names", "words"), [(["text"], "must hold numbers, got format 5A"), (["pair"], "must hold one number a row")]
)
def test_columns_that_hold_no_single_numbers(sample, names, words):
    with pytest.raises(ProdconfError, match=words):
        rows_of(sample, names)


def test_a_file_that_shrinks_while_it_is_read(sample):
    table = rows_of(sample)
    sample.write_bytes(sample.read_bytes()[:20_000])
    with pytest.raises(ProdconfError, match=r"table\.fits: is truncated"):
        list(table.blocks(100))
    sample.unlink()
    with pytest.raises(ProdconfError, match="does not exist"):
        list(table.blocks(100))


@pytest.mark.parametrize(
    ("value", "shown"),
    [("nan", "TSCAL3"), ("0", "must be finite .* 0 and 0"), ("1E200", r"must be finite .* 1e\+200 and 0")],
)
def test_an_absurd_scale_is_refused(sample, value, shown):
    content = sample.read_bytes()
    card = b"TZERO3  =           2147483648"
    assert content.count(card) == 1
    sample.write_bytes(content.replace(card, f"TSCAL3  = {value:>20}".encode()))
    with pytest.raises(ProdconfError, match=shown):
        rows_of(sample)


def test_a_large_zero_is_no_overflow(sample):
    content = sample.read_bytes()
    form = content.replace(b"TZERO3  =           2147483648", b"TZERO4  =  9223372036854775808")
    sample.write_bytes(form)
    table = rows_of(sample, ["long"])
    values = table.column(next(table.blocks(N)), "long")
    np.testing.assert_allclose(values, fits.getdata(sample)["long"].astype(np.float64), rtol=1e-15)


@pytest.mark.parametrize(("old", "new"), [("single", "DOUBLE"), ("long  ", "single")])
def test_two_columns_of_one_name(sample, old, new):
    content = sample.read_bytes()
    sample.write_bytes(content.replace(f"'{old}".encode(), f"'{new}".encode(), 1))
    with pytest.raises(ProdconfError, match="table ROWS: has two columns named "):
        rows_of(sample, ["byte"])


def test_damaged_compression(sample):
    packed = gzip.compress(sample.read_bytes())
    path = sample.with_suffix(".fits.gz")
    whole = {len(packed) // 2: "truncated|cannot be read", len(packed) - 8: "truncated", len(packed) - 4: "truncated"}
    for length, text in whole.items():
        path.write_bytes(packed[:length])
        with pytest.raises(ProdconfError, match=text):
            list(rows_of(path).blocks(100))
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    with pytest.raises(ProdconfError, match="truncated or damaged"):
        list(rows_of(path).blocks(100))
    path.write_bytes(packed)
    assert sum(len(block) for block in rows_of(path).blocks(100)) == N
