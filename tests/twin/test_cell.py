"""The cell file: strict, typed, and clear about what is wrong."""

from __future__ import annotations

import pytest
import yaml

from twin.cell import CELLS, CellError, cell_path, load_cell


@pytest.fixture
def data() -> dict:
    """The shipped cell as plain data."""
    return yaml.safe_load((CELLS / "panda_belt.yaml").read_text(encoding="utf-8"))


def write(tmp_path, data) -> str:
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_every_shipped_cell_loads():
    for path in CELLS.glob("*.yaml"):
        assert load_cell(path).name == path.stem


def test_a_name_is_a_shipped_cell_and_a_yaml_is_a_path(tmp_path):
    assert cell_path("panda_belt", tmp_path) == CELLS / "panda_belt.yaml"
    assert cell_path("mine.yaml", tmp_path) == tmp_path / "mine.yaml"


def test_a_misspelt_key_is_named_with_the_one_that_was_meant(tmp_path, data):
    data["belt"]["speeed"] = data["belt"].pop("speed")
    with pytest.raises(CellError) as caught:
        load_cell(write(tmp_path, data))
    text = str(caught.value)
    assert "speeed" in text and "did you mean `speed`" in text and "cell.yaml" in text and "belt" in text


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("gripper", "friction", 0.05, "gripper.friction"),
        ("gripper", "force_n", 60.0, "gripper.force_n"),
        ("part", "edge", "wide", "part.edge"),
        ("robot", "home", [0.0, 1.0], "robot.home"),
        ("belt", "places", 0, "belt.places"),
    ],
)
def test_a_value_that_can_not_be_is_an_error_that_names_its_key(tmp_path, data, section, key, value, says):
    data[section][key] = value
    with pytest.raises(CellError) as caught:
        load_cell(write(tmp_path, data))
    assert says in str(caught.value)


def test_a_range_upside_down_is_an_error(tmp_path, data):
    data["part"]["yaw"] = {"low": 1.0, "high": 0.0}
    with pytest.raises(CellError, match="below low"):
        load_cell(write(tmp_path, data))


@pytest.mark.parametrize(("text", "says"), [("a: [1", "no YAML"), ("just words", "mapping"), ("", "mapping")])
def test_a_file_that_is_no_cell_says_so(tmp_path, text, says):
    path = tmp_path / "cell.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CellError) as caught:
        load_cell(path)
    assert says in str(caught.value)


def test_a_missing_file_lists_the_cells_that_there_are(tmp_path):
    with pytest.raises(CellError, match="panda_belt"):
        try:
            load_cell(tmp_path / "none.yaml")
        except CellError as error:
            raise CellError(str(error)) from error
