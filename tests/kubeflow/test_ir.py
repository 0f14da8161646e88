"""The compiled TFX pipeline."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf import json_format
from tfx.dsl.io import fileio

from kubeflow.ir import compile_ir, dag, for_run, write_file
from pipeline.config import Config, parse_config


def config(directory: Path | str) -> Config:
    return parse_config(
        {
            "pipeline": {"name": "digits", "directory": str(directory)},
            "data": {"path": f"{directory}/photos"},
        },
        "the test",
    )


def test_modules_travel_as_wheels_named_after_their_content(tmp_path) -> None:
    ir = compile_ir(config(tmp_path), package_modules=True)
    text = json_format.MessageToJson(ir)
    assert "compile-" not in text  # the scratch folder
    named = set(re.findall(r'"\w+@([^"]+\.whl)"', text))
    wheels = set(map(str, (tmp_path / "digits/artifacts/_wheels").iterdir()))
    assert named == wheels
    packages = {Path(wheel).name.split("-")[0].lower() for wheel in wheels}
    assert {f"tfx_user_code_{n}" for n in ("transform", "trainer", "evaluator")} <= packages
    hashes = {re.search(r"\+([0-9a-f]{64})-", wheel)[1] for wheel in wheels}
    assert len(hashes) == 1  # of the folder
    # Nothing but the wheels: no database, no folders of nodes.
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {Path(w).name for w in wheels}
    assert "module_file" not in dict(re.findall(r'"(module_file)": ({[^}]*})', text))

    times = {wheel: Path(wheel).stat().st_mtime_ns for wheel in wheels}
    again = compile_ir(config(tmp_path), package_modules=True)
    assert again == ir
    assert {wheel: Path(wheel).stat().st_mtime_ns for wheel in wheels} == times


def test_compiling_for_another_machine_leaves_no_trace(tmp_path) -> None:
    elsewhere = tmp_path / "volume"
    ir = compile_ir(config(elsewhere), package_modules=False)
    assert not elsewhere.exists()
    order = list(dag(ir))
    assert order[0] == "ImportExampleGen"
    assert {"BaselineResolver", "Trainer"} <= set(dag(ir)["Evaluator"])
    for node, upstream in dag(ir).items():
        assert all(order.index(before) < order.index(node) for before in upstream)

    run = for_run(ir, "run-7")
    assert run.runtime_spec.pipeline_run_id.field_value.string_value == "run-7"
    assert (
        run.runtime_spec.pipeline_root.field_value.string_value == f"{elsewhere}/digits/artifacts"
    )
    assert "sqlite" not in json_format.MessageToJson(run)
    assert not ir.runtime_spec.pipeline_run_id.HasField("field_value")  # a copy


def test_files_appear_whole(tmp_path) -> None:
    path = f"{tmp_path}/runs/x.pb"
    write_file(path, b"one")
    write_file(path, b"two")
    assert Path(path).read_bytes() == b"two"
    assert fileio.listdir(f"{tmp_path}/runs") == ["x.pb"]
