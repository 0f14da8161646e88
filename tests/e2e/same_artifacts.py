"""What the artifacts of a run hold, so that runs in two places can be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2
from tensorflow_model_analysis.proto.validation_result_pb2 import ValidationResult

# These use no Beam. Their files name variables, and a process gives each name once; what the model
# makes is in the files of Evaluator and IndexGen.
_WITHOUT_BEAM = {"Trainer", "Pusher"}
# Names in graphs, and a hash of them.
_OF_ITS_OWN = {"saved_model.pb", "fingerprint.pb", "index.json"}


def held(pipeline: Path) -> dict[str, Any]:
    """What the files of the nodes of Beam hold, by path without the number of the execution.

    Examples, slices of metrics and keys are compared in any order, and examples by their fields:
    each process has its own order of the fields, and each runner its own number of files. Of the
    report, which has dates, its pictures count.
    """
    found: dict[str, Any] = {}
    for path in sorted((pipeline / "artifacts").rglob("*")):
        name = str(path.relative_to(pipeline / "artifacts"))
        counts = "/." not in f"/{name}" and name.partition("/")[0] not in _WITHOUT_BEAM
        if path.is_file() and counts and path.name not in _OF_ITS_OWN:
            name = re.sub(r"/\d+/", "/", name)
            if path.suffix == ".gz":
                place = re.sub(r"-\d+-of-\d+", "", name)
                found[place] = sorted([*found.get(place, ()), *_content(path, str(pipeline))])
            else:
                found[name] = _content(path, str(pipeline))
    return found


def _content(path: Path, pipeline: str) -> Any:
    if path.suffix == ".parquet":
        return pq.read_table(path).replace_schema_metadata().to_pydict()
    if path.name == "FeatureStats.pb":
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        # The last digit of a standard deviation depends on the order of the sums.
        return re.sub(r"\d+\.\d{5,}", lambda number: f"{float(number[0]):.12g}", str(found))
    if path.name == "report.html":
        return re.findall(rb"data:image/[^\"')]+", path.read_bytes())
    if path.suffix == ".gz" or path.parts[-4] == "Evaluator":
        kind = "GZIP" if path.suffix == ".gz" else ""
        if "tfrecord" in path.name:
            records = list(tf.data.TFRecordDataset(str(path), kind).as_numpy_iterator())
            if path.name == "validations.tfrecord":
                return [*map(_verdict, records)]
            return sorted(map(_fields, records) if kind else records)
    content = path.read_bytes().replace(pipeline.encode(), b"PIPELINE")
    return json.loads(content) if path.suffix == ".json" else content


def _fields(record: bytes) -> bytes:
    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def _verdict(record: bytes) -> bytes:
    found = ValidationResult.FromString(record)
    found.metric_validations_per_slice.sort(key=str)
    found.validation_details.slicing_details.sort(key=str)
    return found.SerializeToString(deterministic=True)
