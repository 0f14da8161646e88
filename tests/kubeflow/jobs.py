"""A server that answers like the API of Kubernetes about Jobs; their pods are real processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes

from pipeline.config.paths import PROJECT

NAMESPACE, POD, ACCOUNT = "teams", "trainer-pod", "pipeline-runner"
_JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


class Jobs:
    """What the cluster knows.

    Args:
        folder: For the logs of pods.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str]] = []
        self.jobs: dict[str, dict[str, Any]] = {}  # as they were made
        self.made: list[dict[str, Any]] = []
        self.pods: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.forbids = False

    def answer(self, method: str, path: str, body: Any) -> dict[str, Any] | int:
        """The answer to one request; a number for an error."""
        self.requests.append((method, path))
        name = path.removeprefix(_JOBS).strip("/").removesuffix("/status")
        if path == f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}":
            specification = {"serviceAccountName": ACCOUNT, "containers": [{"name": "main"}]}
            return {"metadata": {"name": POD, "uid": "uid-1"}, "spec": specification}
        if method == "POST":
            if self.forbids:
                return 403
            self._make(body)
            return body
        if name not in self.jobs:
            return 404
        if method == "DELETE":
            for process in self.pods[name]:
                process.kill()
                process.wait()
            del self.jobs[name]
            return {}
        return self.jobs[name] | {"status": self._status(name)}

    def _make(self, job: dict[str, Any]) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        python, *words = container["command"] + container["args"]
        assert python == "python"
        name = job["metadata"]["name"]
        self.jobs[name] = job
        self.made.append(job)
        self.pods[name] = []
        for index in range(job["spec"]["completions"]):
            environment = {"JOB_COMPLETION_INDEX": str(index), "PYTHONPATH": str(PROJECT)}
            environment |= {one["name"]: one["value"] for one in container["env"]}
            with (self.folder / f"{name}-{index}.log").open("wb") as log:
                self.pods[name].append(
                    subprocess.Popen(
                        [sys.executable, *words],
                        cwd=PROJECT,
                        env=os.environ | environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )

    def _status(self, name: str) -> dict[str, Any]:
        codes = [process.poll() for process in self.pods[name]]
        if any(codes):
            reason = {"reason": "BackoffLimitExceeded", "message": "Job has reached the limit"}
            return {"conditions": [{"type": "Failed", "status": "True", **reason}]}
        if all(code == 0 for code in codes):
            return {"conditions": [{"type": "Complete", "status": "True"}]}
        return {"active": len(codes)}


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[Jobs, kubernetes.client.ApiClient]]:
    """Serves a cluster; gives it and a client of it."""
    jobs = Jobs(folder)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            found = jobs.answer(self.command, self.path.partition("?")[0], body)
            self.send_response(found if isinstance(found, int) else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({} if isinstance(found, int) else found).encode())

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = kubernetes.client.Configuration()
    configuration.host = f"http://127.0.0.1:{server.server_port}"
    try:
        yield jobs, kubernetes.client.ApiClient(configuration)
    finally:
        for process in (process for pods in jobs.pods.values() for process in pods):
            process.kill()
            process.wait()
        server.shutdown()
        server.server_close()
