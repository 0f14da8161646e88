"""The commands with the real kfp client against a server that records its requests."""

from __future__ import annotations

import contextlib
import io
import re
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from kubeflow.__main__ import run_main
from kubeflow.spec import pipeline_yaml
from pipeline.config import parse_config
from pipeline.runtime import ExitCode
from tests.kubeflow.api_server import Api, serve

NODES = {"ImageExampleGen": [], "StatisticsGen": ["ImageExampleGen"], "Trainer": ["StatisticsGen"]}


@pytest.fixture
def api(monkeypatch, tmp_path):
    monkeypatch.delenv("KFP_TOKEN", raising=False)
    monkeypatch.delenv("KFP_HOST", raising=False)
    with serve() as api:
        yield api


@pytest.fixture
def package(tmp_path) -> Path:
    return write_package(tmp_path / "digits.yaml", "triplet:1")


def write_package(path: Path, image: str) -> Path:
    config = parse_config({"pipeline": {"name": "digits"}, "data": {"path": "photos"}}, "test")
    path.write_text(pipeline_yaml(config, NODES, image), encoding="utf-8")
    return path


class Result(NamedTuple):
    exit_code: int
    output: str


def invoke(*arguments: str | Path, api: Api | None = None) -> Result:
    """Through the real entry point, which turns errors into exit codes."""
    host = ["--host", api.url] if api else []
    output = io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        pytest.raises(SystemExit) as ended,
    ):
        run_main([*map(str, arguments), *host])
    return Result(ended.value.code or 0, output.getvalue())


def ok(*arguments: str | Path, api: Api) -> str:
    result = invoke(*arguments, api=api)
    assert result.exit_code == 0, result.output
    return result.output


def test_deploy_uploads_a_pipeline_then_versions_of_it(api, package) -> None:
    ok("deploy", package, "--version", "winter", api=api)
    ((query, body),) = api.asked("POST", "pipelines/upload")
    assert query == {"name": "digits", "description": "The pipeline digits of TFX nodes."}
    assert package.read_bytes() in body
    assert [version["display_name"] for version in api.versions] == ["winter"]  # and no other one
    assert re.fullmatch(
        r"Configuration [0-9a-f]{12}, image triplet:1\.", api.versions[0]["description"]
    )
    assert "version winter of digits is deployed already" in ok(
        "deploy", package, "--version", "winter", api=api
    )

    write_package(package, "triplet:2")
    output = ok("deploy", package, api=api)
    _, (query, body) = api.asked("POST", "pipelines/upload_version")
    assert query["pipelineid"] == api.pipelines[0]["pipeline_id"]
    assert f"Deployed the version {query['name']} of digits." in output
    assert b"triplet:2" in body

    # The same package has the same version: nothing is uploaded twice.
    assert "is deployed already" in ok("deploy", package, api=api)
    ok("deploy", package, "--version", "spring", api=api)
    names = [query["name"] for query, _ in api.asked("POST", "pipelines/upload_version")]
    assert names == ["winter", query["name"], "spring"]
    assert len(api.asked("POST", "pipelines/upload")) == 1


def test_deploy_rejects_what_is_no_pipeline(api, tmp_path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("pipelineInfo: {name: x}\nunknown: 1\n---\nplatforms: {}\n")
    result = invoke("deploy", file, api=api)
    assert result.exit_code == ExitCode.USAGE
    assert "Not a pipeline of Kubeflow Pipelines v2" in result.output
    assert api.requests == []


def test_run_takes_the_newest_version_and_only_given_parameters(api, package) -> None:
    for version in ("one", "two", "three"):
        ok("deploy", package, "--version", version, api=api)
    ok("run", "digits", "--train-steps", 7, "--thresholds", '{"map@r": {"lower": 0.5}}', api=api)
    ((_, body),) = api.asked("POST", "runs")
    (newest,) = [v for v in api.versions if v["display_name"] == "three"]
    assert body["pipeline_version_reference"] == {
        "pipeline_id": api.pipelines[0]["pipeline_id"],
        "pipeline_version_id": newest["pipeline_version_id"],
    }
    assert body["runtime_config"]["parameters"] == {
        "train_steps": 7,
        "thresholds": {"map@r": {"lower": 0.5}},
    }
    assert re.fullmatch(r"digits, \d{4}-\d\d-\d\d \d\d:\d\d", body["display_name"])
    assert [e["display_name"] for e in api.experiments] == ["digits"]

    # The oldest one, which lies on the second page.
    ok("run", "digits", "--version", "one", "--experiment", "try", api=api)
    (_, (_, body)) = api.asked("POST", "runs")
    assert (
        body["pipeline_version_reference"]["pipeline_version_id"]
        == (api.versions[0]["pipeline_version_id"])
    )
    assert [e["display_name"] for e in api.experiments] == ["digits", "try"]
    result = invoke("run", "digits", "--version", "four", "--experiment", "another", api=api)
    assert result.exit_code == ExitCode.FAILED
    assert "no version 'four'; there are three, two, one." in result.output
    assert [e["display_name"] for e in api.experiments] == ["digits", "try"]


def tasks(**states: str) -> dict:
    """As a live backend tells them: of all the same time, with its own things among them."""
    details = [
        {"display_name": name.replace("_", "-"), "state": state, "create_time": "2027-01-01"}
        for name, state in states.items()
    ]
    own = ("digits-x7k2p", "root", "executor(0)", "prepare-driver(0)", "trainer-driver(0)")
    details += [{"display_name": name, "state": "SUCCEEDED"} for name in own]
    return {"run_details": {"task_details": details}}


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_run_waits_and_shows_each_change_once(api, package, end, code) -> None:
    ok("deploy", package, api=api)
    api.states = [
        {"state": "RUNNING"} | tasks(root="RUNNING", trainer_driver="SUCCEEDED", trainer="RUNNING"),
        {"state": "RUNNING"} | tasks(root="RUNNING", executor="RUNNING", trainer="RUNNING"),
        {"state": end} | tasks(root=end, trainer=end),
    ]
    result = invoke("run", "digits", "--wait", "--poll", "0.01", api=api)
    assert result.exit_code == code, result.output
    shown = [line.split("s  ")[1] for line in result.output.splitlines() if " s  " in line]
    assert shown == ["Trainer: RUNNING", f"Trainer: {end}"]
    run_id = api.runs[0]["run_id"]
    assert result.output.splitlines()[-1] == f"Run {run_id}: {end}"
    logs = f"kubectl logs -n kubeflow -l pipeline/runid={run_id} -c main"
    assert (logs in result.output) == (end == "FAILED")


def test_waiting_outlives_a_restart_of_the_api(api, package) -> None:
    ok("deploy", package, api=api)
    api.states = [503, 500, {"state": "RUNNING"}, 503, {"state": "SUCCEEDED"}]
    ok("run", "digits", "--wait", "--poll", "0.01", api=api)
    api.states = [503] * 5
    result = invoke("run", "digits", "--wait", "--poll", "0.01", api=api)
    assert result.exit_code == ExitCode.FAILED
    assert "The API answered 503" in result.output


def test_waiting_gives_up_but_the_run_goes_on(api, package) -> None:
    ok("deploy", package, api=api)
    result = invoke("run", "digits", "--wait", "--timeout", "0", "--poll", "0.01", api=api)
    assert result.exit_code == ExitCode.FAILED
    assert "still PENDING after 0 s and goes on; look again with `status" in result.output


def test_status(api, package) -> None:
    ok("deploy", package, api=api)
    assert ok("status", api=api) == "No runs yet.\n"
    ok("run", "digits", "--name", "first", api=api)
    run_id = api.runs[0]["run_id"]
    assert f"{run_id}  " in ok("status", api=api)
    api.states = [
        {"state": "RUNNING"}
        | tasks(
            trainer="RUNNING",
            image_example_gen_to_statistics_gen="SUCCEEDED",
            prepare="SUCCEEDED",
        )
    ]
    details = api.states[0]["run_details"]["task_details"]
    details[1] |= {"start_time": "2027-01-01T03:00:00Z", "end_time": "2027-01-01T03:01:30Z"}
    details[2] |= {"start_time": "2027-01-01T02:59:00Z", "end_time": "2027-01-01T02:59:40Z"}
    details[0] |= {"start_time": "2027-01-01T03:01:40Z"}
    assert ok("status", run_id, api=api) == (
        "first: RUNNING\n  prepare: SUCCEEDED, 40 s\n"
        "  ImageExampleGen, StatisticsGen: SUCCEEDED, 90 s\n  Trainer: RUNNING\n"
    )
    api.states = [{"state": "FAILED"} | tasks(trainer="FAILED")]
    api.states[0]["run_details"]["task_details"][0]["error"] = {"message": "out of memory"}
    shown = ok("status", run_id, "--namespace", "mine", api=api)
    assert "  Trainer: FAILED: out of memory\n" in shown
    assert f"kubectl logs -n mine -l pipeline/runid={run_id}" in shown


def test_a_run_of_a_version_that_is_gone_shows_no_things_of_kubeflow(api, package) -> None:
    ok("deploy", package, api=api)
    ok("run", "digits", "--name", "digits-x7k2p", api=api)
    api.versions = []
    api.states = [{"state": "RUNNING"} | tasks(trainer="RUNNING")]
    shown = ok("status", api.runs[0]["run_id"], api=api)
    assert shown == "digits-x7k2p: RUNNING\n  trainer: RUNNING\n"


def test_a_run_is_cancelled_once(api, package) -> None:
    ok("deploy", package, api=api)
    ok("run", "digits", api=api)
    run_id = api.runs[0]["run_id"]
    assert "is being ended" in ok("cancel", run_id, api=api)
    assert api.runs[0]["state"] == "CANCELING"
    api.runs[0]["state"] = "CANCELED"
    assert "has ended already: CANCELED" in ok("cancel", run_id, api=api)
    assert len(api.asked("POST", f"runs/{run_id}:terminate")) == 1


def test_schedules(api, package) -> None:
    ok("deploy", package, api=api)
    create = ("schedule", "create", "digits")
    ok(*create, "--name", "nightly", "--cron", "0 0 3 * * *", "--seed", 3, api=api)
    ((_, body),) = api.asked("POST", "recurringruns")
    assert body["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert body["description"] == api.versions[0]["description"]
    assert int(body["max_concurrency"]) == 1
    assert body["no_catchup"] is True
    assert body["mode"] == "ENABLE"
    assert body["runtime_config"]["parameters"] == {"seed": 3}

    for number in (1, 2):
        ok(*create, "--name", f"hourly-{number}", "--every", 3600, "--catch-up", api=api)
    *_, (_, body) = api.asked("POST", "recurringruns")
    assert int(body["trigger"]["periodic_schedule"]["interval_second"]) == 3600
    assert body["no_catchup"] is False

    listed = ok("schedule", "list", api=api)
    assert "nightly: cron '0 0 3 * * *', on" in listed
    assert "hourly-2: every 3600 s, on" in listed  # on the second page
    ok("schedule", "pause", "hourly-2", api=api)
    assert "hourly-2: every 3600 s, paused" in ok("schedule", "list", api=api)
    ok("schedule", "resume", "hourly-2", api=api)
    assert "hourly-2: every 3600 s, on" in ok("schedule", "list", api=api)
    ok("schedule", "delete", "hourly-2", api=api)
    assert "hourly-2" not in ok("schedule", "list", api=api)

    result = invoke(*create, "--name", "nightly", "--every", "60", api=api)
    assert "There is a schedule 'nightly'; add --replace" in result.output
    before = [one["recurring_run_id"] for one in api.schedules]
    ok(*create, "--name", "nightly", "--every", "60", "--replace", api=api)
    assert sorted(one["display_name"] for one in api.schedules) == ["hourly-1", "nightly"]
    assert before[0] not in [one["recurring_run_id"] for one in api.schedules]
    result = invoke("schedule", "pause", "weekly", api=api)
    assert "no schedule 'weekly'; there are: hourly-1, nightly" in result.output


def test_a_schedule_does_not_go_while_a_run_of_it_goes_on(api, package) -> None:
    """Kubernetes would remove the workflow with it, and the run be RUNNING for ever."""
    ok("deploy", package, api=api)
    create = ("schedule", "create", "digits", "--name", "nightly", "--every", "60")
    ok(*create, api=api)
    (nightly,) = api.schedules
    number = nightly["recurring_run_id"]
    other = {"state": "RUNNING", "recurring_run_id": "another"}
    api.runs = [
        {"run_id": "r1", "state": "RUNNING", "recurring_run_id": number},
        *({"run_id": f"o{i}"} | other for i in range(3)),  # the run of ours is on the second page
    ]
    for command in (("schedule", "delete", "nightly"), (*create, "--replace")):
        result = invoke(*command, api=api)
        assert result.exit_code == ExitCode.FAILED
        assert "The run r1 of this schedule goes on" in result.output
        assert api.schedules == [nightly]
        assert nightly["status"] == "ENABLED"  # as before
    api.runs[0]["state"] = "SUCCEEDED"
    ok(*create, "--replace", api=api)
    assert [one["recurring_run_id"] != number for one in api.schedules] == [True]
    api.runs[0] |= {"state": "RUNNING", "recurring_run_id": api.schedules[0]["recurring_run_id"]}
    threading.Timer(0.2, lambda: api.runs[0].update(state="SUCCEEDED")).start()
    ok("schedule", "delete", "nightly", "--wait", 30, api=api)
    assert api.schedules == []
    ok(*create, api=api)
    api.runs[0] |= {"state": "RUNNING", "recurring_run_id": api.schedules[0]["recurring_run_id"]}
    ok("schedule", "delete", "nightly", "--force", api=api)
    assert api.schedules == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cron", "0 3 * * *"], "has 5 fields, expected six"),
        (["--cron", "0 0 3 * * *", "--every", "5"], "Give either --cron or --every."),
        ([], "Give either --cron or --every."),
        (["--every", "5", "--max-concurrency", "11"], "is not in the range 1<=x<=10"),
        (["--every", "5", "--thresholds", "[1]"], "is not a JSON object"),
        (["--every", "5", "--settings", "{"], "is not JSON"),
    ],
)
def test_schedules_that_make_no_sense(api, arguments, message) -> None:
    result = invoke("schedule", "create", "digits", "--name", "x", *arguments, api=api)
    assert result.exit_code == ExitCode.USAGE
    assert message in " ".join(result.output.replace("│", " ").split())
    assert api.requests == []


def test_a_pipeline_that_is_not_there(api) -> None:
    result = invoke("run", "digits", api=api)
    assert result.exit_code == ExitCode.FAILED
    assert "There is no pipeline 'digits'; upload it with `deploy` first." in result.output


def test_tokens(monkeypatch, tmp_path) -> None:
    with serve(token="secret") as api:
        result = invoke("status", api=api)
        assert result.exit_code == ExitCode.FAILED
        assert "answered 401" in result.output
        assert "--token-file, KFP_TOKEN" in result.output
        file = tmp_path / "token"
        file.write_text("secret\n")
        assert "No runs yet." in ok("status", "--token-file", file, api=api)
        monkeypatch.setenv("KFP_TOKEN", "secret")
        assert "No runs yet." in ok("status", api=api)
        result = invoke("status", "--in-cluster", api=api)
        assert result.exit_code == ExitCode.USAGE
        assert "not both" in result.output
        monkeypatch.delenv("KFP_TOKEN")
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
        assert "No runs yet." in ok("status", "--in-cluster", api=api)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("http://kubeflow.example.com", "is not encrypted. Use https://"),
        ("ftp://x", "is not a URL such as"),
    ],
)
def test_hosts_that_are_rejected(host, message) -> None:
    result = invoke("status", "--host", host)
    assert result.exit_code == ExitCode.USAGE
    assert message in result.output


def test_a_host_without_scheme_is_asked_by_tls(api) -> None:
    # The server speaks no TLS, so the handshake fails and not a word is sent in the clear.
    result = invoke("status", "--host", api.url.removeprefix("http://"))
    assert result.exit_code == ExitCode.FAILED
    assert "The API cannot be reached" in result.output
    assert "SSL" in result.output
    assert api.requests == []
