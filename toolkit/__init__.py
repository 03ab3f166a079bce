"""Decide, before any hardware is touched, what a neural network will do on an FPGA."""
