"""What the soak calls a fault; the nights themselves are `make soak`."""

from __future__ import annotations

import pytest

from pipeline.config import load_config
from tests.faults.soak import CONFIG, SETTLED, arrives, faults


def nights(**last: float) -> list[dict[str, float]]:
    """Ten nights in which all is well, but for the figures of the last one."""
    found = [
        {
            "night": night,
            "artifacts_megabytes": 10.0,
            "files_and_folders": 300.0,
            "processor_seconds": 20.0,
            "serving_megabytes": 3.0,
            "versions": 3.0,
            "database_kilobytes": 300.0 + 40.0 * night,
            "temporary_files": 0.0,
            "memory_megabytes": 1500.0,
        }
        for night in range(SETTLED + 6)
    ]
    found[-1] |= last
    return found


def test_steady_nights_are_none() -> None:
    assert faults(nights()) == []
    assert faults(nights()[:2]) == []


@pytest.mark.parametrize(
    ("figure", "value", "says"),
    [
        ("temporary_files", 1.0, "temporary files were left"),
        ("artifacts_megabytes", 12.5, "artifacts_megabytes has grown from 10.0 to 12.5"),
        ("files_and_folders", 400.0, "files_and_folders has grown from 300.0 to 400.0"),
        ("serving_megabytes", 4.0, "serving_megabytes has grown"),
        ("memory_megabytes", 1900.0, "memory_megabytes has grown"),
        ("versions", 4.0, "versions has grown"),
        ("database_kilobytes", 1000.0, "the database grows faster and faster"),
    ],
)
def test_what_grows_is_named(figure: str, value: float, says: str) -> None:
    assert any(says in fault for fault in faults(nights(**{figure: value})))


def test_nights_that_take_longer_and_longer() -> None:
    slower = [{**night, "processor_seconds": 10.0 + 3 * night["night"]} for night in nights()]
    assert any("a night takes longer and longer" in fault for fault in faults(slower))


def test_its_pipeline_is_one(tmp_path) -> None:
    path = tmp_path / "soak.toml"
    path.write_text(CONFIG.format(root=tmp_path))
    config = load_config(str(path))
    arrives(tmp_path, 0, 1)
    arrives(tmp_path, 1, 1)
    assert config.data.has_spans
    images = [sorted((tmp_path / "data" / f"night-{n}").rglob("*.png")) for n in (0, 1)]
    assert [len(found) for found in images] == [10, 10]
    assert {i.read_bytes() for i in images[0]}.isdisjoint(i.read_bytes() for i in images[1])
