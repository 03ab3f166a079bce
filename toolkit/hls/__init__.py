"""HLS projects: Keras to hls4ml, the project on disk, csim with g++, and the check against QKeras.

``graph`` and ``project`` read a written project without TensorFlow or hls4ml; ``convert`` and
``handlers`` import them inside functions.
"""

from toolkit.hls.check import check
from toolkit.hls.csim import CsimLibrary, build_csim
from toolkit.hls.folder import open_project
from toolkit.hls.lint import lint
from toolkit.hls.project import load_project, write_project
from toolkit.hls.testbench import run_testbench
from toolkit.hls.vectors import check_vectors, holds_vectors

__all__ = [
    "CsimLibrary",
    "build_csim",
    "check",
    "check_vectors",
    "holds_vectors",
    "lint",
    "load_project",
    "open_project",
    "run_testbench",
    "write_project",
]
