"""Runs what a compiled pipeline says, as Kubeflow would: a process for each task, in order.

A process that starts like a pod spends most of its time on imports. So there are two ways: a new
interpreter for each task, or a fork of one that has imported everything and done nothing else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType

from kubeflow.spec import parse_yaml
from pipeline.config.paths import PROJECT
from tests.forking import quick_python

_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")
_CONDITION = re.compile(r"inputs\.parameter_values\['(\w+)'\] == '(\w+)'")


class Pods:
    """The tasks of one compiled pipeline.

    Args:
        package: The compiled YAML.
        folder: For what Kubeflow keeps of a task: its outputs.
    """

    def __init__(self, package: Path, folder: Path) -> None:
        self.spec, _ = parse_yaml(package.read_text(encoding="utf-8"))
        self.folder = folder
        self.tasks = self.spec.root.dag.tasks

    def order(self) -> Iterator[str]:
        """Names of the tasks, each after those it depends on."""
        tasks = dict(self.tasks)
        done: set[str] = set()
        while tasks:
            ready = [name for name, t in tasks.items() if done.issuperset(t.dependent_tasks)]
            assert ready, f"a circle among {list(tasks)}"
            for name in sorted(ready):
                yield name
                done.add(name)
                del tasks[name]

    def levels(self, until: Callable[[str], bool] = lambda name: True) -> int:
        """Tasks on the longest way, of those for which `until` is true."""
        height: dict[str, int] = {}
        for name in self.order():
            before = (height[one] for one in self.tasks[name].dependent_tasks)
            height[name] = until(name) + max(before, default=0)
        return max(height.values())

    def inputs(self, name: str, run_id: str, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The values of a task's inputs in a run, as text."""
        defaults = {
            key: json_format.MessageToDict(value.default_value)
            for key, value in self.spec.root.input_definitions.parameters.items()
        }
        component = self.spec.components[self.tasks[name].component_ref.name]
        kinds = component.input_definitions.parameters
        found = {}
        for key, given in self.tasks[name].inputs.parameters.items():
            if given.component_input_parameter:
                value = (defaults | dict(parameters))[given.component_input_parameter]
            elif given.HasField("task_output_parameter"):
                output = given.task_output_parameter
                value = self.output(run_id, output.producer_task, output.output_parameter_key)
            else:
                value = json_format.MessageToDict(given.runtime_value.constant)
            value = run_id if value == "{{$.pipeline_job_uuid}}" else value
            if kinds[key].parameter_type == ParameterType.NUMBER_INTEGER:
                value = int(value)
            found[key] = value if isinstance(value, str) else json.dumps(value)
        return found

    def output(self, run_id: str, name: str, key: str) -> str:
        """An output parameter of a task that has run."""
        return (self.folder / run_id / name / key).read_text(encoding="utf-8")

    def shown(self, run_id: str, name: str) -> dict[str, dict[str, Any]]:
        """What the pages of Kubeflow show of a task's artifacts: their metadata, by name."""
        made = json.loads(self.output(run_id, name, "output_metadata.json"))["artifacts"]
        return {key: artifacts["artifacts"][0]["metadata"] for key, artifacts in made.items()}

    def is_skipped(self, name: str, run_id: str) -> bool:
        """Whether Kubeflow starts no container: by the condition of a task, or of one before it.

        A task depends on the success of those before it (`Succeeded` of Argo), which a skipped one
        does not have.
        """
        task = self.tasks[name]
        if condition := task.trigger_policy.condition:
            key, value = _CONDITION.fullmatch(condition).groups()
            if self.inputs(name, run_id, {})[key] != value:
                return True
        return any(self.is_skipped(one, run_id) for one in task.dependent_tasks)

    def command(self, name: str, run_id: str, parameters: Mapping[str, Any]) -> list[str]:
        """The command line of a task in a run."""
        component = self.spec.components[self.tasks[name].component_ref.name]
        made = self.folder / run_id / name
        made.mkdir(parents=True, exist_ok=True)
        inputs = self.inputs(name, run_id, parameters)
        outputs: dict[str, Any] = {"outputFile": str(made / "output_metadata.json")}
        outputs["artifacts"] = {}
        values = {f"{{{{$.outputs.parameters['{key}'].output_file}}}}": str(made / key)
                  for key in component.output_definitions.parameters}  # fmt: skip
        for key, kind in component.output_definitions.artifacts.items():
            values[f"{{{{$.outputs.artifacts['{key}'].path}}}}"] = str(made / key)
            title = {"schemaTitle": kind.artifact_type.schema_title}
            one = {"name": key, "type": title, "uri": f"minio://bucket/{run_id}/{name}/{key}"}
            outputs["artifacts"][key] = {"artifacts": [one]}
        values["{{$}}"] = json.dumps({"inputs": {}, "outputs": outputs})
        container = json_format.MessageToDict(self.spec.deployment_spec)["executors"][
            component.executor_label
        ]["container"]
        words = container["command"] + container["args"]
        return [_INPUT.sub(lambda m: inputs[m[1]], values.get(word, word)) for word in words]

    def run(
        self,
        name: str,
        run_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        forked: bool = False,
    ) -> tuple[str, float]:
        """Runs one task to its end.

        Args:
            name: Of the task.
            run_id: Of the run.
            parameters: Of the run; defaults for the others.
            forked: Without the start of an interpreter.

        Returns:
            What it printed, and its seconds.

        Raises:
            AssertionError: It failed; the message is its error output.
        """
        python, *arguments = self.command(name, run_id, parameters or {})
        assert python == "python"
        started = time.monotonic()
        done = subprocess.run(
            [quick_python() if forked else sys.executable, *arguments],
            cwd=PROJECT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}\n{done.stderr[-8000:]}"
        return done.stdout.strip(), time.monotonic() - started
