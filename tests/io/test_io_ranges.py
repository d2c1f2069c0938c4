"""Bytes come through one door: files that change are told, and any number can be in use."""

from __future__ import annotations

import os
import pickle
import threading

import numpy as np
import pytest

from isotropy.io import FileError
from isotropy.io.ranges import LocalRanges


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(range(256)) * 100)
    return path


def test_ranges_are_the_bytes_of_the_file(path):
    file, data = LocalRanges(path), path.read_bytes()
    assert file.size == len(data)
    numbers = np.empty((3, 5), "<u2")
    file.read_into(7, numbers)
    assert numbers.tobytes() == data[7:37] == file.read_at(7, 30)
    assert file.read_at(len(data), 0) == b""
    with file.open() as opened:
        opened.seek(-10, os.SEEK_END)
        assert opened.read() == data[-10:]
        opened.seek(3)
        assert opened.read(9) == data[3:12]
        assert opened.tell() == 12


@pytest.mark.parametrize(("offset", "n"), [(-1, 3), (0, 25_601), (25_600, 1), (2**62, 2**62)])
def test_more_than_there_is_is_refused_before_memory_is_taken(path, offset, n):
    with pytest.raises(FileError, match=r"x\.bin: .* of 25600: it is truncated"):
        LocalRanges(path).read_at(offset, n)


def cut(path):
    os.truncate(path, 1000)


def grow(path):
    with open(path, "ab") as file:
        file.write(b"more")


def replace(path):
    stamp = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [cut, grow, replace, os.unlink])
@pytest.mark.parametrize("already_read", [True, False])
def test_a_file_that_changes_is_told(path, change, already_read):
    file = LocalRanges(path)
    if already_read:
        file.read_at(0, 1)
    change(path)
    with pytest.raises(FileError, match=r"x\.bin: changed while it was in use"):
        file.check_unchanged()
    if not already_read:
        with pytest.raises(FileError, match=r"x\.bin: (changed while|could not be opened)"):
            file.read_at(0, 1)
    elif change is cut:
        with pytest.raises(FileError, match=r"x\.bin: was cut short while being read"):
            file.read_at(500, 1000)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks Linux for open files")
def test_few_files_are_open_at_a_time_whatever_the_threads(tmp_path):
    files = []
    for i in range(200):
        (tmp_path / f"{i}").write_bytes(bytes([i]) * 10)
        files.append(LocalRanges(tmp_path / f"{i}"))
    before, wrong = len(os.listdir("/proc/self/fd")), []

    def read():
        for _ in range(3):
            wrong.extend(i for i, file in enumerate(files) if file.read_at(3, 4) != bytes([i]) * 4)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(os.listdir("/proc/self/fd")) <= before + 64
    files.clear()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_pickled_one_is_the_same_file(path):
    file = LocalRanges(path)
    file.read_at(0, 1)
    again = pickle.loads(pickle.dumps(file))
    assert again.read_at(5, 3) == file.read_at(5, 3)
    cut(path)
    with pytest.raises(FileError, match="changed while it was in use"):
        again.check_unchanged()


def test_a_fingerprint_knows_content_whose_size_and_time_were_restored(path):
    before, stamp = LocalRanges(path).fingerprint(), path.stat()
    assert LocalRanges(path).fingerprint() == before
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert LocalRanges(path).fingerprint() != before


def test_a_fingerprint_is_that_of_the_file_that_was_opened(path):
    opened = LocalRanges(path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(FileError, match="changed while it was in use"):
        opened.fingerprint()


def test_what_is_no_file_says_so(tmp_path):
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    said = {"no": "no such file", ".": "folder", "empty": r"empty \(0", "pipe": "regular file"}
    for name, text in said.items():
        with pytest.raises(FileError, match=text):
            LocalRanges(tmp_path / name)
    with pytest.raises(FileError, match="could not be opened"):
        LocalRanges("nul\0byte")
