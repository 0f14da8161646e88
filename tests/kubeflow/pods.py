"""Runs what a compiled pipeline says, as Kubeflow would: a process for each task, in order.

A process that starts like a pod spends most of its time on imports. So there are two ways: a new
interpreter for each task, or `tests.forking`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType

from kubeflow.spec import parse_yaml
from pipeline.config.paths import PROJECT
from tests.forking import quick_python

_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")


class Pods:
    """The tasks of one compiled pipeline."""

    def __init__(self, package: Path) -> None:
        self.spec, _ = parse_yaml(package.read_text(encoding="utf-8"))

    def order(self) -> Iterator[str]:
        """Names of the tasks, each after those it depends on."""
        tasks = dict(self.spec.root.dag.tasks)
        done: set[str] = set()
        while tasks:
            ready = [name for name, t in tasks.items() if done.issuperset(t.dependent_tasks)]
            assert ready, f"a circle among {list(tasks)}"
            for name in sorted(ready):
                yield name
                done.add(name)
                del tasks[name]

    def command(self, name: str, run_id: str, parameters: Mapping[str, Any]) -> list[str]:
        """The command line of a task in a run."""
        task = self.spec.root.dag.tasks[name]
        defaults = {
            key: json_format.MessageToDict(value.default_value)
            for key, value in self.spec.root.input_definitions.parameters.items()
        }
        component = self.spec.components[task.component_ref.name]
        kinds = component.input_definitions.parameters
        inputs = {}
        for key, given in task.inputs.parameters.items():
            if given.component_input_parameter:
                value = (defaults | dict(parameters))[given.component_input_parameter]
            else:
                value = json_format.MessageToDict(given.runtime_value.constant)
            value = run_id if value == "{{$.pipeline_job_uuid}}" else value
            if kinds[key].parameter_type == ParameterType.NUMBER_INTEGER:
                value = int(value)
            inputs[key] = value if isinstance(value, str) else json.dumps(value)
        label = component.executor_label
        container = json_format.MessageToDict(self.spec.deployment_spec)["executors"][label]
        words = container["container"]["command"] + container["container"]["args"]
        return [_PLACEHOLDER.sub(lambda match: inputs[match[1]], word) for word in words]

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
            The last line it printed, and its seconds.

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
        return done.stdout.strip().splitlines()[-1], time.monotonic() - started
