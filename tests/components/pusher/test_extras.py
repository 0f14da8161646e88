"""What a push puts beside the model."""

from __future__ import annotations

import json

import pytest

from components.pusher.versioned_push import push as hand_over_push, versions
from tests.components.pusher.push_server import push
from tests.components.pusher.pushed_models import contents, make_extras, make_model


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_extras_appear_beside_the_model_and_are_part_of_the_version(tmp_path, scheme) -> None:
    model = make_model(tmp_path / "model", "a") / "Format-Serving"
    serving = f"{scheme}{tmp_path}/serving"
    first = hand_over_push(str(model), serving, extras=make_extras(tmp_path, "1"))
    expected = {**contents(model), "index/rows": b"rows", "point.json": b"1"}
    assert contents(tmp_path / "serving" / str(first)) == expected
    # Tried again it makes no version; with another extra, or with none, it is another version.
    assert hand_over_push(str(model), serving, extras=make_extras(tmp_path, "1")) == first
    second = hand_over_push(str(model), serving, extras=make_extras(tmp_path, "2"))
    assert second > first
    third = hand_over_push(str(model), serving)
    assert third > second
    assert contents(tmp_path / "serving" / str(third)) == contents(model)
    assert versions(serving) == [first, second, third]


def test_an_extra_replaces_nothing_of_the_model(tmp_path) -> None:
    model = make_model(tmp_path / "model", "a") / "Format-Serving"
    extras = {"saved_model.pb": make_extras(tmp_path, "1")["point.json"]}
    with pytest.raises(ValueError, match=r"point.json would replace saved_model.pb of "):
        hand_over_push(str(model), str(tmp_path / "serving"), extras=extras)
    assert not (tmp_path / "serving").exists()


def test_the_operating_point_of_the_verdict_goes_with_the_model(tmp_path) -> None:
    model = make_model(tmp_path / "model", "a")
    blessing = tmp_path / "blessing"
    blessing.mkdir()
    (blessing / "operating_point.json").write_text("1")
    paths = (str(model), str(tmp_path / "serving"), str(tmp_path / "archive"))
    pushed = push("ours", *paths, blessing_folder=str(blessing))
    expected = {**contents(model / "Format-Serving"), "operating_point.json": b"1"}
    assert contents(pushed.get_string_custom_property("pushed_destination")) == expected
    assert contents(tmp_path / "archive") == expected
    extras = json.loads(pushed.get_string_custom_property("pushed_extras"))
    assert extras == {"operating_point.json": str(blessing / "operating_point.json")}
