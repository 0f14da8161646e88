from .component import RecordExampleGen as RecordExampleGen
from .reading import read_records as read_records
