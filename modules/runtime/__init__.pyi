from . import work_done as work_done
