from . import node_times as node_times, work_done as work_done
from .faults import explain as explain
from .names import printable as printable, shown as shown
from .optional import best_effort as best_effort
from .output import held_back as held_back
