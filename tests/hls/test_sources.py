"""Taking the generated C++ apart, as text."""

from __future__ import annotations

import pytest

from toolkit.errors import HlsError
from toolkit.hls import sources

TOP = """\
#include "myproject.h"
#include "parameters.h"

void myproject(
    hls::stream<input_t> &x,
    hls::stream<result_t> &layer5_out
) {
    hls::stream<layer2_t> layer2_out("layer2_out");
    auto& layer3_out = layer2_out;
    layer4_t layer4_out[3*4];
        nnet::load_weights_from_txt<weight2_t, 6>(w2, "w2.txt");
    nnet::conv_2d_cl<input_t, layer2_t, config2>(x, layer2_out, w2, b2); // conv
    nnet::relu<layer2_t, layer4_t, relu_config4>(layer3_out, layer4_out); // relu
    nnet::dense<layer4_t, result_t, config5>(layer4_out, layer5_out, w5, b5); // dense
}
"""


def test_calls_move_into_units_of_equal_weight() -> None:
    main, units = sources.split_top(TOP, "// includes\n", ["w2", "b2", "w5", "b5"], 2)
    first, second = [unit.text for unit in units]
    assert "void toolkit_part_0(hls::stream<input_t> &x, hls::stream<layer2_t> &layer2_out) {" in first
    assert "nnet::conv_2d_cl<input_t, layer2_t, config2>(x, layer2_out, w2, b2);" in first
    assert "hls::stream<layer2_t> &layer3_out, layer4_t (&layer4_out)[3*4]" in first
    assert "layer4_t (&layer4_out)[3*4], hls::stream<result_t> &layer5_out" in second
    assert "    toolkit_part_0(x, layer2_out); // conv\n" in main
    assert "nnet::conv" not in main


def test_no_unit_is_empty() -> None:
    calls = [sources.Call(f"void f{index}()", "", weight=index) for index in range(1, 4)]
    assert [len(group) for group in sources.share_units(calls, 2)] == [1, 2]
    assert [len(group) for group in sources.share_units(calls, 16)] == [1, 1, 1]
    assert sources.share_units([], 4) == []


def test_a_call_that_is_not_understood_stays() -> None:
    main, units = sources.split_top(TOP, "", ["w2", "b2"], 4)
    assert len(units) == 2
    assert "    nnet::dense<layer4_t" in main


def test_weights_become_binary_except_wide_ones() -> None:
    assert 'toolkit::load_weights<weight2_t, 6>(w2, "w2");' in sources.binary_weights(TOP)
    assert sources.binary_weights(TOP, keep=["w2"]) == TOP


def test_a_top_function_that_is_not_there() -> None:
    with pytest.raises(HlsError, match="top function"):
        sources.insert_prototypes("int x;", [])


FILL = """\
namespace nnet {
// hls4ml insert code
template<class data_T, typename CONFIG_T>
class fill_buffer_3 : public nnet::FillConv1DBuffer<data_T, CONFIG_T> {
    public:
    static void fill_buffer(
        data_T data[CONFIG_T::in_width * CONFIG_T::n_chan],
        data_T buffer[CONFIG_T::n_pixels][CONFIG_T::filt_width * CONFIG_T::n_chan],
        const unsigned partition
    ) {
        if (partition ==   0) {
            buffer[0][0] =          0; buffer[0][1] =    data[1];

        }
        if (partition ==   1) {
            buffer[0][0] =    data[1]; buffer[0][1] =   data[10];

        }
    }
};
} // namespace nnet
"""


def test_unrolled_im2col_becomes_a_table() -> None:
    code, tables = sources.tabulate_buffers(FILL)
    assert "toolkit_fill_buffer_3[] = {-1,1,\n1,10};" in tables
    assert "if (partition ==" not in code
    assert "const int *row = toolkit_fill_buffer_3 + partition * 2;" in code


def test_im2col_of_another_form_is_left_alone() -> None:
    other = FILL.replace("data[10];", "data[10] + 1;")
    assert sources.tabulate_buffers(other) == (other, "")
