"""HLS projects: Keras to hls4ml, the project on disk, csim with g++, and the check against QKeras.

``graph`` and ``project`` read a written project without TensorFlow or hls4ml; ``convert`` and
``handlers`` import them inside functions.
"""
