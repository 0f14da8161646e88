"""A SavedModel as TensorFlow Serving runs it: the graph alone, in a session, fed without checks.

TensorFlow Serving itself is no Python package. What it does with a model is this: it imports the
graph, runs its restore operation with the path of the variables, runs its initialising operation,
and then feeds tensors of any shape. Loading a model in Python is another way, in which objects are
put together again.
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import predict_pb2


class ServingSession:
    """Answers requests of the Predict API."""

    def __init__(self, folder: str) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], folder)
        restore = loaded.saver_def
        self._session.run(
            restore.restore_op_name, {restore.filename_tensor_name: f"{folder}/variables/variables"}
        )
        self.signatures = loaded.signature_def

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """As `PredictionService.Predict`."""
        signature = self.signatures[request.model_spec.signature_name or "serving_default"]
        assert set(request.inputs) == set(signature.inputs)
        names = sorted(signature.outputs)
        options = config_pb2.CallableOptions()
        options.feed.extend(signature.inputs[name].name for name in sorted(request.inputs))
        options.fetch.extend(signature.outputs[name].name for name in names)
        # `Session.run` of Python would check shapes, which the server does not.
        call = self._session._make_callable_from_options(options)
        inputs = [tf.make_ndarray(request.inputs[name]) for name in sorted(request.inputs)]
        response = predict_pb2.PredictResponse()
        for name, value in zip(names, call(*inputs), strict=True):
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def answer(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """The outputs as arrays; an input is a list of bytes, or numbers of int32."""
        return arrays(self.predict(make_request(signature, **inputs)))

    def close(self) -> None:
        self._session.close()


def make_request(signature: str, **inputs: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        dtype = tf.int32 if name == "k" else tf.string
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
    return request


def arrays(response: predict_pb2.PredictResponse) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


def request_of_json(body: str, session: ServingSession) -> predict_pb2.PredictRequest:
    """What the REST API makes of a body, rows (`instances`) or columns (`inputs`)."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value

    parsed = json.loads(body)
    name = parsed.get("signature_name", "serving_default")
    columns = parsed.get("inputs")
    if columns is None:
        rows = parsed["instances"]
        columns = {key: [row[key] for row in rows] for key in rows[0]}
    types = {key: value.dtype for key, value in session.signatures[name].inputs.items()}
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = name
    for key, value in columns.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(plain(value), types[key]))
    return request


@contextlib.contextmanager
def serving(folder: str):
    session = ServingSession(folder)
    try:
        yield session
    finally:
        session.close()
