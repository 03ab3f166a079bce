"""Latency and resource estimates without vendor tools: cycles, FIFO depths, LUT/FF/DSP/BRAM, energy, calibration."""

from toolkit.estimation.beside import check_reports as check_reports
from toolkit.estimation.beside import put_beside as put_beside
from toolkit.estimation.calibration import load_calibration as load_calibration
from toolkit.estimation.calibration import save_calibration as save_calibration
from toolkit.estimation.collect import add_reports as add_reports
from toolkit.estimation.estimate import analyze as analyze
from toolkit.estimation.estimate import check_fits as check_fits
from toolkit.estimation.estimate import estimate as estimate
from toolkit.estimation.estimate import estimate_variants as estimate_variants
from toolkit.estimation.refit import calibrate as calibrate
from toolkit.estimation.validation import validate as validate
