from .component import SheetExampleGen as SheetExampleGen
from .driver import Driver as Driver
from .executor import BY_COLUMN as BY_COLUMN, FORMAT as FORMAT, Executor as Executor
from .reading import read_row as read_row, read_rows as read_rows
from .rows import Row as Row, feature_names as feature_names
from .tables import Format as Format, SheetError as SheetError
