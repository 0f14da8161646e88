"""The connection to the API of Kubeflow Pipelines."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kfp
import kfp_server_api
import urllib3
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

TOKEN = "KFP_TOKEN"
_LOCAL = ("localhost", "127.0.0.1", "::1")


class ApiError(click.ClickException):
    """The API cannot be used, or has not what was asked for; the message says what to do."""


def _checked_host(host: str, *, insecure_http: bool) -> str:
    host = host if "://" in host else f"https://{host}"
    parts = urllib.parse.urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError(
            f"--host {host!r} is not a URL such as https://kubeflow.example.com/pipeline"
        )
    if parts.scheme == "http" and parts.hostname not in _LOCAL and not insecure_http:
        raise ApiError(
            f"{host} is not encrypted. Use https://, or a tunnel (kubectl port-forward) to "
            "http://localhost, or add --insecure-http if the network is trusted."
        )
    return host


class _Client(kfp.Client):
    """Asks once whether the API is there; kfp's client goes on for half a minute, with traces."""

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
        """What the API says of itself."""
        return self._healthz_api.healthz_service_get_healthz()


def connect(
    host: str,
    *,
    token_file: str | None = None,
    in_cluster: bool = False,
    ca_cert: str | None = None,
    insecure_http: bool = False,
    namespace: str = "kubeflow",
) -> kfp.Client:
    """Makes the client of the kfp package.

    Args:
        host: URL; https:// is added where there is no scheme.
        token_file: File with a bearer token; else the environment variable KFP_TOKEN, if set.
        in_cluster: Take the token that Kubernetes mounts for the service account.
        ca_cert: Certificate authority to trust.
        insecure_http: Allow http:// to other machines.
        namespace: Of the user, where Kubeflow has several.

    Raises:
        ApiError: A host without encryption, or two kinds of credentials.
    """
    token = Path(token_file).read_text().strip() if token_file else os.environ.get(TOKEN)
    if token and in_cluster:
        raise ApiError(f"Give either --in-cluster or a token (--token-file, {TOKEN}), not both.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "only works with v2", which is the case
        return _Client(
            host=_checked_host(host, insecure_http=insecure_http),
            existing_token=token,
            credentials=ServiceAccountTokenVolumeCredentials() if in_cluster else None,
            ssl_ca_cert=ca_cert,
            namespace=namespace,
        )


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns what the API answers into one message without a traceback."""
    try:
        yield
    except kfp_server_api.ApiException as error:
        advice = {
            401: "The token is missing or no longer valid: see --token-file, KFP_TOKEN.",
            403: "This account may not do that: check its role bindings and --namespace.",
            404: "Nothing there: check the path of --host (…/pipeline behind a gateway) and names.",
        }.get(error.status, "")
        detail = error.body.decode() if isinstance(error.body, bytes) else error.body
        raise ApiError(
            f"The API answered {error.status} {error.reason}. {advice}\n{detail or ''}".strip()
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ApiError(
            f"The API cannot be reached: {error}. Check --host, and --ca-cert for a certificate "
            "that is not public."
        ) from error


def pipeline_id(client: kfp.Client, name: str) -> str:
    """Finds a deployed pipeline.

    Raises:
        ApiError: There is none of this name.
    """
    found = client.get_pipeline_id(name)
    if found is None:
        raise ApiError(f"There is no pipeline {name!r}; upload it with `deploy` first.")
    return found


def version_id(client: kfp.Client, pipeline: str, version: str | None) -> str:
    """Finds a version of a pipeline by its name; the newest one by default.

    Raises:
        ApiError: There is none.
    """
    names = []
    for found in _versions(client, pipeline):
        if version in (None, found.display_name, found.pipeline_version_id):
            return found.pipeline_version_id
        names.append(found.display_name)
    raise ApiError(f"The pipeline has no version {version!r}; there are {', '.join(names)}.")


def _versions(client: kfp.Client, pipeline: str) -> Iterator[Any]:
    """Newest first."""
    yield from pages(
        lambda token: client.list_pipeline_versions(
            pipeline, page_token=token, page_size=50, sort_by="created_at desc"
        ),
        "pipeline_versions",
    )


def pages(request: Any, field: str) -> Iterator[Any]:
    """Goes through all pages of a list of the API.

    Args:
        request: Takes a page token, returns a page.
        field: Where the page holds its items.
    """
    token = ""
    while True:
        page = request(token)
        yield from getattr(page, field) or []
        token = page.next_page_token
        if not token:
            return
