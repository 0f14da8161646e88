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
    search_values as search_values,
)
from .version import (
    MAX_PIXELS as MAX_PIXELS,
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
