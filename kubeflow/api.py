"""The API of Kubeflow Pipelines: a checked connection, plain errors, and what is found by name.

Everything else is the client of the kfp package itself.
"""

from __future__ import annotations

import contextlib
import os
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import urllib3
from kfp.client import ServiceAccountTokenVolumeCredentials

from pipeline.runtime import ApiError, ConfigError

TOKEN = "KFP_TOKEN"
_LOCAL = ("localhost", "127.0.0.1", "::1")
_ADVICE = {
    401: "The token is missing or no longer valid: see --token-file, KFP_TOKEN.",
    403: "This account may not do that: check its role bindings and --namespace.",
    404: "Nothing there: check the path of --host (…/pipeline behind a gateway) and names.",
}


class Client(kfp.Client):
    """kfp's client, which asks only once whether the API is there.

    The constructor of kfp's own asks five times, waits five seconds after each failure, and logs
    their tracebacks. `tests/kubeflow/test_private_names.py` checks what this class relies on.
    """

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
        """What the API says of itself; one failure is enough to raise."""
        return self.healthzs.healthz_service_get_healthz()


@contextlib.contextmanager
def connected(
    host: str,
    *,
    token_file: str | None = None,
    in_cluster: bool = False,
    ca_cert: str | None = None,
    insecure_http: bool = False,
    namespace: str = "kubeflow",
) -> Iterator[Client]:
    """Connects to the API; what fails inside is raised as one plain message.

    Args:
        host: URL; https:// is added where there is no scheme.
        token_file: File with a bearer token; else the environment variable KFP_TOKEN, if set.
        in_cluster: Take the token that Kubernetes mounts for the service account.
        ca_cert: Certificate authority to trust.
        insecure_http: Allow http:// to other machines.
        namespace: Of the user, where Kubeflow has several.

    Yields:
        The client.

    Raises:
        ConfigError: A host that is no URL or not encrypted, or two kinds of credentials.
        ApiError: The API cannot be reached or answers with an error.
    """
    token = Path(token_file).read_text().strip() if token_file else os.environ.get(TOKEN)
    if token and in_cluster:
        raise ConfigError(f"Give either --in-cluster or a token (--token-file, {TOKEN}), not both.")
    url = _checked_url(host, insecure_http=insecure_http)
    with plain_errors():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # "only works with v2": it is v2
            client = Client(
                host=url,
                existing_token=token,
                credentials=ServiceAccountTokenVolumeCredentials() if in_cluster else None,
                ssl_ca_cert=ca_cert,
                namespace=namespace,
            )
        yield client


def _checked_url(host: str, *, insecure_http: bool) -> str:
    host = host if "://" in host else f"https://{host}"
    parts = urllib.parse.urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"--host {host!r} is not a URL such as https://kubeflow.example.com/pipeline"
        )
    if parts.scheme == "http" and parts.hostname not in _LOCAL and not insecure_http:
        raise ConfigError(
            f"{host} is not encrypted. Use https://, or a tunnel (kubectl port-forward) to "
            "http://localhost, or add --insecure-http if the network is trusted."
        )
    return host


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turns the exceptions of kfp's client into one `ApiError` that says what to do."""
    try:
        yield
    except kfp_server_api.ApiException as error:
        detail = error.body.decode() if isinstance(error.body, bytes) else error.body
        advice = _ADVICE.get(error.status, "")
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
    """Finds a version of a pipeline.

    Args:
        client: See `connected`.
        pipeline: Id of the pipeline.
        version: Name or id of the version; None: the newest.

    Raises:
        ApiError: There is none.
    """
    names = []
    for found in list_versions(client, pipeline):
        if version in (None, found.display_name, found.pipeline_version_id):
            return found.pipeline_version_id
        names.append(found.display_name)
    raise ApiError(f"The pipeline has no version {version!r}; there are {', '.join(names)}.")


def list_versions(
    client: kfp.Client, pipeline: str
) -> Iterator[kfp_server_api.V2beta1PipelineVersion]:
    """All versions of a pipeline, given by its id; the newest first."""
    return _all_pages(
        lambda token: client.list_pipeline_versions(
            pipeline, page_token=token, page_size=50, sort_by="created_at desc"
        ),
        "pipeline_versions",
    )


def list_schedules(client: kfp.Client) -> Iterator[kfp_server_api.V2beta1RecurringRun]:
    """All recurring runs."""
    return _all_pages(
        lambda token: client.list_recurring_runs(page_token=token, page_size=100), "recurring_runs"
    )


def list_runs(client: kfp.Client) -> Iterator[kfp_server_api.V2beta1Run]:
    """All runs, the newest first."""
    return _all_pages(
        lambda token: client.list_runs(page_token=token, page_size=100, sort_by="created_at desc"),
        "runs",
    )


def _all_pages(request: Callable[[str], Any], field: str) -> Iterator[Any]:
    """Yields the items of all pages of a list; kfp's client returns one page.

    Args:
        request: Takes the token of a page, returns the page.
        field: The attribute of the page that holds its items.
    """
    token = ""
    while True:
        page = request(token)
        yield from getattr(page, field) or []
        token = page.next_page_token
        if not token:
            return
