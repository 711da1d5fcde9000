// Products of rows with weight matrices stored [outputs, inputs]: every weight is read from memory once, where it lies.
#pragma once
#include <algorithm>

#include "formats.h"

// Keeps a loaded vector in a register: read again from memory for each use, loads would be the bottleneck.
#if defined(__AVX512F__)
#define IN_REGISTER(v) asm("" : "+v"(v))
#elif defined(__x86_64__)
#define IN_REGISTER(v) asm("" : "+x"(v))
#elif defined(__aarch64__)
#define IN_REGISTER(v) asm("" : "+w"(v))
#else
#define IN_REGISTER(v)
#endif

// Work from which threads share it, in multiplications or in weights: about a quarter of a millisecond. Where other
// programs have the cores, threads wait for one another at the end of each part for as long as a time slice: of small
// parts that was 30 times their work.
constexpr int64_t WORTH_SHARING = 1 << 22, WEIGHTS_WORTH_SHARING = 1 << 19;

inline bool is_worth_sharing(int threads, int64_t rows, int64_t weights) {
    return threads > 1 && (rows * weights > WORTH_SHARING || weights > WEIGHTS_WORTH_SHARING);
}

// Rows and weight rows of a tile, and weight rows with one or two rows: 16 registers hold 2 x 6 sums, 32 hold 4 x 6.
constexpr int ROWS = VECTOR_BYTES == 32 ? 2 : 4, COLUMNS = 6;
constexpr int COLUMNS_OF_ONE = VECTOR_BYTES == 32 ? 8 : 16, COLUMNS_OF_TWO = VECTOR_BYTES == 32 ? 6 : 8;
constexpr int64_t CHUNK = 1024;  // inputs whose products are summed in one go
constexpr int64_t AHEAD_BYTES = 48 << 10;  // at least, between the weights in use and those asked for
constexpr int BETWEEN = 8;  // steps of a tile after which some are asked for

// flat[i] = sum of acc[i] over its lanes, for COUNT vectors.
template <int COUNT, int lanes, class V, class C>
inline void reduce(V* acc, C* flat) {
    constexpr int full = COUNT / lanes * lanes, rest = COUNT - full;
    UNROLL
    for (int i = 0; i < full; i += lanes) store_part(flat + i, sums<lanes, lanes>(acc + i), lanes);
    if constexpr (rest > 0) {
        constexpr int padded = rest > 8 ? 16 : rest > 4 ? 8 : rest > 2 ? 4 : rest;
        V part[padded];
        UNROLL
        for (int i = 0; i < padded; i++) part[i] = i < rest ? acc[full + i] : V{};
        const V found = sums<lanes, padded>(part);
        store_part(flat + full, found, rest);
    }
}

// Weights to ask for while others are multiplied: memory is never idle then. Some lines each few steps.
struct Ahead {
    const char* next = nullptr;
    int64_t lines = 0;

    void ask() {
        for (int64_t i = 0; i < lines; i++) __builtin_prefetch(next + i * 64, 0, 2);
        next += lines * 64;
    }
};

// out[m][n] = x[m] . w[n]. The additions of one sum never depend on M and N: what else is decoded cannot change it.
template <int M, int N, class W, class C = Compute<W>>
inline void tile(const C* const* x, const W* const* w, int64_t size, C (*out)[N], Ahead& ahead) {
    typedef typename Kind<C>::vec V;
    constexpr int lanes = Kind<C>::lanes, far = BETWEEN * lanes;
    V acc[M * N];
    UNROLL
    for (V& sum : acc) sum = V{};
    int64_t k = 0;
    for (int64_t stop = far; k + lanes <= size; stop += far) {
        ahead.ask();
        for (stop = std::min(stop, size); k + lanes <= stop; k += lanes) {
            V left[M];
            UNROLL
            for (int m = 0; m < M; m++) left[m] = load<V>(x[m] + k);
            UNROLL
            for (int n = 0; n < N; n++) {
                V right = widened(w[n] + k);
                IN_REGISTER(right);
                UNROLL
                for (int m = 0; m < M; m++) acc[m * N + n] = fused(acc[m * N + n], left[m], right);
            }
        }
    }
    if (k < size) {
        const int count = int(size - k);
        V left[M];
        UNROLL
        for (int m = 0; m < M; m++) left[m] = load_part<V>(x[m] + k, count);
        UNROLL
        for (int n = 0; n < N; n++) {
            const V right = widened_part(w[n] + k, count);
            UNROLL
            for (int m = 0; m < M; m++) acc[m * N + n] = fused(acc[m * N + n], left[m], right);
        }
    }
    alignas(64) C flat[(M * N + lanes - 1) / lanes * lanes];
    reduce<M * N, lanes>(acc, flat);
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int n = 0; n < N; n++) out[m][n] = flat[m * N + n];
}

// One of several products with the same rows: y [rows, outputs] (+)= scale * x w^T + bias.
template <class S>
struct Part {
    const Matrix<S>* matrix;
    Compute<S>* y;
    int64_t y_stride;
    bool add = false;
    Compute<S> scale = 1;

    void write(int64_t row, int64_t first, int count, const Compute<S>* sums, bool is_first) const {
        typedef Compute<S> C;
        C* to = y + row * y_stride + first;
        for (int n = 0; n < count; n++) {
            C found = scale * (matrix->scale ? sums[n] * C(matrix->scale[first + n]) : sums[n]);
            if (is_first && matrix->bias) found += widen(matrix->bias[first + n]);
            to[n] = add || !is_first ? to[n] + found : found;
        }
    }
};

// A few weight rows times all rows. Sums of more than CHUNK products are taken in parts, which are added in order: the
// rows and weights of a tile stay in the nearest cache, and the parts do not depend on what else is computed.
template <class S>
class Panel {
   public:
    typedef Compute<S> C;

    // Weight rows `first` to `first + have` of `part` times x [rows, size].
    Panel(const Part<S>& part, int64_t first, int have, const C* x, int64_t rows, int64_t size, const Ahead& ahead)
        : part_(part), first_(first), have_(have), x_(x), rows_(rows), size_(size), ahead_(ahead) {}

    // How many weight rows are taken at a time, and how often weights are asked for meanwhile.
    static int columns(int64_t rows) { return rows == 1 ? COLUMNS_OF_ONE : rows == 2 ? COLUMNS_OF_TWO : COLUMNS; }
    static int64_t steps(int64_t rows, int64_t size) {
        return tiles(rows) * std::max<int64_t>(1, size / (BETWEEN * Kind<C>::lanes));
    }

    void multiply() {
        const Matrix<S>& matrix = *part_.matrix;
        const int64_t chunks = std::max<int64_t>(1, (size_ + CHUNK - 1) / CHUNK);
        const int64_t length = ((size_ + chunks - 1) / chunks + 63) / 64 * 64;
        for (at_ = 0; at_ < size_; at_ += length) {
            length_ = std::min(length, size_ - at_);
            const int64_t from = first_ * size_ + at_;
            if (matrix.format == PLAIN && (std::is_same<S, C>::value || rows_ <= 2))
                all_rows(matrix.plain() + from, size_);
            else if (!took_codes(from))
                all_rows(expanded(from), length_);
        }
    }

   private:
    const Part<S>& part_;
    const int64_t first_;
    const int have_;
    const C* x_;
    const int64_t rows_, size_;
    Ahead ahead_;
    int64_t at_ = 0, length_ = 0;

    static int64_t tiles(int64_t rows) { return rows <= 2 ? 1 : (rows + ROWS - 1) / ROWS; }

    // Multiply codes where they lie, if that pays: for few rows, in float32, the only precision they are widened to.
    bool took_codes(int64_t from) {
        if constexpr (std::is_same<C, float>::value) {
            if (part_.matrix->format == INT8 && rows_ <= 2) {
                all_rows(part_.matrix->int8() + from, size_);
                return true;
            }
        }
        return false;
    }

    const C* expanded(int64_t from) const {
        thread_local Buffer<C> held;
        held.resize(have_ * length_);
        for (int n = 0; n < have_; n++) part_.matrix->expand(from + n * size_, length_, &held[n * length_]);
        return held.data();
    }

    template <class W>
    void all_rows(const W* w, int64_t w_stride) {
        if (rows_ == 1) return block<1, COLUMNS_OF_ONE>(0, w, w_stride);
        if (rows_ == 2) return block<2, COLUMNS_OF_TWO>(0, w, w_stride);
        const int64_t parts = tiles(rows_);
        for (int64_t p = 0, row = 0; p < parts; p++) {
            const int count = int(rows_ / parts + (p < rows_ % parts));
            if (count == 1) block<1, COLUMNS>(row, w, w_stride);
            if (count == 2) block<2, COLUMNS>(row, w, w_stride);
            if constexpr (ROWS > 2) {
                if (count == 3) block<3, COLUMNS>(row, w, w_stride);
                if (count == 4) block<4, COLUMNS>(row, w, w_stride);
            }
            row += count;
        }
    }

    template <int M, int N, class W>
    void block(int64_t row, const W* w, int64_t w_stride) {
        const C* left[M];
        const W* right[N];
        C out[M][N];
        for (int m = 0; m < M; m++) left[m] = x_ + (row + m) * size_ + at_;
        for (int n = 0; n < N; n++) right[n] = w + std::min(n, have_ - 1) * w_stride;
        tile<M, N>(left, right, length_, out, ahead_);
        for (int m = 0; m < M; m++) part_.write(row + m, first_, std::min(N, have_), out[m], at_ == 0);
    }
};

// Where a panel lies: in which part, from which of its weight rows on, and how many there are.
struct PanelAt {
    int part;
    int64_t first;
    int have;
};

// The weight rows of all parts, some at a time.
template <class S>
class Panels {
   public:
    Panels(const Part<S>* parts, int num_parts, int64_t columns, int64_t size)
        : parts_(parts), num_parts_(num_parts), columns_(columns), size_(size) {
        for (int i = 0; i < num_parts; i++) count_ += of(i), outputs_ += parts[i].matrix->outputs;
    }

    int64_t count() const { return count_; }
    int64_t weights() const { return outputs_ * size_; }

    PanelAt at(int64_t panel) const {
        int i = 0;
        for (; panel >= of(i); i++) panel -= of(i);
        const int64_t first = panel * columns_;
        return {i, first, int(std::min(columns_, parts_[i].matrix->outputs - first))};
    }

    // What to ask for while a panel is multiplied in so many steps.
    Ahead ahead(int64_t panel, int64_t steps) const {
        const int64_t bytes = std::max<int64_t>(1, columns_ * size_ * parts_->matrix->bits() / 8);
        const int64_t next = panel + std::max<int64_t>(1, AHEAD_BYTES / bytes);
        if (next >= count_) return {};
        const PanelAt then = at(next);
        const int64_t lines = then.have * size_ * parts_[then.part].matrix->bits() / 512;
        return {parts_[then.part].matrix->address(then.first * size_), (lines + steps - 1) / std::max<int64_t>(1, steps)};
    }

   private:
    const Part<S>* parts_;
    const int num_parts_;
    const int64_t columns_, size_;
    int64_t count_ = 0, outputs_ = 0;

    int64_t of(int part) const { return (parts_[part].matrix->outputs + columns_ - 1) / columns_; }
};

// Products of the same rows x [rows, size], one after the other in memory, with one matrix or several.
template <class S>
void product(const Compute<S>* x, int64_t rows, int64_t size, const Part<S>* parts, int num_parts, int threads) {
    const Panels<S> panels(parts, num_parts, Panel<S>::columns(rows), size);
    const int64_t steps = Panel<S>::steps(rows, size);
#pragma omp parallel for num_threads(threads) if (is_worth_sharing(threads, rows, panels.weights())) schedule(static)
    for (int64_t b = 0; b < panels.count(); b++) {
        const PanelAt at = panels.at(b);
        Panel<S>(parts[at.part], at.first, at.have, x, rows, size, panels.ahead(b, steps)).multiply();
    }
}
