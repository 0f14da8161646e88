"""The node Trainer imports its module_file by name; what it does is tested in tests/modules."""

from __future__ import annotations

import pytest
from tfx.proto import trainer_pb2
from tfx.types import Channel, standard_artifacts

from components.trainer import Trainer
from pipeline.config import PROJECT


def node(module_file: str) -> Trainer:
    return Trainer(
        module_file=module_file,
        examples=Channel(type=standard_artifacts.Examples),
        transform_graph=Channel(type=standard_artifacts.TransformGraph),
        train_args=trainer_pb2.TrainArgs(num_steps=3),
        custom_config={"image": {"height": 5}},
    )


def test_the_module_is_imported_by_its_name() -> None:
    properties = node(str(PROJECT / "modules" / "trainer.py")).exec_properties
    assert properties["run_fn"] == "modules.trainer.run_fn"
    assert properties["module_file"] is None
    assert properties["custom_config"] == '{"image": {"height": 5}}'


@pytest.mark.parametrize("name", ["alone.py", "package/inside.py", "package/missing.py"])
def test_a_file_that_has_no_name_is_refused(tmp_path, name) -> None:
    (tmp_path / "package").mkdir()
    for file in ("alone.py", "package/__init__.py", "package/inside.py"):
        (tmp_path / file).touch()
    with pytest.raises(ValueError, match="cannot import module_file"):
        node(str(tmp_path / name))
