from .artifact import AUDIT_KEY as AUDIT_KEY, Audit as Audit
from .component import DataAudit as DataAudit
from .files import split_files as split_files
from .transforms import audit_images as audit_images
