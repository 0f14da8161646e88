"""Deployment on Kubeflow Pipelines; empty until that part is built."""
