// Products of rows with weight matrices stored [outputs, inputs]: every weight is read from memory once, where it lies.
#pragma once
#include <algorithm>

#include "formats.h"
#include "tile.h"

// Work from which threads share it, in multiplications or in weights: about a quarter of a millisecond. Where other
// programs have the cores, threads wait for one another at the end of each part for as long as a time slice: of small
// parts that was 30 times their work.
constexpr int64_t WORTH_SHARING = 1 << 22, WEIGHTS_WORTH_SHARING = 1 << 19;

inline bool is_worth_sharing(int threads, int64_t rows, int64_t weights) {
    return threads > 1 && (rows * weights > WORTH_SHARING || weights > WEIGHTS_WORTH_SHARING);
}

constexpr int64_t PANEL = 24;  // weight rows that a thread takes at a time
constexpr int64_t CHUNK = 1024;  // inputs whose products are summed in one go
constexpr int64_t AHEAD_BYTES = 48 << 10;  // at least, between the weights in use and those asked for

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
        const bool adds = add || !is_first;
        if (scale == 1 && !matrix->scale && !(is_first && matrix->bias)) {  // as nearly always: no branch for each
            for (int n = 0; n < count; n++) to[n] = adds ? to[n] + sums[n] : sums[n];
            return;
        }
        for (int n = 0; n < count; n++) {
            C found = scale * (matrix->scale ? sums[n] * C(matrix->scale[first + n]) : sums[n]);
            if (is_first && matrix->bias) found += widen(matrix->bias[first + n]);
            to[n] = adds ? to[n] + found : found;
        }
    }
};

// A few weight rows times all rows. Sums of more than CHUNK products are taken in parts, which are added in order: the
// rows of a tile stay in the nearest cache and weights in the next, and parts do not depend on what else is computed.
template <class S>
class Panel {
   public:
    typedef Compute<S> C;

    // Weight rows `first` to `first + have` of `part` times x [rows, size].
    Panel(const Part<S>& part, int64_t first, int have, const C* x, int64_t rows, int64_t size, const Ahead& ahead)
        : part_(part), first_(first), have_(have), x_(x), rows_(rows), size_(size), ahead_(ahead) {}

    // How often weights are asked for meanwhile.
    static int64_t asks(int64_t rows, int64_t size, int64_t bits) {
        const int n = rows > FEW ? COLUMNS : columns_of(padded(rows));
        const int64_t tiles = groups(rows, rows > FEW ? ROWS : TOGETHER) * (PANEL / n), steps = size / Kind<C>::lanes;
        return tiles * steps * (rows > FEW ? ASKS_OF_MANY : lines(n, Kind<C>::lanes * bits / 8));
    }

    void multiply() {
        const int64_t chunks = std::max<int64_t>(1, (size_ + CHUNK - 1) / CHUNK);
        const int64_t length = ((size_ + chunks - 1) / chunks + 63) / 64 * 64;
        for (at_ = 0; at_ < size_; at_ += length) {
            length_ = std::min(length, size_ - at_);
            if (rows_ == 1) all<1>();
            else if (rows_ == 2) all<2>();
            else if (rows_ > FEW) all<ROWS, COLUMNS, true>();
            else if (padded(rows_) == 4) all<4>();
            else if constexpr (TOGETHER > 4) padded(rows_) == 6 ? all<6>() : all<8>();
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

    // In a step of few rows weights are asked for as often as lines are read; of many, other tiles ask for them too.
    static constexpr int ASKS_OF_MANY = 2;
    static constexpr int lines(int n, int64_t vector_bytes) { return int((n * vector_bytes + 63) / 64); }
    static int64_t groups(int64_t rows, int64_t most) { return (rows + most - 1) / most; }
    static int padded(int64_t rows) {
        const int64_t parts = groups(rows, TOGETHER), most = (rows + parts - 1) / parts;
        return int(most == 1 ? 1 : (most + 1) / 2 * 2);
    }

    // N weight rows after the other, times all rows, M at a time.
    template <int M, int N = columns_of(M), bool MANY = false>
    void all() {
        const Matrix<S>& matrix = *part_.matrix;
        for (int first = 0; first < have_; first += N) {
            const int have = std::min(N, have_ - first);
            const int64_t from = (first_ + first) * size_ + at_;
            if constexpr (std::is_same<S, C>::value || !MANY) {
                if (matrix.format == PLAIN) {
                    some<M, N, MANY>(first, have, matrix.plain() + from, size_);
                    continue;
                }
                if constexpr (std::is_same<C, float>::value) {  // the only precision that codes are widened to
                    if (matrix.format == INT8) {
                        some<M, N, MANY>(first, have, matrix.int8() + from, size_);
                        continue;
                    }
                }
            }
            some<M, N, MANY>(first, have, expanded(from, have), length_);
        }
    }

    const C* expanded(int64_t from, int count) const {
        thread_local Buffer<C> held;
        held.resize(count * length_);
        for (int n = 0; n < count; n++) part_.matrix->expand(from + n * size_, length_, &held[n * length_]);
        return held.data();
    }

    template <int M, int N, bool MANY, class W>
    void some(int first, int have, const W* w, int64_t w_stride) {
        const W* right[N];
        for (int n = 0; n < N; n++) right[n] = w + std::min(n, have - 1) * w_stride;
        const int64_t parts = groups(rows_, M);
        for (int64_t p = 0, row = 0; p < parts; p++) {
            const int count = int(rows_ / parts + (p < rows_ % parts));
            const C* left[M];  // where there are fewer, the last is multiplied again
            C out[M][N];
            for (int m = 0; m < M; m++) left[m] = x_ + (row + std::min(m, count - 1)) * size_ + at_;
            tile<M, N, MANY ? ASKS_OF_MANY : lines(N, Kind<C>::lanes * sizeof(W))>(left, right, length_, out, ahead_);
            for (int m = 0; m < count; m++, row++) part_.write(row, first_ + first, have, out[m], at_ == 0);
        }
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

    // What to ask for while a panel is multiplied, which asks so often.
    Ahead ahead(int64_t panel, int64_t asks) const {
        const int64_t bytes = std::max<int64_t>(1, columns_ * size_ * parts_->matrix->bits() / 8);
        const int64_t next = panel + std::max<int64_t>(1, AHEAD_BYTES / bytes);
        if (next >= count_) return {parts_->matrix->address(0), 0};
        const PanelAt then = at(next);
        const int64_t there = then.have * size_ * parts_[then.part].matrix->bits() / 8;
        return {parts_[then.part].matrix->address(then.first * size_),
                std::min<int64_t>(64, (there + asks - 1) / std::max<int64_t>(1, asks))};
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
    const Panels<S> panels(parts, num_parts, PANEL, size);
    const int64_t asks = Panel<S>::asks(rows, size, parts->matrix->bits());
#pragma omp parallel for num_threads(threads) if (is_worth_sharing(threads, rows, panels.weights())) schedule(static)
    for (int64_t b = 0; b < panels.count(); b++) {
        const PanelAt at = panels.at(b);
        Panel<S>(parts[at.part], at.first, at.have, x, rows, size, panels.ahead(b, asks)).multiply();
    }
}
