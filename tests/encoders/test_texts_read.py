"""`read_texts` gives every row of a file as a string, or says where it cannot."""

import csv
import json

import pytest

from isotropy.io.texts import read_texts

TEXTS = ["plain", "", 'comma, and "quotes"', "tab\tin it", "é ü 日本 \u2028 end", " spaces "]


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def error_of(path, column=None):
    with pytest.raises(ValueError) as caught:
        list(read_texts(path, column))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


class TestText:
    def test_a_line_is_a_row_blank_ones_too(self, tmp_path):
        path = write(tmp_path / "a.txt", "one\n\n two \nthree")
        assert list(read_texts(path)) == ["one", "", " two ", "three"]

    def test_a_line_feed_at_the_end_adds_no_row(self, tmp_path):
        assert list(read_texts(write(tmp_path / "a.txt", "one\ntwo\n"))) == ["one", "two"]

    def test_line_ends_of_windows_and_a_byte_order_mark_are_no_text(self, tmp_path):
        path = write(tmp_path / "a.TXT", b"\xef\xbb\xbfone\r\ntwo\r\n")
        assert list(read_texts(str(path))) == ["one", "two"]

    def test_only_a_line_feed_ends_a_line(self, tmp_path):
        path = write(tmp_path / "a.txt", "one\u2028still one\x0cand still\n two")
        assert list(read_texts(path)) == ["one\u2028still one\x0cand still", " two"]

    def test_bytes_that_are_no_utf8_are_placed(self, tmp_path):
        path = write(tmp_path / "a.txt", b"good\ncaf\xe9\n")
        assert "line 2 is not UTF-8 (byte 0xe9 at position 3)" in error_of(path)

    def test_a_column_is_refused(self, tmp_path):
        assert "has no columns, got 'x'" in error_of(write(tmp_path / "a.txt", "one"), "x")


class TestTables:
    @pytest.fixture
    def table(self, tmp_path):
        path = tmp_path / "a.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            writer.writerows([[i, text + "\nsecond line"] for i, text in enumerate(TEXTS)])
        return path

    def test_quoted_fields_keep_commas_quotes_and_line_breaks(self, table):
        assert list(read_texts(table, "text")) == [text + "\nsecond line" for text in TEXTS]
        assert list(read_texts(table, "id")) == [str(i) for i in range(len(TEXTS))]

    def test_the_only_column_needs_no_name(self, tmp_path):
        path = write(tmp_path / "a.csv", 'text\none\n\n""\n"two, three"\n')
        assert list(read_texts(path)) == ["one", "", "two, three"]

    def test_of_several_columns_one_must_be_named(self, table):
        assert "has the columns 'id', 'text'; name the one" in error_of(table)

    def test_a_column_that_is_not_there_lists_those_that_are(self, table):
        assert "has no column 'body'. There are: 'id', 'text'." in error_of(table, "body")

    def test_a_column_that_is_there_twice_is_refused(self, tmp_path):
        path = write(tmp_path / "a.csv", "text,text\na,b\n")
        assert "more than one column 'text'" in error_of(path, "text")

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("2,one,too many", "line 3 has 3 fields, the header has 2"),
            ("2", "line 3 has 1 fields, the header has 2"),
            ('2,"never closed', "line 3 cannot be read (unexpected end of data)"),
            ('2,"closed" early', "line 3 cannot be read"),
        ],
    )
    def test_a_broken_line_is_placed(self, tmp_path, line, message):
        path = write(tmp_path / "a.csv", f"id,text\n1,good\n{line}\n")
        stream = read_texts(path, "text")
        assert next(stream) == "good"
        assert message in error_of(path, "text")

    def test_bytes_that_are_no_utf8_are_placed(self, tmp_path):
        path = write(tmp_path / "a.csv", b"text\ngood\ncaf\xe9\n")
        assert "line 3 is not UTF-8" in error_of(path)

    def test_a_tab_separated_file_takes_quotation_marks_as_text(self, tmp_path):
        path = write(tmp_path / "a.tsv", 'id\ttext\n1\t"Oh," he said.\n2\t3" nails\n')
        assert list(read_texts(path, "text")) == ['"Oh," he said.', '3" nails']


class TestJsonLines:
    def test_a_key_of_each_object_is_read(self, tmp_path):
        lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(TEXTS)]
        path = write(tmp_path / "a.jsonl", "\n".join([*lines[:2], "", *lines[2:]]) + "\n\n")
        assert list(read_texts(path, "text")) == TEXTS

    @pytest.mark.parametrize("suffix", [".jsonl", ".ndjson"])
    def test_the_only_key_needs_no_name(self, tmp_path, suffix):
        path = write(tmp_path / f"a{suffix}", '{"t": "one"}\n{"t": "two"}')
        assert list(read_texts(path)) == ["one", "two"]

    @pytest.mark.parametrize(
        ("line", "column", "message"),
        [
            ('{"text": "cut', "text", "line 3 is not JSON (Unterminated string"),
            ('["one"]', "text", "line 3 holds list ['one'], not an object"),
            ('{"body": "one"}', "text", "line 3 has no column 'text'. There are: 'body'."),
            ('{"text": null}', "text", "line 3, column 'text' holds null, not a string"),
            ('{"text": 4}', "text", "line 3, column 'text' holds int 4, not a string"),
            ('{"id": 1, "text": "one"}', None, "line 3 has the columns 'id', 'text'; name the"),
        ],
    )
    def test_a_broken_line_is_placed(self, tmp_path, line, column, message):
        path = write(tmp_path / "a.jsonl", f'{{"text": "good"}}\n\n{line}\n')
        assert message in error_of(path, column)


class TestParquet:
    @pytest.fixture
    def arrow(self):
        return pytest.importorskip("pyarrow", reason="Parquet needs isotropy[io]")

    def save(self, path, columns, **options):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(columns), path, **options)
        return path

    @pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "string_view"])
    def test_columns_of_every_string_type_are_read_over_row_groups(self, arrow, tmp_path, kind):
        type_ = (
            arrow.dictionary(arrow.int32(), arrow.string())
            if kind == "dictionary"
            else getattr(arrow, kind)()
        )
        texts = TEXTS * 50
        columns = {"id": range(len(texts)), "text": arrow.array(texts).cast(type_)}
        path = self.save(tmp_path / "a.parquet", columns, row_group_size=70)
        assert list(read_texts(path, "text")) == texts

    def test_the_only_column_needs_no_name_and_may_be_empty(self, arrow, tmp_path):
        texts = arrow.array([], type=arrow.string())
        assert list(read_texts(self.save(tmp_path / "a.parquet", {"t": texts}))) == []
        assert list(read_texts(self.save(tmp_path / "b.parquet", {"t": ["one"]}))) == ["one"]

    @pytest.mark.parametrize(
        ("columns", "column", "message"),
        [
            ({"text": ["a", None]}, "text", "row 1, column 'text' holds null, not a string"),
            ({"text": [3, 4]}, "text", "row 0, column 'text' holds int 3, not a string"),
            ({"id": [1], "body": ["a"]}, "text", "no column 'text'. There are: 'id', 'body'."),
            ({"id": [1], "body": ["a"]}, None, "has the columns 'id', 'body'; name the one"),
        ],
    )
    def test_what_cannot_be_read_as_text_is_placed(self, arrow, tmp_path, columns, column, message):
        assert message in error_of(self.save(tmp_path / "a.parquet", columns), column)

    def test_a_row_is_counted_from_the_start_of_the_file(self, arrow, tmp_path):
        texts = ["a"] * 150 + [None]
        path = self.save(tmp_path / "a.parquet", {"t": texts}, row_group_size=40)
        assert "row 150, column" in error_of(path)

    @pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
    def test_a_truncated_file_is_one_line_of_error(self, arrow, tmp_path, keep):
        path = self.save(tmp_path / "a.parquet", {"t": TEXTS * 200})
        data = path.read_bytes()
        write(path, data[: keep if isinstance(keep, int) else int(keep * len(data))])
        assert "cannot be read as Parquet" in error_of(path)

    def test_without_pyarrow_the_extra_is_named(self, tmp_path, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r"isotropy\[io\]"):
            list(read_texts(write(tmp_path / "a.parquet", b"")))


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_an_empty_file_has_no_rows(tmp_path, suffix):
    column = None if suffix == ".txt" else "text"
    assert list(read_texts(write(tmp_path / f"a{suffix}", ""), column)) == []


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    path = write(tmp_path / "a.txt", b"first\n\xff\n")
    stream = read_texts(path)
    assert next(stream) == "first"
    with pytest.raises(ValueError, match="line 2"):
        next(stream)


def test_an_unknown_suffix_lists_those_known(tmp_path):
    with pytest.raises(ValueError, match=r"\.txt, \.csv, \.tsv, .* files, got '\.docx'"):
        read_texts(tmp_path / "a.docx")


def test_a_missing_file_is_told_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        read_texts(tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", "id,text\n1,a\n2,b\n\n   \n\n"),
        (".tsv", "id\ttext\n1\ta\n2\tb\n\n  \n"),
        (".jsonl", '{"text": "a"}\n{"text": "b"}\n\n   \n'),
    ],
)
def test_blank_lines_at_the_end_are_no_error(tmp_path, suffix, content):
    (tmp_path / f"t{suffix}").write_text(content, encoding="utf-8")
    assert list(read_texts(tmp_path / f"t{suffix}", column="text")) == ["a", "b"]
