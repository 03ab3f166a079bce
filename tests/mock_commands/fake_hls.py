#!/usr/bin/env python3
"""Plays vitis-run, vitis_hls or vivado_hls: logs how it was called and leaves real report text.

``FAKE_HLS_FAIL=<step>`` makes that step fail, ``FAKE_HLS_SLEEP=<seconds>`` makes every step slow.
The steps come from ``build_opt.tcl`` (Vitis) or the last argument (Vivado), as in hls4ml's scripts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

EXCERPTS = Path(__file__).resolve().parent.parent / "hls" / "report_excerpts"
# Switch of the build script -> what it leaves where, below <top>_prj/solution1.
REPORTS = {
    "synth": ("syn/report/myproject_csynth.rpt", "vivado_2019.2_csynth.rpt"),
    "cosim": ("sim/report/myproject_cosim.rpt", "vivado_2019.2_cosim.rpt"),
    "export": ("impl/report/verilog/myproject_export.rpt", "vivado_2019.2_export.rpt"),
}


def switches() -> dict[str, bool]:
    """The steps asked for."""
    options = Path("build_opt.tcl")
    text = options.read_text() if options.is_file() and "=" not in sys.argv[-1] else sys.argv[-1]
    return {name: value == "1" for name, value in re.findall(r"(\w+)[\s=]+([01])\b", text)}


def main() -> int:
    asked = switches()
    with Path("calls.jsonl").open("a") as log:
        log.write(
            json.dumps(
                {"argv": [Path(sys.argv[0]).name, *sys.argv[1:]], "on": sorted(k for k, on in asked.items() if on)}
            )
            + "\n"
        )
    if not Path("build_prj.tcl").is_file():
        print("ERROR: [HLS 200-101] cannot open build_prj.tcl")
        return 1
    time.sleep(float(os.environ.get("FAKE_HLS_SLEEP", "0")))
    for name, on in asked.items():
        if on and os.environ.get("FAKE_HLS_FAIL") == name:
            print(f"ERROR: [HLS 200-1715] Encountered problem during {name}")
            return 1
        if on and name in REPORTS:
            place, source = REPORTS[name]
            target = Path("myproject_prj/solution1") / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(EXCERPTS / source, target)
        if on and name == "vsynth":
            shutil.copy(EXCERPTS / "vivado_2019.2_utilization.rpt", "vivado_synth.rpt")
    print("INFO: [HLS 200-112] Total elapsed time: 1 seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
