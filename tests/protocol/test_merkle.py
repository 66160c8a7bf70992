from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import merkle

# Entries and roots of the reference tests of Certificate Transparency (google/certificate-transparency, merkletree).
ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
ENTRIES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("size", ROOTS)
def test_root_is_that_of_certificate_transparencys_own_tests(size: int) -> None:
    assert merkle.root(ENTRIES[:size]).hex() == ROOTS[size]


names = st.lists(st.binary(max_size=4), min_size=1, max_size=40, unique=True)


@given(names, st.data())
def test_each_entry_is_proved_at_its_place_and_at_no_other(entries: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(entries) - 1))
    way, root = merkle.path(entries, index), merkle.root(entries)
    assert merkle.proves(entries[index], index, len(entries), way, root)
    other = data.draw(st.integers(-1, len(entries)))
    if other != index:
        assert not merkle.proves(entries[index], other, len(entries), way, root)
    assert not merkle.proves(entries[index] + b"x", index, len(entries), way, root)
    assert not merkle.proves(entries[index], index, len(entries), [*way, root], root)
    # What is proved of a list is not proved of one that is said to be longer.
    assert not merkle.proves(entries[index], index, 2 * len(entries), way, root)
    if way:
        assert not merkle.proves(entries[index], index, len(entries), way[:-1], root)
