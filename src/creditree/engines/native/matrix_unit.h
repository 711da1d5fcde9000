// Products by a processor's matrix unit (Intel AMX), of bfloat16: 16 weight rows times 16 rows and 32 inputs at once.
#pragma once
#include "products.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// Whether this process may use the unit: the system has to be asked once, since threads have more to save then.
inline bool has_matrix_unit() {
    constexpr long ask_permission = 0x1023, tile_data = 18;
    static const bool allowed = syscall(SYS_arch_prctl, ask_permission, tile_data) == 0;
    return allowed;
}

// Tiles 0 to 3 hold sums [weight row, row] of up to 64 rows, tile 4 weights, 5 to 7 rows; all are 16 lines of 64 bytes.
// Sums are taken over all inputs in order, each by itself: they do not depend on what else is computed.
class TileSums {
   public:
    static constexpr int64_t SIDE = 16, STEP = 32;
    static constexpr int MOST = 4;

    TileSums() {
        struct {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t bytes[16] = {};
            uint8_t lines[16] = {};
        } shape;
        for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.lines[i] = SIDE;
        _tile_loadconfig(&shape);
    }
    ~TileSums() { _tile_release(); }

    // Sum over `steps` steps of weights that lie `stride` bytes apart, and rows packed for `groups` groups of 16.
    void sum(int groups, const void* weights, int64_t stride, const uint32_t* rows, int64_t steps, Ahead& ahead) {
        const int64_t group = steps * SIDE * SIDE;
        const char* w = static_cast<const char*>(weights);
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t i = 0; i < steps; i++, w += 64, rows += SIDE * SIDE) {
            ahead.ask();
            _tile_loadd(4, w, stride);
            _tile_loadd(5, rows, 64);
            _tile_dpbf16ps(0, 4, 5);
            if (groups > 1) {
                _tile_loadd(6, rows + group, 64);
                _tile_dpbf16ps(1, 4, 6);
            }
            if (groups > 2) {
                _tile_loadd(7, rows + 2 * group, 64);
                _tile_dpbf16ps(2, 4, 7);
            }
            if (groups > 3) {
                _tile_loadd(5, rows + 3 * group, 64);
                _tile_dpbf16ps(3, 4, 5);
            }
        }
    }

    // sums [row of the group, weight row].
    static void read(int group, float (*sums)[SIDE]) {
        alignas(64) float held[SIDE][SIDE];
        if (group == 0) _tile_stored(0, held, 64);
        if (group == 1) _tile_stored(1, held, 64);
        if (group == 2) _tile_stored(2, held, 64);
        if (group == 3) _tile_stored(3, held, 64);
        for (int m = 0; m < SIDE; m++)
            for (int n = 0; n < SIDE; n++) sums[m][n] = held[n][m];
    }
};

// x [rows, size] as tiles want it: for each 16 rows and 32 inputs 16 lines, of a pair of inputs of every row.
inline void pack(const bf16* x, int64_t rows, int64_t size, Buffer<uint32_t>& packed) {
    constexpr int64_t side = TileSums::SIDE, step = TileSums::STEP;
    const int64_t steps = (size + step - 1) / step, groups = (rows + side - 1) / side;
    packed.assign(groups * steps * side * side, 0);
    for (int64_t m = 0; m < rows; m++) {
        uint32_t* to = packed.data() + m / side * steps * side * side + m % side;
        int64_t k = 0;
        for (; k + 2 <= size; k += 2, to += side) *to = load<uint32_t>(x + m * size + k);
        if (k < size) *to = x[m * size + k].bits;
    }
}

// Weight rows `first` to `first + have` where they lie, or else a copy, filled up with zeros, that a tile can be read of.
inline const bf16* readable(const Matrix<bf16>& matrix, int64_t first, int64_t have, int64_t size, int64_t& stride,
                            Ahead& ahead) {
    constexpr int64_t side = TileSums::SIDE, step = TileSums::STEP;
    stride = size * int64_t(sizeof(bf16));
    if (matrix.format == PLAIN && have == side && size % step == 0) return matrix.plain() + first * size;
    thread_local Buffer<bf16> held;
    const int64_t width = (size + step - 1) / step * step;
    held.resize(side * width);
    if (have < side || width > size) std::fill(held.begin(), held.end(), bf16{0});
    for (int64_t n = 0; n < have; n++) {
        ahead.ask();
        matrix.expand((first + n) * size, size, &held[n * width]);
    }
    stride = width * int64_t(sizeof(bf16));
    return held.data();
}

// As `product`, of rows in bfloat16.
inline void unit_product(const bf16* x, int64_t rows, int64_t size, const Part<bf16>* parts, int num_parts,
                         int threads) {
    constexpr int64_t side = TileSums::SIDE, at_once = side * TileSums::MOST;
    static thread_local Buffer<uint32_t> held;
    Buffer<uint32_t>& packed = held;
    pack(x, rows, size, packed);
    const int64_t steps = (size + TileSums::STEP - 1) / TileSums::STEP, passes = (rows + at_once - 1) / at_once;
    const Panels<bf16> panels(parts, num_parts, side, size);
#pragma omp parallel num_threads(threads) if (is_worth_sharing(threads, rows, panels.weights()))
    {
        TileSums tiles;
#pragma omp for schedule(static)
        for (int64_t b = 0; b < panels.count(); b++) {
            const PanelAt at = panels.at(b);
            const Part<bf16>& part = parts[at.part];
            Ahead ahead = panels.ahead(b, passes * steps + (part.matrix->format == PLAIN ? 0 : side));
            int64_t stride;
            const bf16* weights = readable(*part.matrix, at.first, at.have, size, stride, ahead);
            for (int64_t row = 0; row < rows; row += at_once) {
                const int groups = int((std::min(rows - row, at_once) + side - 1) / side);
                tiles.sum(groups, weights, stride, &packed[row * steps * side], steps, ahead);
                for (int g = 0; g < groups; g++) {
                    float sums[side][side];
                    tiles.read(g, sums);
                    const int64_t stop = std::min(rows, row + (g + 1) * side);
                    for (int64_t m = row + g * side; m < stop; m++)
                        part.write(m, at.first, at.have, sums[(m - row) % side], true);
                }
            }
        }
    }
}
#else
inline bool has_matrix_unit() { return false; }
inline void unit_product(const bf16*, int64_t, int64_t, const Part<bf16>*, int, int) {}
#endif
