// One product of a layer with the native decoder's sources; benchmarks/products.py compiles it against two versions.
#include <algorithm>
#include <chrono>

#include "products.h"

static Buffer<float> x, y;
static std::vector<float> scales;
static float values[16];
static Matrix<bf16> narrowed;
static Matrix<float> full;
static int64_t rows, size, outputs;
static int kind;  // bfloat16, float32, int8, nf4

extern "C" void prepare(int new_kind, int64_t new_rows, int64_t new_size, int64_t new_outputs, char* weights) {
    kind = new_kind, rows = new_rows, size = new_size, outputs = new_outputs;
    x.assign(rows * size, 0.5f), y.assign(rows * outputs, 0), scales.assign(outputs * size / 64 + outputs + 1, 0.01f);
    for (int i = 0; i < 16; i++) values[i] = (i - 8) / 8.0f;
    narrowed = {}, full = {};
    narrowed.weights = full.weights = weights, narrowed.outputs = full.outputs = outputs;
    if (kind == 2) narrowed.format = INT8, narrowed.scale = scales.data();
    if (kind == 3) {
        narrowed.format = NF4, narrowed.nf4.values = values;
        narrowed.nf4.scales = nullptr, narrowed.nf4.sizes = scales.data();
    }
}

extern "C" double seconds() {
    const auto start = std::chrono::steady_clock::now();
    if (kind == 1) {
        const Part<float> part{&full, y.data(), outputs};
        product<float>(x.data(), rows, size, &part, 1, 1);
    } else {
        const Part<bf16> part{&narrowed, y.data(), outputs};
        product<bf16>(x.data(), rows, size, &part, 1, 1);
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
