from .beam import BeamSettings as BeamSettings
from .cluster import (
    ClusterConfig as ClusterConfig,
    check_visible as check_visible,
    cluster_config as cluster_config,
    cluster_values as cluster_values,
)
from .data import DataSettings as DataSettings
from .kubeflow import (
    KubeflowSettings as KubeflowSettings,
    NodeResources as NodeResources,
    PodSettings as PodSettings,
)
from .loading import (
    CONFIG_VARIABLE as CONFIG_VARIABLE,
    Config as Config,
    config_path as config_path,
    load_config as load_config,
    parse_config as parse_config,
)
from .model import PretrainedModelSettings as PretrainedModelSettings
from .paths import PROJECT as PROJECT, ProjectPath as ProjectPath
from .pipeline import PipelineSettings as PipelineSettings
from .retraining import RetrainingSettings as RetrainingSettings
