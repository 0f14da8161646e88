"""The same chain on open-source Kubeflow Pipelines: compile, prepare, pods, schedules.

Look here for `python -m kubeflow …`, what runs in a pod (`prepare.py`, `node.py`), the YAML
(`spec.py`) and the manifests of volume, metadata database and serving. It uses only `pipeline`.

>>> from click.testing import CliRunner
>>> from kubeflow.__main__ import main
>>> "schedule" in CliRunner().invoke(main, ["--help"]).output
True
"""
