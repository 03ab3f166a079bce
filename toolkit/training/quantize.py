"""Float Keras model to QKeras model: same weights, power-of-two scales, ranges from weights and images.

What the quantized model is made of
-----------------------------------

A functional Keras model of nothing but these layers. Layer names are those of the float model; what
is inserted is named after its neighbour, as given below.

=========================  ===========================================================================
layer                      from, and how
=========================  ===========================================================================
``InputLayer``             unchanged
``QConv1D``, ``QConv2D``,  ``Conv1D``, ``Conv2D``, ``DepthwiseConv2D``, ``Dense``; ``activation=None``
``QDepthwiseConv2D``,      (linear): the activation is a layer of its own, ``<name>_<activation>``.
``QDense``                 The output is the exact sum, not quantized.
``QDepthwiseConv2D`` then  ``SeparableConv2D``: ``<name>_depthwise`` (no bias), the quantizer of its
``QConv2D`` 1x1            output, and the pointwise part under the layer's own name.
``QAffine``                a ``BatchNormalization`` that could not be folded into the layer before it
                           (:class:`toolkit.zoo.QAffine`: ``kernel * x + bias`` per channel, exact).
``QActivation``            the only layer that rounds. Quantizer: see below. Named as the float
                           activation layer, ``<name>_<activation>`` if that was an argument of another
                           layer, or ``<producer>_quantizer`` where a value had to be quantized without
                           an activation (``<input>_quantizer`` directly after each input).
``LeakyReLU``              kept (``negative_slope`` a power of two: exact); a quantizer follows.
``MaxPooling1D/2D``,       kept; they choose or move values, nothing to round.
``GlobalMaxPooling1D/2D``,
``Flatten``, ``Reshape``,
``ZeroPadding1D/2D``,
``UpSampling1D/2D``,
``Concatenate``
``AveragePooling1D/2D``,   kept; inputs are quantized, the output (a sum over the pool divided by its
``GlobalAveragePooling..`` size) is quantized before it is used, unless it is the model's output.
``Add``                    kept, two inputs each, both quantized (three and more become a chain named
                           ``<name>_1``, ...). The output is the exact sum; a quantizer follows.
``Dropout``,               kept for quantization-aware training; nothing at inference.
``SpatialDropout1D/2D``
``Activation("softmax")``, kept, only as the model's output; their input is quantized.
``Softmax``
=========================  ===========================================================================

Every input of a ``QConv*``, ``QDense``, ``QAffine``, ``Add``, ``Concatenate``, average pooling,
``LeakyReLU`` excepted, is quantized (is on the grid of a ``QActivation`` before it). The model's
output is not: logits are the exact sum of the last ``QDense``, unless it ends in something else.

Quantizers (the classes of :mod:`toolkit.zoo.quantizers`, which are QKeras' with exact outputs):

- kernels, ``depthwise_kernel``: ``quantized_bits(bits, integer, alpha=1)``;
  ``quantized_bits(bits, 0, alpha="auto_po2", post_training_scale=powers of two per output channel)``;
  ``binary(alpha=power of two)``; ``ternary(alpha=power of two, threshold=alpha / 2)``, ``alpha`` one
  number or one per output channel. 1-bit fixed weights are ``binary``.
- biases: ``quantized_bits(bits, integer, alpha=1)``. Always present with a kernel that has a bias.
- ``QActivation``: ``quantized_relu(bits, integer)`` for values that cannot be negative (relu, inputs
  in [0, 1], averages of those), ``quantized_bits(bits, integer, alpha=1)`` for others,
  ``quantized_tanh(bits)`` and ``quantized_sigmoid(bits)`` (QKeras' hard ones: piecewise linear,
  exact in fixed point; retrain after the change).

``integer`` is QKeras': without the sign bit, and it may be negative. A reader that wants types calls
:func:`toolkit.zoo.precision_of`; for kernels it is safest to look at the values themselves,
``layer.kernel_quantizer_internal(layer.kernel)``, which are exact.
"""
