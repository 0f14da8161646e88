from .bulk import Written as Written, embed_source as embed_source
from .clustering import (
    Clusters as Clusters,
    Group as Group,
    cluster_csv as cluster_csv,
    cluster_rows as cluster_rows,
    cluster_values as cluster_values,
    embed_paths as embed_paths,
    group_vectors as group_vectors,
    make_clusters as make_clusters,
)
from .embedding import Embedded as Embedded, embed_images as embed_images
from .image_files import (
    BATCH as BATCH,
    ImageFile as ImageFile,
    find_images as find_images,
    read_image as read_image,
    read_in_batches as read_in_batches,
)
from .outcomes import Outcome as Outcome, outcome_help as outcome_help
from .pictures import GalleryPictures as GalleryPictures
from .preview import Row as Row, Tile as Tile, write_preview as write_preview
from .search import (
    Found as Found,
    neighbour_values as neighbour_values,
    search_images as search_images,
    search_rows as search_rows,
    search_sample as search_sample,
    search_values as search_values,
)
from .sources import (
    Part as Part,
    SourceKind as SourceKind,
    cut as cut,
    kind_of as kind_of,
    source_fingerprint as source_fingerprint,
)
from .verify import (
    Verdict as Verdict,
    describe_verdict as describe_verdict,
    squared_distance as squared_distance,
    verdict_values as verdict_values,
    verify_images as verify_images,
)
from .version import (
    Neighbour as Neighbour,
    ServedVersion as ServedVersion,
    as_text as as_text,
    open_version as open_version,
)
from .versions import (
    VersionError as VersionError,
    list_versions as list_versions,
    newest_version as newest_version,
)
