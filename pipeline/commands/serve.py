"""`python -m pipeline serve`: a served version by HTTP, and a page to try it."""

from __future__ import annotations

import click

from pipeline.commands.options import config_option, model_option, named


@click.command("serve")
@config_option
@model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--rate", default=0.0, show_default=True, type=click.FloatRange(min=0),
    help="Requests a second of one client; 0 for no limit.",
)  # fmt: skip
@click.option(
    "--max-megabytes", default=20.0, show_default=True, type=click.FloatRange(min=0.001),
    help="Of the body of a request.",
)  # fmt: skip
@click.option(
    "--poll", default=5.0, show_default=True, type=click.FloatRange(min=0.1),
    help="Seconds between two looks for a new version.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Start without a version and wait for the first one.")
def serve_command(
    config_name: str | None,
    model: str | None,
    host: str,
    port: int,
    rate: float,
    max_megabytes: float,
    poll: float,
    wait: bool,
) -> None:
    """Answer searches by HTTP, with a page to try it, until it is ended.

    The newest pushed version answers. When another is pushed, it takes over between two requests;
    each answer comes from one version and names it. Nothing is written. By default only this
    machine reaches the server: it asks for no password.
    """
    from pipeline.runtime import quiet_imports

    what = named(config_name, model)
    with quiet_imports():
        from pipeline.web import WebSettings, run_server
    settings = WebSettings(host=host, port=port, rate=rate, max_megabytes=max_megabytes, poll=poll)
    run_server(
        what.folder,
        settings,
        what.max_pixels,
        wait=wait,
        listens=lambda url: click.echo(f"Open {url} in a browser; Ctrl-C ends it."),
    )
