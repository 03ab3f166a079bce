"""Bit-exact emulation of an HLS project without compiling it."""

from toolkit.emulation.emulator import Emulator, emulate
from toolkit.emulation.proof import prove

__all__ = ["Emulator", "emulate", "prove"]
