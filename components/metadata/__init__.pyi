from .lineage import Lineage as Lineage
