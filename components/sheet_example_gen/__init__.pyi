from .component import SheetExampleGen as SheetExampleGen
