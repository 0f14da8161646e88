from .embedder import Embedder as Embedder, UnreadableImageError as UnreadableImageError
from .embedding import (
    EMBED_BATCH as EMBED_BATCH,
    compile_embedding as compile_embedding,
    embed_in_batches as embed_in_batches,
)
from .embedding_network import (
    backbone_variables as backbone_variables,
    build_embedding_model as build_embedding_model,
    normalisations_that_learn as normalisations_that_learn,
    split_frozen as split_frozen,
)
from .input_range import find_input_range as find_input_range
from .lora import add_lora as add_lora, plain_weights as plain_weights
from .shared_embedder import SharedEmbedder as SharedEmbedder
from .warm_start import load_weights as load_weights
