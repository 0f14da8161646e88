from .component import RecordExampleGen as RecordExampleGen
