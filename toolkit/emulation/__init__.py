"""Bit-exact emulation of an HLS project without compiling it."""

from toolkit.emulation.emulator import Emulator, emulate

__all__ = ["Emulator", "emulate"]
