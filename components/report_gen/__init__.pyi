from .artifact import REPORT_KEY as REPORT_KEY, EvaluationReport as EvaluationReport
from .component import ReportGen as ReportGen
