from . import work_done as work_done
from .output import held_back as held_back
