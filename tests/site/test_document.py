"""What YAML itself gets wrong or reads otherwise than people do: each a message with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SiteError
from bridge.site.document import Mapping, decode, parse, read_text
from bridge.site.problem import Problems, SiteProblem
from bridge.site.words import plain


def faults(text: str) -> list[SiteProblem]:
    problems = Problems("x.yaml")
    parse(text, problems)
    return problems.ordered()


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "the file is empty"),
        ("# a comment only\n", 1, 1, "the file is empty"),
        ("a: 1\n\tb: 2", 2, 1, "a tab in the indentation"),
        ("a:\n  b: 1\n \tc: 1", 3, 2, "a tab"),
        ("a: b: c", 1, 5, "a colon stands where none can be"),
        ("a: 1\n  b: 2", 2, 4, "a colon stands where none can be"),
        ("x: 1\na: 'x\nb: 1\n", 2, 4, "not YAML"),
        ("x: 1\na: [1,\nb: 1\n", 2, 4, "not YAML"),
        ("a: *x", 1, 4, "undefined alias"),
        ("---\na: 1\n---\nb: 2", 3, 1, "a second document"),
        ("a: \x07", 1, 4, "a character that YAML does not allow"),
        ("a: @x", 1, 4, "can not begin with '@'"),
        ("b: 1\na\nc: 2\n", 2, 1, "a colon is missing"),
        ("on: 1", 1, 1, "YAML reads the key on as the truth value true"),
        ("a:\n  off: 1", 2, 3, "YAML reads the key off as the truth value false"),
        ("a: {yes: 1}", 1, 5, "YAML reads the key yes as the truth value true"),
        ("12: 1", 1, 1, "YAML reads the key 12 as a number"),
        ("1:30: 1", 1, 1, "YAML reads the key 1:30 as a number"),
        ("~: 1", 1, 1, "a key has no name"),
        ("? [1]\n: 2", 1, 3, "a key must be a name"),
        ("a: 1\nb: 2\na: 3", 3, 1, "twice (the first is on line 1)"),
        ("a: {b: 1, b: 1}", 1, 11, "twice"),
        ("<<: 1", 1, 1, "merges mappings only"),
        ("a: &x [*x]", 1, 4, "an alias to itself"),
        ("a: !!python/object:os.system x", 1, 4, "!!python/object:os.system means nothing here"),
        ("a: !mine [1]", 1, 4, "!mine means nothing here"),
    ],
)
def test_each_fault_of_yaml_has_its_place_and_its_words(text: str, line: int, column: int, words: str) -> None:
    found = faults(text)
    assert len(found) == 1, [str(f) for f in found]
    mark = found[0].mark
    assert mark is not None
    assert (mark.line, mark.column) == (line, column), str(found[0])
    assert words in found[0].what
    assert found[0].hint


def test_every_doubled_and_misread_key_is_told_not_the_first() -> None:
    found = faults("on: 1\na: 1\na: 2\nb:\n  no: 1\n  c: 1\n  c: 2\n")
    assert [f.mark.line for f in found if f.mark] == [1, 3, 5, 7]


@pytest.mark.parametrize("depth", [61, 1000, 200_000])
def test_nesting_without_end_does_not_end_the_process(depth: int) -> None:
    (fault,) = faults("a: " + "[" * depth)
    assert "levels deep" in fault.what


def test_anchors_that_unfold_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (fault,) = faults("\n".join(lines))
    assert "unfold" in fault.what
    deep = ["b0: &b0 [x]", *(f"b{i}: &b{i} [*b{i - 1}]" for i in range(1, 2000))]
    (fault,) = faults("\n".join(deep))
    assert "unfold" in fault.what


def test_merges_give_way_to_what_stands_in_the_mapping_itself() -> None:
    problems = Problems("x")
    text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nall: {y: 9, <<: [*b, *m]}\nend: {<<: *b, x: 7}\n"
    tree = parse(text, problems)
    assert not problems.all
    assert tree is not None
    value = plain(tree)
    assert value["all"] == {"x": 1, "y": 9, "z": 4}
    assert value["end"] == {"x": 7, "y": 2}


def test_a_merged_value_keeps_the_place_where_it_is_written() -> None:
    tree = parse("base: &b\n  x: 1\nuse:\n  <<: *b\n", Problems("x"))
    assert isinstance(tree, Mapping)
    use = tree.entries["use"].value
    assert isinstance(use, Mapping)
    assert use.entries["x"].key.line == 2


def test_the_caret_stands_below_the_fault_after_wide_letters_and_line_ends_of_windows() -> None:
    text = "이름: 힘\r\na: {b: 1, b: 2}\r\n"
    (fault,) = faults(text)
    line, caret = fault.excerpt(text).splitlines()
    assert line[caret.index("^")] == "b"
    assert line.endswith("a: {b: 1, b: 2}")


@pytest.mark.parametrize(
    ("raw", "place", "words"),
    [
        (b"a: 1\nb: \xb0\xa1\n", ":2:4", "0xb0"),
        ("a: 1".encode("utf-16"), ":1:1", "0xff"),
        (b"\x89MCAP0\r\n\x00\x00", ":1:1", "0x89"),
    ],
)
def test_what_is_not_utf8_is_told_with_its_place(raw: bytes, place: str, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        decode(raw, "x.yaml")
    assert caught.value.where == "x.yaml" + place
    assert words in caught.value.what
    assert caught.value.hint


def test_a_byte_order_mark_is_no_fault() -> None:
    assert decode(b"\xef\xbb\xbfdari: 1", "x") == "dari: 1"


def test_a_missing_file_a_directory_and_a_locked_one_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="no such file") as caught:
        read_text(tmp_path / "site.yaml")
    assert "dari init" in caught.value.hint
    (tmp_path / "other.yaml").write_text("dari: 1")
    with pytest.raises(SiteError) as caught:
        read_text(tmp_path / "site.yaml")
    assert "other.yaml" in caught.value.hint
    with pytest.raises(SiteError, match="directory") as caught:
        read_text(tmp_path)
    assert "other.yaml" in caught.value.hint
    big = tmp_path / "run.mcap"
    with big.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(SiteError, match="bytes") as caught:
        read_text(big)
    assert caught.value.exit_code == 3


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_told_with_a_place_and_never_raises(text: str) -> None:
    problems = Problems("x.yaml")
    tree = parse(text, problems)
    assert tree is not None or problems.all
    for problem in problems.ordered():
        assert problem.mark is not None
        assert problem.mark.line >= 1
        assert problem.mark.column >= 1
        problem.excerpt(text)


@given(st.text(alphabet="ab:- \n\t[]{}&*'\"<#1.?!|>,@%", max_size=60))
def test_any_text_of_the_letters_of_yaml_is_parsed_or_told(text: str) -> None:
    problems = Problems("x.yaml")
    tree = parse(text, problems)
    assert tree is not None or problems.all
