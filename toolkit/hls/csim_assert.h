// Stands in for <cassert> in csim: a failed assertion of hls4ml's code is an exception, not the end of Python.
// Without an include guard, as the standard's.
#include <stdexcept>

#undef assert
#define assert(condition) ((condition) ? (void)0 : throw std::logic_error("assertion failed: " #condition))
