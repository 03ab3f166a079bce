"""HLS tools by name and version: the two lines differ in how they schedule and cost the same C++."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.errors import ConfigError

# Vivado HLS ended with 2020.1; Vitis HLS took over with 2020.2.
FIRST_VERSION = {"vivado_hls": (2012, 2), "vitis_hls": (2019, 2)}
LAST_VERSION = {"vivado_hls": (2020, 1), "vitis_hls": (2029, 9)}
DEFAULT_VERSION = {"vivado_hls": (2020, 1), "vitis_hls": (2023, 2)}
UNCERTAINTY = {"vivado_hls": 0.125, "vitis_hls": 0.27}  # share of the clock period each tool keeps back by default


@dataclass(frozen=True)
class Tool:
    """An HLS tool: ``vivado_hls`` or ``vitis_hls`` and its year and release."""

    name: str
    version: tuple[int, int]

    @property
    def vitis(self) -> bool:
        """Whether it schedules as Vitis HLS does."""
        return self.name == "vitis_hls"

    @property
    def line(self) -> str:
        """``vivado`` or ``vitis``."""
        return "vitis" if self.vitis else "vivado"

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"

    def usable_ns(self, clock_period_ns: float, uncertainty_ns: float | None = None) -> float:
        """What remains of a clock period after the tool's uncertainty."""
        kept_back = UNCERTAINTY[self.name] * clock_period_ns if uncertainty_ns is None else uncertainty_ns
        return clock_period_ns - kept_back


def parse_tool(text: str) -> Tool:
    """Read ``vitis_hls 2023.2``, ``vivado_hls 2019.2.1``, ``Vitis`` or ``vivado``; raises ``ConfigError``."""
    match = re.match(r"^\s*(vivado|vitis)(?:_hls|-run| hls)?(?:[\s_-]+(\d{4})\.(\d)(?:\.\d+)?)?\s*$", text, re.I)
    if match is None:
        raise ConfigError(f'tool must look like "vitis_hls 2023.2" or "vivado_hls 2020.1", got "{text}"')
    name = match.group(1).lower() + "_hls"
    version = (int(match.group(2)), int(match.group(3))) if match.group(2) else DEFAULT_VERSION[name]
    if not FIRST_VERSION[name] <= version <= LAST_VERSION[name]:
        raise ConfigError(
            f"tool: there is no {name} {version[0]}.{version[1]}; Vivado HLS went from 2012.2 to 2020.1, Vitis HLS "
            f'began with 2019.2, got "{text}"'
        )
    return Tool(name, version)
