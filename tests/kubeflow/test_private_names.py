"""What this project uses of its libraries without their promise to keep it.

When one of these fails after an upgrade, the message says what was relied on, and where.
"""

from __future__ import annotations

import inspect

import kfp
import kfp_server_api
import pytest
from kfp import components

from kubeflow.api import Client
from tests.kubeflow.api_server import serve

pytestmark = pytest.mark.filterwarnings("ignore:This client only works")


def test_the_constructor_of_the_client_asks_by_get_kfp_healthz() -> None:
    assert "self.get_kfp_healthz(" in inspect.getsource(kfp.Client.__init__), (
        "kfp.Client.__init__ no longer calls get_kfp_healthz, which kubeflow.api.Client overrides "
        "so that it asks once. See whether the class is still needed."
    )
    with serve(token="another") as api, pytest.raises(kfp_server_api.ApiException) as error:
        Client(host=api.url)
    assert error.value.status == 401
    assert len(api.requests) == 1, "kfp asks the API again and again; see kubeflow.api.Client."


def test_the_client_offers_the_generated_api_of_healthz() -> None:
    with serve() as api:
        client = Client(host=api.url)
        assert hasattr(client, "healthzs"), (
            "kfp.Client no longer has an attribute for each generated API (`healthzs`, from "
            "HealthzServiceApi), which kubeflow.api.Client.get_kfp_healthz uses."
        )
        assert client.get_kfp_healthz().multi_user is False


def test_a_component_is_loaded_from_its_text() -> None:
    """kubeflow.spec writes each task in the format of component files, which comes from kfp 1."""
    text = """
name: digit-task
inputs:
- {name: steps, type: Integer}
- {name: settings, type: JsonObject}
- {name: path, type: String}
implementation:
  container: {image: "triplet:1", command: [python], args: [--steps, {inputValue: steps}]}
"""
    try:
        loaded = components.load_component_from_text(text)
    except Exception as error:
        pytest.fail(f"kfp no longer reads the component format of kubeflow.spec._task: {error}")
    assert {name: spec.type for name, spec in loaded.component_spec.inputs.items()} == {
        "steps": "Integer",
        "settings": "Dict",
        "path": "String",
    }, "kfp reads other types for the parameters of a run; see kubeflow.spec._INPUT_TYPES."
