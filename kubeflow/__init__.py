"""The same chain on open-source Kubeflow Pipelines: compile, node entrypoint, commands."""
