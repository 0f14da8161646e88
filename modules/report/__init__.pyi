from .card import write_card as write_card
from .choosing import MOST_PICTURES as MOST_PICTURES, choose as choose
from .curves import Curve as Curve, read_curves as read_curves
from .facts import Facts as Facts, Source as Source
from .files import CARD_FILE as CARD_FILE, REPORT_FILE as REPORT_FILE, report_page as report_page
from .numbers import page_number as page_number
from .page import failure_page as failure_page, render_report as render_report
from .pictures import LARGEST as LARGEST, QUALITY as QUALITY, fit_pictures as fit_pictures
from .templates import PAGE_FOLDER as PAGE_FOLDER, render as render
from .trends import Point as Point, trend_chart as trend_chart
