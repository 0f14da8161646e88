from .collection import (
    Database as Database,
    Facts as Facts,
    Stored as Stored,
    VectorDatabaseError as VectorDatabaseError,
    collection_name as collection_name,
)
from .connecting import KINDS as KINDS, open_database as open_database
from .gallery import Batch as Batch, Gallery as Gallery, open_gallery as open_gallery
from .handover import HandedOver as HandedOver, hand_over as hand_over
from .postgresql import PostgresqlDatabase as PostgresqlDatabase
from .qdrant import QdrantDatabase as QdrantDatabase
from .vector_types import PGVECTOR as PGVECTOR, VectorType as VectorType
