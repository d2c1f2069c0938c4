"""What was saved is loaded to the bit, or refused: a file that was damaged never goes for whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from isotropy.storage.state import load_state, save_state

ARRAYS = {"a": np.arange(4.0), "flag": np.array([True, False]), "none": np.zeros((0, 3))}


def test_a_flipped_bit_anywhere_is_refused_in_one_line(tmp_path):
    path = tmp_path / "state"
    save_state(path, "Thing", {"n": 3}, ARRAYS)
    whole = path.read_bytes()
    info, arrays = load_state(path)
    assert info["n"] == 3
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype and arrays[name].flags.writeable
    for place in range(0, len(whole), 3):
        bit = 1 << place % 8
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="state: ") as caught:
            load_state(path)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_every_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "state"
    save_state(path, "Thing", {"n": 3}, ARRAYS)
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.raises(ValueError, match="state: "):
            load_state(path)


def test_files_of_the_version_without_checksums_are_read(tmp_path):
    told = json.dumps({"class": "Thing", "format_version": 1, "library_version": "0.1"})
    (tmp_path / "old").write_bytes(save({"a": np.eye(3)}, {"isotropy": told}))
    info, arrays = load_state(tmp_path / "old")
    assert info["format_version"] == 1
    np.testing.assert_array_equal(arrays["a"], np.eye(3))


def test_a_file_of_tensors_is_not_read_to_say_that_it_holds_no_state(tmp_path):
    """Embeddings may be far larger than memory."""
    path = tmp_path / "large.safetensors"
    header = json.dumps(
        {"x": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}
    ).encode()
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2**40)  # takes no space on the disk
    with pytest.raises(ValueError, match="nothing that isotropy saved"):
        load_state(path)


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        load_state(tmp_path)
