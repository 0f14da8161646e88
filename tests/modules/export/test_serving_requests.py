"""The requests of docs/serving.md, with the protos of TensorFlow Serving."""

from __future__ import annotations

import json
import re
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.modules.export.signature_models import IMAGES
from tests.serving_session import ServingSession, arrays, request_of_json

PAGE = Path(__file__).resolve().parents[3] / "docs" / "serving.md"
GRPC, REST = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """TensorFlow Serving's service before a session."""

    def __init__(self, session: ServingSession) -> None:
        self._session = session

    def Predict(self, request, context):  # noqa: N802 — the name in the protos
        assert request.model_spec.name == "digits"
        return self._session.predict(request)


@pytest.fixture(scope="module")
def asked(full, tmp_path_factory) -> dict[str, Any]:
    """What the program of the page knows when it has run against a server."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(full), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    image = tmp_path_factory.mktemp("asked") / "one.png"
    image.write_bytes(IMAGES[0])
    program = GRPC.replace("localhost:8500", f"localhost:{port}").replace("one.png", str(image))
    known: dict[str, Any] = {}
    try:
        exec(compile(program + REST, str(PAGE), "exec"), known)
    finally:
        server.stop(None).wait()
    return known


def test_grpc(asked, full) -> None:
    vectors = full.answer("images", images=IMAGES[:1])["embedding"]
    np.testing.assert_allclose(asked["vectors"], vectors, atol=1e-6)
    np.testing.assert_allclose(asked["same_vectors"], vectors, atol=1e-6)
    nearest = full.answer("nearest", images=IMAGES[:1], k=3)
    assert asked["found"]["ids"].tolist() == nearest["ids"].tolist()
    assert asked["same"].tolist() == [True]


@pytest.mark.parametrize("name", ["images", "nearest", "match", "examples"])
def test_rest(asked, full, name: str) -> None:
    request = request_of_json(json.dumps(asked[name]), full)
    found = arrays(full.predict(request))
    wanted = {
        "images": {"embedding": asked["vectors"]},
        "nearest": asked["found"],
        "match": {"distance": np.zeros(1), "same": np.array([True])},
        "examples": {"embedding": asked["vectors"]},
    }[name]
    assert found.keys() == wanted.keys()
    for output, values in wanted.items():
        if values.dtype == object:
            assert found[output].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(found[output], values, atol=1e-6)
