"""An HTTP server that answers like the API of Kubeflow Pipelines and records what it was asked."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

ROOT = "/apis/v2beta1"


class Api:
    """What the server knows, and the requests it received."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.pipelines: list[dict] = []
        self.versions: list[dict] = []
        self.experiments: list[dict] = []
        self.runs: list[dict] = []
        self.schedules: list[dict] = []
        # Of a run, one for each time it is asked for; a number is an error of the server.
        self.states: list[dict | int] = []
        self.url = ""
        self._ids = (f"id-{number}" for number in itertools.count(1))

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict | int | None:
        """The answer to one request; None for what does not exist, a number for an error."""
        parts = path.removeprefix(ROOT).strip("/").split("/")
        match method, parts:
            case "GET", ["healthz"]:
                return {"multi_user": False}
            case "GET", ["pipelines"]:
                named = self._named(self.pipelines, query) if "filter" in query else self.pipelines
                return {"pipelines": named}
            case "POST", ["pipelines", "upload"]:
                made = {"pipeline_id": next(self._ids), "display_name": query["name"]}
                self.pipelines.append(made)
                self._add_version(made["pipeline_id"], **_texts(query), form=body)
                return made
            case "POST", ["pipelines", "upload_version"]:
                return self._add_version(query["pipelineid"], **_texts(query), form=body)
            case "GET", ["pipelines", _, "versions", version]:
                return next((v for v in self.versions if v["pipeline_version_id"] == version), None)
            case "DELETE", ["pipelines", _, "versions", version]:
                self.versions = [v for v in self.versions if v["pipeline_version_id"] != version]
                return {}
            case "GET", ["pipelines", pipeline, "versions"]:
                found = [v for v in self.versions if v["pipeline_id"] == pipeline]
                return _page(found[::-1], query, "pipeline_versions")
            case "GET", ["experiments"]:
                return {"experiments": self._named(self.experiments, query)}
            case "POST", ["experiments"]:
                self.experiments.append(body | {"experiment_id": next(self._ids)})
                return self.experiments[-1]
            case "POST", ["runs"]:
                self.runs.append(body | {"run_id": next(self._ids), "state": "PENDING"})
                return self.runs[-1]
            case "GET", ["runs"]:
                return _page(self.runs[::-1], query, "runs")
            case "POST", ["runs", target]:
                (known,) = [r for r in self.runs if f"{r['run_id']}:terminate" == target]
                known["state"] = "CANCELING"
                return {}
            case "GET", ["runs", run]:
                (known,) = [one for one in self.runs if one["run_id"] == run]
                state = self.states.pop(0) if self.states else {}
                return state if isinstance(state, int) else known | state
            case "POST", ["recurringruns"]:
                status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[body["mode"]]
                self.schedules.append(
                    body | {"recurring_run_id": next(self._ids), "status": status}
                )
                return self.schedules[-1]
            case "GET", ["recurringruns"]:
                return _page(self.schedules, query, "recurringRuns")
            case "POST", ["recurringruns", target]:
                number, verb = re.fullmatch(r"(.*):(enable|disable)", target).groups()
                (known,) = [s for s in self.schedules if s["recurring_run_id"] == number]
                known["status"] = f"{verb.upper()}D"
                return {}
            case "DELETE", ["recurringruns", number]:
                self.schedules = [s for s in self.schedules if s["recurring_run_id"] != number]
                return {}
        return None

    def _add_version(self, pipeline: str, name: str, description: str, form: bytes) -> dict:
        package = form.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        spec, platforms = yaml.safe_load_all(package)
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": next(self._ids),
            "display_name": name,
            "description": description,
            "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platforms},
        }
        self.versions.append(made)
        return made

    def _named(self, items: list[dict], query: dict[str, str]) -> list[dict]:
        (predicate,) = json.loads(query["filter"])["predicates"]
        assert predicate["key"] == "display_name"
        return [item for item in items if item["display_name"] == predicate["stringValue"]]

    def asked(self, method: str, path: str) -> list[tuple[dict[str, str], Any]]:
        """Query and body of all requests of one kind."""
        wanted = (method, f"{ROOT}/{path}")
        return [(query, body) for m, p, query, body in self.requests if (m, p) == wanted]


def _texts(query: dict[str, str]) -> dict[str, str]:
    return {"name": query["name"], "description": query.get("description", "")}


def _page(items: list[dict], query: dict[str, str], field: str) -> dict:
    """Two items a page, so that clients must go through all of them."""
    start = int(query.get("page_token") or 0)
    more = {"next_page_token": str(start + 2)} if start + 2 < len(items) else {}
    return {field: items[start : start + 2]} | more


@contextlib.contextmanager
def serve(token: str | None = None) -> Iterator[Api]:
    """Runs the server on a free port.

    Args:
        token: The bearer token it demands, if any.
    """
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = self.headers.get("Content-Type", "")
            body = json.loads(content) if content and "json" in kind else content
            api.requests.append((self.command, url.path, query, body))
            api.headers.append(dict(self.headers))
            if token and self.headers.get("authorization") != f"Bearer {token}":
                self._send(401, {"error": "Unauthenticated"})
                return
            answer = api.answer(self.command, url.path, query, body)
            if isinstance(answer, int):
                self._send(answer, {"error": "Unavailable"})
                return
            self._send(404 if answer is None else 200, answer or {})

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815 — as http.server wants them

        def _send(self, status: int, body: dict) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
