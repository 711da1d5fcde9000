// Native products against plain sums in double precision, and the same bits for a row alone; prints what is wrong.
#include "products.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

static float drawn() { return float(std::rand() % 2001 - 1000) / 1000; }

// Weights [outputs, size] of a kind, and the numbers that they mean.
template <class S>
struct Drawn {
    Buffer<char> raw;
    std::vector<float> scales, meant;
    float values[16];
    Matrix<S> matrix;

    Drawn(Format format, int64_t outputs, int64_t size)
        : raw(outputs * size * sizeof(S) + 64), scales(outputs * size / NF4_BLOCK + outputs + 1), meant(outputs * size) {
        for (float& scale : scales) scale = 1.5f + drawn();
        for (int i = 0; i < 16; i++) values[i] = (i - 7.5f) / 8;
        for (int64_t i = 0; i < outputs * size; i++) meant[i] = stored(format, i, size);
        matrix.format = format, matrix.weights = raw.data(), matrix.outputs = outputs;
        if (format == INT8) matrix.scale = scales.data();
        if (format == NF4) matrix.nf4.values = values, matrix.nf4.scales = nullptr, matrix.nf4.sizes = scales.data();
    }

    float stored(Format format, int64_t i, int64_t size) {
        if (format == INT8) {
            const int8_t code = int8_t(std::rand() % 255 - 127);
            reinterpret_cast<int8_t*>(raw.data())[i] = code;
            return code * scales[i / size];
        }
        if (format == NF4) {
            const int code = std::rand() % 16;
            uint8_t& both = reinterpret_cast<uint8_t*>(raw.data())[i / 2];
            both = i % 2 ? both | code : code << 4;  // the first of a pair in the high half
            bf16 value;
            narrow(values[code] * scales[i / NF4_BLOCK], value);
            return widen(value);
        }
        S& weight = reinterpret_cast<S*>(raw.data())[i];
        narrow(drawn(), weight);
        return float(widen(weight));
    }
};

template <class S>
int wrong(const char* name, Format format, int64_t rows, int64_t size, int64_t outputs) {
    Drawn<S> weights(format, outputs, size);
    Buffer<Compute<S>> x(rows * size), y(rows * outputs), alone(outputs);
    for (auto& value : x) value = drawn();
    const Part<S> together{&weights.matrix, y.data(), outputs}, one{&weights.matrix, alone.data(), outputs};
    product<S>(x.data(), rows, size, &together, 1, 1);
    int found = 0;
    for (int64_t m = 0; m < rows; m++) {
        product<S>(&x[m * size], 1, size, &one, 1, 1);
        for (int64_t n = 0; n < outputs; n++) {
            double sum = 0, most = 1;
            for (int64_t k = 0; k < size; k++) {
                const double term = double(x[m * size + k]) * weights.meant[n * size + k];
                sum += term, most += std::fabs(term);
            }
            found += std::fabs(sum - y[m * outputs + n]) > 1e-6 * most || alone[n] != y[m * outputs + n];
        }
    }
    if (found) std::printf("%s, %d rows of %d: %d wrong\n", name, int(rows), int(size), found);
    return found;
}

int main() {
    int found = 0;
    for (int64_t size : {8, 56, 64, 130, 192, 576, 1106, 1152})
        for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 33}) {
            found += wrong<float>("float32", PLAIN, rows, size, 29) + wrong<double>("float64", PLAIN, rows, size, 29);
            found += wrong<bf16>("bfloat16", PLAIN, rows, size, 29) + wrong<bf16>("int8", INT8, rows, size, 29);
            found += wrong<bf16>("nf4", NF4, rows, size, 29) + wrong<float>("nf4, float32", NF4, rows, size, 29);
        }
    return found > 0;
}
