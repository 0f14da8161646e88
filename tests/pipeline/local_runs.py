"""Small pipelines that really run, in this process."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from modules.contract import make_example
from pipeline.config import Config, load_config
from pipeline.local_runner import run_pipeline
from pipeline.metadata import Run, latest_run
from tests.real_data import digits


class LocalPipeline:
    """A pipeline on 400 digits that trains for some steps."""

    def __init__(self, root: Path) -> None:
        self.path = root / "small.toml"
        self._root = root
        (root / "data").mkdir()
        with tf.io.TFRecordWriter(str(root / "data" / "all.tfrecord")) as writer:
            for row in digits(40):
                writer.write(make_example(*row).SerializeToString())
        self.configure(steps=20)

    def configure(
        self, steps: int, pipeline: str = "", lower: float = 0.2, tables: str = ""
    ) -> None:
        """Other steps are other models; `pipeline` goes to `[pipeline]`, `tables` to the end."""
        self.path.write_text(f"""
[pipeline]
name = "small"
directory = "{self._root}"
{pipeline}
[data]
path = "{self._root}/data"
split = "hash"
[training]
steps = {steps}
batch_size = 40
validate_every = 20
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = {lower}
max_drop = 0.5
{tables}
""")

    @property
    def config(self) -> Config:
        return load_config(str(self.path))

    @property
    def serving(self) -> Path:
        return Path(self.config.pipeline.serving_directory)

    def served(self) -> list[int]:
        return sorted(int(path.name) for path in self.serving.glob("[0-9]*"))

    def run(self) -> Run:
        run_pipeline(self.config)
        return latest_run(self.config)


def not_cached(run: Run) -> set[str]:
    return {node.node for node in run.nodes if node.state != "cached"}


def output(run: Run, node: str, key: str) -> dict:
    return next(one for one in run.nodes if one.node == node).outputs.get(key, {})
