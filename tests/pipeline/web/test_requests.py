"""Every request of the web application, by HTTP, against the definition."""

from __future__ import annotations

import base64
import re

import httpx
import numpy as np
import pytest

from pipeline.web.limits import Rates
from tests.pipeline.served.served_versions import (
    GALLERY,
    QUERIES,
    jpeg,
    neighbours_by_loop,
    write_version,
)
from tests.pipeline.web.servers import serving

ONE, TWO = QUERIES[0][0], QUERIES[1][0]
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def client(version_folder):
    with (
        serving(version_folder.parent, max_megabytes=0.1, max_images=4) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def form(*images: bytes) -> dict:
    return {"files": [("images", (f"{n}.png", image)) for n, image in enumerate(images)]}


def found(result: dict) -> list[tuple[str, str, float]]:
    return [(one["id"], one["label"], one["distance"]) for one in result["neighbours"]]


def test_search_finds_what_the_definition_says(client) -> None:
    answer = client.post("/search?k=3", content=ONE, headers=PNG)
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    assert answer.json()["version"] == "7"
    assert found(result) == neighbours_by_loop(ONE, GALLERY, 3)
    assert {one["picture"] for one in result["neighbours"]} == {None}
    several = client.post("/search?k=2&pictures=true", **form(ONE, TWO)).json()["results"]
    assert [one["name"] for one in several] == ["0.png", "1.png"]
    images = {example_id.decode(): image for image, _, example_id in GALLERY}
    for image, result in zip((ONE, TWO), several, strict=True):
        assert found(result) == neighbours_by_loop(image, GALLERY, 2)
        for one in result["neighbours"]:
            kind, _, content = one["picture"].partition(",")
            assert kind == "data:image/jpeg;base64"
            assert base64.b64decode(content) == jpeg(images[one["id"]])


def test_embed_gives_the_vectors_of_the_model(client, version) -> None:
    answer = client.post("/embed", **form(ONE, b"no image", TWO)).json()
    expected = version.embed([ONE, TWO]).vectors
    first, bad, last = answer["results"]
    np.testing.assert_array_equal(np.float32([first["vector"], last["vector"]]), expected)
    assert bad["vector"] is None
    assert "first bytes" in bad["error"]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"content": b"no image"}, 422, "neither JPEG"),
        ({"content": ONE[:90], "headers": PNG}, 422, "Invalid PNG"),
        ({"content": b""}, 422, "body is empty"),
        ({"files": [("images", ("a.png", b""))]}, 422, "empty"),
        ({"data": {"k": "3"}}, 422, "neither JPEG"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 422, "boundary"),
        (form(*[ONE] * 5), 422, "At most 4 images"),
        ({"content": bytes(100_001)}, 413, "larger than 0.1 MB"),
        ({"content": (bytes(30_000) for _ in range(4))}, 413, "larger than 0.1 MB"),
        (form(bytes(100_001)), 413, "larger than 0.1 MB"),
    ],
)
def test_what_cannot_be_answered_says_why(client, request_, status, words) -> None:
    answer = client.post("/search", **request_)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert re.search(re.escape(words), answer.json()["error"])
    assert client.post("/search", content=ONE).status_code == 200


@pytest.mark.parametrize("k", ["0", "101", "x"])
def test_a_wrong_number_of_neighbours_is_refused(client, k: str) -> None:
    answer = client.post(f"/search?k={k}", content=ONE)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("k: ")


def test_nothing_else_is_there(client) -> None:
    assert client.get("/search").status_code == 405
    for path in ("/nothing", "/page.js/../application.py", "/..%2fapplication.py"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json() == {"error": "Not Found"}


def test_what_a_cluster_asks(client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "version": "7"}
    about = client.get("/version").json()
    assert (about["version"], about["gallery"], about["kind"]) == ("7", 60, "flat")
    before = metric(client, 'triplet_requests_total{path="/embed",status="200"}')
    client.post("/embed", content=ONE)
    client.get("/nothing")
    assert metric(client, 'triplet_requests_total{path="/embed",status="200"}') == before + 1
    assert metric(client, 'triplet_requests_total{path="other",status="404"}') >= 1
    assert metric(client, "triplet_version") == 7
    assert metric(client, "triplet_gallery_images") == 60
    assert metric(client, "triplet_waiting_images") == 0


def metric(client: httpx.Client, name: str) -> float:
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_the_requests_are_described(client) -> None:
    described = client.get("/openapi.json").json()
    assert {"/embed", "/search", "/version", "/readyz"} <= described["paths"].keys()
    content = described["paths"]["/search"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/jpeg"} <= content.keys()
    page = client.get("/docs").text
    assert "POST /search" in page
    assert "neighbours: [{id, label, distance" in page
    assert "<script" not in page


def test_pages_load_nothing_from_elsewhere(client) -> None:
    for path in ("/", "/docs", "/style.css", "/page.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert not re.search(r"(https?:)?//[\w.]+\.\w", answer.text), path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy


def test_another_name_for_this_machine_is_refused(client) -> None:
    """A page elsewhere could give its own name our address and read what we answer."""
    for host, status in (("example.com", 421), ("localhost:1", 200), ("[::1]:80", 200)):
        assert client.get("/readyz", headers={"Host": host}).status_code == status


def test_a_client_that_asks_too_often_is_told_when_to_ask_again(version_folder) -> None:
    with (
        serving(version_folder, rate=0.2) as url,  # so that one request may come at once
        httpx.Client(base_url=url) as client,
    ):
        assert client.post("/embed", content=ONE).status_code == 200
        answer = client.post("/embed", content=ONE)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 5
        assert client.get("/readyz").status_code == 200


def test_a_rate_is_kept_over_time_for_each_client() -> None:
    now = 0.0
    rates = Rates(None, 2.0, lambda: now)
    assert [rates.seconds_to_wait("a") for _ in range(11)] == [0] * 10 + [1 / 2]
    assert rates.seconds_to_wait("b") == 0
    now = 1.0
    assert [rates.seconds_to_wait("a") for _ in range(3)] == [0, 0, 1 / 2]


def test_a_version_without_an_index_embeds_only(model, tmp_path) -> None:
    with serving(model) as url, httpx.Client(base_url=url) as client:
        assert client.post("/embed", content=ONE).status_code == 200
        answer = client.post("/search", content=ONE)
        assert answer.status_code == 503
        assert "no index" in answer.json()["error"]
        assert client.get("/version").json()["gallery"] is None


def test_verify_compares_two_images(calibrated) -> None:
    pairs = {"a": ("a.png", ONE), "b": ("b.png", ONE)}
    with serving(calibrated) as url, httpx.Client(base_url=url) as client:
        answer = client.post("/verify", files=pairs)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "version": "8",
            "same": True,
            "distance": 0,
            "threshold": 0.75,
            "false_accept_rate": 1 / 128,
            "false_accept_rate_interval": [1 / 256, 1 / 64],
            "true_accept_rate": 3 / 4,
            "true_accept_rate_interval": None,
            "level": 0.95,
        }
        strict = client.post("/verify?threshold=0", files=pairs).json()
        assert (strict["same"], strict["false_accept_rate"]) == (False, None)
        for wrong, status, words in (
            ({"files": {"a": pairs["a"]}}, 422, "no file b"),
            ({"content": ONE}, 415, "files a and b"),
            ({"files": {"a": pairs["a"], "b": ("b.png", b"no")}}, 422, "b.png: neither JPEG"),
        ):
            answer = client.post("/verify", **wrong)
            assert (answer.status_code, words in answer.json()["error"]) == (status, True)
        near = client.post("/search?k=60", content=ONE).json()["results"][0]["neighbours"]
        assert [one["same"] for one in near] == [one["distance"] < 0.75 for one in near]
        assert client.get("/version").json()["threshold"] == 0.75


def test_verify_without_a_threshold_says_how_to_get_one(client) -> None:
    answer = client.post("/verify", files={"a": ("a", ONE), "b": ("b", TWO)})
    assert answer.status_code == 503
    assert "[evaluation] false_accept_rate" in answer.json()["error"]
    assert "?threshold=" in answer.json()["error"]


def test_pictures_are_none_where_the_gallery_has_none(model, tmp_path) -> None:
    version = write_version(tmp_path / "2", model, thumbnails=False)
    with serving(version, max_pixels=28 * 28) as url, httpx.Client(base_url=url) as client:
        answer = client.post("/search?k=1&pictures=true", content=ONE).json()
        assert answer["results"][0]["neighbours"][0]["picture"] is None
        large = client.post("/search", content=jpeg_of_size(29))
        assert large.status_code == 422
        assert "declares 29 × 28 pixels" in large.json()["error"]


def jpeg_of_size(width: int) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (width, 28)).save(buffer, "JPEG")
    return buffer.getvalue()
