// What toolkit adds to a generated project for csim: weights from a folder chosen at load time, traces.
#ifndef TOOLKIT_CSIM_SUPPORT_H_
#define TOOLKIT_CSIM_SUPPORT_H_

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// The folder that holds <weight>.bin; hls4ml's WEIGHTS_DIR macro expands to this call.
const char *toolkit_weights_dir();

namespace toolkit {

// Read the stored integers of a weight array: little-endian int64, already in the type's range.
void read_stored(const char *name, int64_t *stored, size_t count);

template <class T, size_t SIZE> void load_weights(T *w, const char *name) {
    int64_t *stored = new int64_t[SIZE];
    read_stored(name, stored, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        w[i].V = stored[i];
    delete[] stored;
}

// Values of every traced layer for one image, appended in order of execution.
extern std::map<std::string, std::vector<double>> *traces;

template <class T> void trace(const char *layer, T *values, size_t size) {
    if (!traces)
        return;
    std::vector<double> &kept = (*traces)[layer];
    for (size_t i = 0; i < size; i++)
        kept.push_back(values[i].to_double());
}

template <class T> void trace(const char *layer, hls::stream<T> &values, size_t size) {
    if (!traces)
        return;
    std::vector<double> &kept = (*traces)[layer];
    for (size_t i = 0; i < size / T::size; i++) {
        T pack = values.read();
        for (size_t j = 0; j < T::size; j++)
            kept.push_back(pack[j].to_double());
        values.write(pack);
    }
}

} // namespace toolkit

#endif
