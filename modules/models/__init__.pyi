from .embedding_network import (
    backbone_variables as backbone_variables,
    build_embedding_model as build_embedding_model,
)
from .warm_start import load_weights as load_weights
