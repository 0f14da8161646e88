"""`python -m kubeflow`: the pipeline on open-source Kubeflow Pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kubeflow.local import local
from kubeflow.run_commands import cancel, deploy, run, status
from kubeflow.schedule_commands import schedule
from pipeline.config import cluster_values, load_config, parse_config
from pipeline.runtime import quiet_imports, run_reporting


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    r"""The pipeline on Kubeflow Pipelines: compile, deploy, run, schedule, status.

    \b
    python -m kubeflow compile --config mnist --image REGISTRY/triplet:1 --output mnist.yaml
    python -m kubeflow deploy mnist.yaml --host https://kubeflow.example.com/pipeline
    python -m kubeflow run mnist --train-steps 800 --wait
    python -m kubeflow schedule create mnist --name nightly --cron '0 0 3 * * *'
    """


@main.command("compile")
@click.option(
    "--config", "config_name", help="TOML file or name of a ready configuration; see [kubeflow]."
)
@click.option("--image", required=True, help="Made by `make image`, with a tag or digest.")
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file to write.",
)
def compile_command(config_name: str | None, image: str, output: Path) -> None:
    """Write what Kubeflow Pipelines takes: one container task per node of the TFX pipeline."""
    config = load_config(config_name)
    in_cluster = parse_config(cluster_values(config), "the configuration in the cluster")
    with quiet_imports():
        from kubeflow.ir import compile_ir, dag
        from kubeflow.spec import pipeline_yaml, pods_of
    nodes = dag(compile_ir(in_cluster))
    output.write_text(pipeline_yaml(config, nodes, image), encoding="utf-8")
    name = image.rpartition("/")[2]
    if ":" not in name or name.endswith(":latest"):
        click.secho(
            f"warning: {image} can change under a deployed pipeline; give a tag that never does, "
            "or a digest.",
            fg="yellow",
            err=True,
        )
    pods = ["+".join(pod.nodes) for pod in pods_of(config, nodes)]
    click.echo(f"{output}: prepare and {len(nodes)} nodes in {len(pods)} pods: {', '.join(pods)}")


for command in (deploy, run, status, cancel, schedule, local):
    main.add_command(command)


def run_main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: errors as one message without a traceback; see `ExitCode`.

    Args:
        arguments: Of the command line; None: those of this process.
    """
    with run_reporting():
        main(arguments)


if __name__ == "__main__":
    run_main()
