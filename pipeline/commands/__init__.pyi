from .group import main as main
from .options import (
    config_option as config_option,
    given_config as given_config,
    kubeflow_option as kubeflow_option,
)
