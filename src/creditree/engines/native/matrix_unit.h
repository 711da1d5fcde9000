// Products by a processor's matrix unit (Intel AMX), of bfloat16: 16 weight rows times 16 rows and 32 inputs at once.
#pragma once
#include "tile_weights.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// Whether this process may use the unit: the system has to be asked once, since threads have more to save then.
inline bool has_matrix_unit() {
    constexpr long ask_permission = 0x1023, tile_data = 18;
    static const bool allowed = syscall(SYS_arch_prctl, ask_permission, tile_data) == 0;
    return allowed;
}

// Tiles 0 to 3 hold sums [weight row, row], 4 and 5 weights, 6 and 7 rows. The unit takes its time for a sum that waits
// for the one before: of up to 32 rows, two parts of 16 weight rows are summed side by side, of up to 64 rows one.
// Sums are taken over all inputs in order, each by itself: they do not depend on what else is computed.
class TileSums {
   public:
    static constexpr int64_t MOST = 4;  // sums at once

    // `columns`: rows of a group, SIDE where there are more.
    explicit TileSums(int64_t columns) : columns_(columns) {
        struct {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t bytes[16] = {};
            uint8_t lines[16] = {};
        } shape;
        for (int i = 0; i < 8; i++) shape.bytes[i] = i == 4 || i == 5 ? 64 : uint16_t(4 * columns);
        for (int i = 0; i < 8; i++) shape.lines[i] = SIDE;
        _tile_loadconfig(&shape);
    }
    ~TileSums() { _tile_release(); }

    // Sum over `steps` steps of the weights, and rows packed for `groups` groups: MOST at most in all. In each step
    // weights are asked for so often.
    template <int PARTS, class Tiles>
    void sum(Tiles& weights, int groups, const uint32_t* rows, int64_t steps, int asks, Ahead& ahead) {
        const int64_t line = columns_ * 4, group = steps * SIDE * columns_;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t i = 0; i < steps; i++, rows += SIDE * columns_) {
            for (int a = 0; a < asks; a++) ahead.ask();
            weights.prepare(i);
            _tile_loadd(4, weights.tile(0, i), weights.stride);
            _tile_loadd(6, rows, line);
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (PARTS > 1) {
                _tile_loadd(5, weights.tile(1, i), weights.stride);
                _tile_dpbf16ps(2, 5, 6);
            }
            if (groups > 1) {
                _tile_loadd(7, rows + group, line);
                _tile_dpbf16ps(1, 4, 7);
                if constexpr (PARTS > 1) _tile_dpbf16ps(3, 5, 7);
            }
            if (PARTS == 1 && groups > 2) {
                _tile_loadd(6, rows + 2 * group, line);
                _tile_dpbf16ps(2, 4, 6);
            }
            if (PARTS == 1 && groups > 3) {
                _tile_loadd(7, rows + 3 * group, line);
                _tile_dpbf16ps(3, 4, 7);
            }
        }
    }

    // sums [row of the group, weight row of the part].
    template <int PARTS>
    void read(int part, int group, float (*sums)[SIDE]) const {
        const int tile = part * int(MOST / PARTS) + group;
        alignas(64) float held[SIDE][SIDE];
        if (tile == 0) _tile_stored(0, held, 64);
        if (tile == 1) _tile_stored(1, held, 64);
        if (tile == 2) _tile_stored(2, held, 64);
        if (tile == 3) _tile_stored(3, held, 64);
        for (int64_t m = 0; m < columns_; m++)
            for (int64_t n = 0; n < SIDE; n++) sums[m][n] = held[n][m];
    }

   private:
    const int64_t columns_;
};

// x [rows, size] as tiles want it: for each group of rows and STEP inputs 16 lines, of a pair of inputs of every row.
class PackedRows {
   public:
    PackedRows(const bf16* x, int64_t rows, int64_t size, Buffer<uint32_t>& held)
        : rows(rows), columns(std::min(rows, SIDE)), steps((size + STEP - 1) / STEP), held_(held) {
        held.assign((rows + SIDE - 1) / SIDE * steps * SIDE * columns, 0);
        for (int64_t m = 0; m < rows; m++) {
            uint32_t* to = held.data() + m / SIDE * steps * SIDE * columns + m % SIDE;
            int64_t k = 0;
            for (; k + 2 <= size; k += 2, to += columns) *to = load<uint32_t>(x + m * size + k);
            if (k < size) *to = x[m * size + k].bits;
        }
    }

    // From this row on, the first of a group.
    const uint32_t* from(int64_t row) const { return &held_[row * steps * columns]; }

    const int64_t rows, columns, steps;

   private:
    const Buffer<uint32_t>& held_;
};

// The lines that a step reads of the weights of so many parts.
inline int asks_of_step(int64_t parts, const Matrix<bf16>& matrix) { return int(parts * SIDE * STEP * matrix.bits() / 512); }

// PARTS * SIDE weight rows times all rows.
template <int PARTS>
void unit_panel(const Part<bf16>& part, const PanelAt& at, const PackedRows& x, int64_t size, TileSums& sums,
                Ahead ahead) {
    constexpr int64_t at_once = SIDE * TileSums::MOST / PARTS;
    for (int64_t row = 0; row < x.rows; row += at_once) {
        const int groups = int((std::min(x.rows - row, at_once) + SIDE - 1) / SIDE);
        with_tiles<PARTS>(*part.matrix, at.first, at.have, size, [&](auto& weights) {
            sums.template sum<PARTS>(weights, groups, x.from(row), x.steps, asks_of_step(PARTS, *part.matrix), ahead);
        });
        for (int p = 0; p < PARTS && p * SIDE < at.have; p++)
            for (int g = 0; g < groups; g++) {
                float found[SIDE][SIDE];
                sums.read<PARTS>(p, g, found);
                const int64_t start = row + g * SIDE, stop = std::min(x.rows, start + SIDE);
                const int have = int(std::min(SIDE, at.have - p * SIDE));
                for (int64_t m = start; m < stop; m++)
                    part.write(m, at.first + p * SIDE, have, load<Kind<float>::vec>(found[m - start]), true);
            }
    }
}

// As `product`, of rows in bfloat16.
inline void unit_product(const bf16* x, int64_t rows, int64_t size, const Part<bf16>* parts, int num_parts,
                         int threads, const Next<bf16>& next = {}) {
    static thread_local Buffer<uint32_t> held;
    const PackedRows packed(x, rows, size, held);
    const int64_t side_by_side = packed.rows <= SIDE * TileSums::MOST / 2 ? 2 : 1;
    const int64_t passes = (rows + SIDE * TileSums::MOST - 1) / (SIDE * TileSums::MOST);
    const Panels<bf16> panels(parts, num_parts, side_by_side * SIDE, size);
    const int64_t asks = passes * packed.steps * asks_of_step(side_by_side, *parts->matrix);
    const int sharing = is_worth_sharing(threads, rows, panels.weights()) ? threads : 1;
    Shares shares(panels.count(), sharing);
#pragma omp parallel num_threads(sharing) if (sharing > 1)
    {
        TileSums sums(packed.columns);
        for (int64_t b = shares.next(); b >= 0; b = shares.next()) {
            const PanelAt at = panels.at(b);
            const Ahead ahead(panels.soon(b, shares, next), asks);
            if (side_by_side == 2)
                unit_panel<2>(parts[at.part], at, packed, size, sums, ahead);
            else
                unit_panel<1>(parts[at.part], at, packed, size, sums, ahead);
        }
    }
}
#else
inline bool has_matrix_unit() { return false; }
inline void unit_product(const bf16*, int64_t, int64_t, const Part<bf16>*, int, int, const Next<bf16>& = {}) {}
#endif
