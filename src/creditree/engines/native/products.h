// Products of rows with weight matrices stored [outputs, inputs]: every weight is read from memory once, where it lies.
#pragma once
#include <algorithm>

#include "formats.h"
#include "shares.h"
#include "tile.h"

// Work from which threads share it, in multiplications or in weights: about a quarter of a millisecond. Where other
// programs have the cores, threads wait for one another at the end of each part for as long as a time slice: of small
// parts that was 30 times their work.
constexpr int64_t WORTH_SHARING = 1 << 22, WEIGHTS_WORTH_SHARING = 1 << 19;

inline bool is_worth_sharing(int threads, int64_t rows, int64_t weights) {
    return threads > 1 && (rows * weights > WORTH_SHARING || weights > WEIGHTS_WORTH_SHARING);
}

constexpr int64_t PANEL = 24;  // weight rows that a thread takes at a time
constexpr int64_t CHUNK = VECTOR_BYTES == 64 ? 768 : 1024;  // inputs whose products are summed in one go
constexpr int64_t AHEAD_BYTES = 48 << 10;  // at least, between the weights in use and those asked for

// One of several products with the same rows: y [rows, outputs] (+)= scale * x w^T + bias.
template <class S>
struct Part {
    const Matrix<S>* matrix;
    Compute<S>* y;
    int64_t y_stride;
    bool add = false;
    Compute<S> scale = 1;

    // Sums of row `row` and weight rows `first` to `first + count`; is_first: of the first of its chunks.
    typedef typename Kind<S>::vec Vec;
    __attribute__((always_inline)) void write(int64_t row, int64_t first, int count, Vec sums, bool is_first) const {
        Compute<S>* to = y + row * y_stride + first;
        if constexpr (std::is_same<Compute<S>, float>::value)
            if (matrix->scale) sums *= load_part<Vec>(matrix->scale + first, count);
        if (scale != 1) sums *= scale;
        IN_REGISTER(sums);  // a compiler may fuse product and sum here and not in the next function
        if (is_first && matrix->bias) sums += widened_part(matrix->bias + first, count);
        if (add || !is_first) sums += load_part<Vec>(to, count);
        store_some(to, sums, count);
    }
};

// A few weight rows times all rows. Sums of more than CHUNK products are taken in parts, which are added in order: the
// rows and the widened weights of a tile fit into a nearest cache of 32 KB, and parts do not depend on what else is
// computed.
template <class S>
class Panel {
   public:
    typedef Compute<S> C;

    // Weight rows `first` to `first + have` of `part` times x.
    Panel(const Part<S>& part, int64_t first, int have, const RowGroups<C>& x, const Ahead& ahead)
        : part_(part), first_(first), have_(have), x_(x), ahead_(ahead) {}

    // How many rows are multiplied at once.
    static int at_once(int64_t rows) {
        if (rows > FEW) return ROWS;
        const int64_t parts = (rows + TOGETHER - 1) / TOGETHER, most = (rows + parts - 1) / parts;
        return int(most == 1 ? 1 : (most + 1) / 2 * 2);
    }

    // How often weights are asked for meanwhile: for as many lines as are read, while the first rows are multiplied; of
    // rows enough for that, once in each step.
    static int64_t asks(int64_t rows, int64_t size, const Matrix<S>& matrix) {
        const int n = rows > FEW ? COLUMNS : columns_of(at_once(rows));
        if (is_spread(rows)) return PANEL / n * (size / Kind<C>::lanes) * groups(rows);
        const int64_t bytes = matrix.format == NF4 || rows > FEW ? COPIED : matrix.bits() / 8;
        return PANEL / n * (size / Kind<C>::lanes) * lines(n, Kind<C>::lanes * bytes);
    }

    void multiply() {
        const int64_t chunks = std::max<int64_t>(1, (x_.size + CHUNK - 1) / CHUNK);
        const int64_t length = ((x_.size + chunks - 1) / chunks + 63) / 64 * 64;
        for (at_ = 0; at_ < x_.size; at_ += length) {
            length_ = std::min(length, x_.size - at_);
            if (x_.rows > FEW) all<ROWS, COLUMNS, true>();
            else if (x_.most == 1) all<1>();
            else if (x_.most == 2) all<2>();
            else if (x_.most == 4) all<4>();
            else if constexpr (TOGETHER > 4) x_.most == 6 ? all<6>() : all<8>();
            for (int64_t row = 0; x_.rows <= FEW && row < x_.rows; row++)
                for (int n = 0; n < have_; n += lanes)
                    part_.write(row, first_ + n, std::min(lanes, have_ - n), load<Vec>(found_[row] + n), at_ == 0);
        }
    }

   private:
    static constexpr int lanes = Kind<C>::lanes, COPIED = 2;  // about the bytes of a weight that is copied
    typedef typename Kind<C>::vec Vec;
    const Part<S>& part_;
    const int64_t first_;
    const int have_;
    const RowGroups<C>& x_;
    Ahead ahead_;
    int64_t at_ = 0, length_ = 0;
    alignas(64) C found_[FEW][PANEL + lanes];  // of few rows: written when the panel's are all there

    static int64_t groups(int64_t rows) { return (rows + at_once(rows) - 1) / at_once(rows); }
    static bool is_spread(int64_t rows) { return rows > FEW && groups(rows) >= COLUMNS * lanes * int(sizeof(S)) / 64; }
    static constexpr int lines(int n, int64_t vector_bytes) { return int((n * vector_bytes + 63) / 64); }

    // N weight rows after the other, times all rows, M at a time. Of MANY, each weight is widened once.
    template <int M, int N = columns_of(M), bool MANY = false>
    void all() {
        const Matrix<S>& matrix = *part_.matrix;
        for (int first = 0; first < have_; first += N) {
            const int have = std::min(N, have_ - first);
            const int64_t from = (first_ + first) * x_.size + at_;
            if constexpr (std::is_same<S, C>::value || !MANY) {
                if (matrix.format == PLAIN) {
                    some<M, N, sizeof(S), MANY>(first, have, matrix.plain() + from, x_.size, length_);
                    continue;
                }
            }
            if constexpr (std::is_same<C, float>::value && !MANY) {
                if (matrix.format == INT8) {
                    some<M, N, 1, MANY>(first, have, matrix.int8() + from, x_.size, length_);
                    continue;
                }
            }
            const int64_t step = x_.vectors * lanes, width = (length_ + step - 1) / step * step;
            some<M, N, COPIED, MANY>(first, have, widened(from, have, width), width, width);
        }
    }

    const C* widened(int64_t from, int count, int64_t width) const {
        thread_local Buffer<C> held;
        held.resize(count * width + 64);
        for (int n = 0; n < count; n++) part_.matrix->widen(from + n * x_.size, length_, x_.vectors, &held[n * width]);
        return held.data();
    }

    template <int M, int N, int BYTES, bool MANY, class W>
    void some(int first, int have, const W* w, int64_t w_stride, int64_t length) {
        constexpr int asks = lines(N, lanes * BYTES) * Strip<W>::vectors;
        const W* right[N];
        for (int n = 0; n < N; n++) right[n] = w + std::min(n, have - 1) * w_stride;
        for (int64_t p = 0; p < x_.count; p++) {
            alignas(64) C flat[(M * N + lanes - 1) / lanes * lanes];
            if (is_spread(x_.rows)) tile<M, N, 1>(x_.at(p, at_), right, length, flat, ahead_);
            else if (p == 0) tile<M, N, asks>(x_.at(p, at_), right, length, flat, ahead_);
            else tile<M, N, 0>(x_.at(p, at_), right, length, flat, ahead_);
            if constexpr (MANY) write<M, N>(x_.first(p), x_.have(p), first_ + first, have, flat, std::make_index_sequence<M>());
            else hold<M, N>(x_.first(p), x_.have(p), first, flat, std::make_index_sequence<M>());
        }
    }

    template <int M, int N, std::size_t... I>
    void write(int64_t row, int rows, int64_t first, int count, const C* flat, std::index_sequence<I...>) const {
        (void(int(I) < rows && write_row<M * N, N, int(I) * N>(row + int(I), first, count, flat)), ...);
    }

    // What stands behind the N sums of a row is overwritten by those of the weight rows that come next.
    template <int M, int N, std::size_t... I>
    void hold(int64_t row, int rows, int first, const C* flat, std::index_sequence<I...>) {
        constexpr int width = N > lanes ? 0 : N > 8 ? 16 : N > 4 ? 8 : N > 2 ? 4 : N;
        (void(int(I) < rows && hold_row<M * N, N, int(I) * N, width>(found_[row + int(I)] + first, flat)), ...);
    }

    template <int ALL, int N, int AT, int WIDTH>
    __attribute__((always_inline)) bool hold_row(C* to, const C* flat) {
        if constexpr (WIDTH == 0) std::memcpy(to, flat + AT, N * sizeof(C));
        else store_part(to, from<ALL, AT>(flat, std::make_index_sequence<lanes>()), WIDTH < lanes ? WIDTH : lanes);
        return true;
    }

    template <int ALL, int N, int AT>
    __attribute__((always_inline)) bool write_row(int64_t row, int64_t first, int count, const C* flat) const {
        part_.write(row, first, std::min(count, lanes), from<ALL, AT>(flat, std::make_index_sequence<lanes>()), at_ == 0);
        if constexpr (N > lanes)
            if (count > lanes) write_row<ALL, N - lanes, AT + lanes>(row, first + lanes, count - lanes, flat);
        return true;
    }

    // A vector from flat[AT] on, of whole vectors: what was just stored is not there yet to be read across two of them.
    template <int ALL, int AT, std::size_t... I>
    static Vec from(const C* flat, std::index_sequence<I...>) {
        constexpr int block = AT / lanes * lanes, next = block + lanes < ALL ? block + lanes : block;
        if constexpr (AT == block) return load<Vec>(flat + block);
        return shuffled<int(AT - block + I)...>(load<Vec>(flat + block), load<Vec>(flat + next));
    }
};

// Where a panel lies: in which part, from which of its weight rows on, and how many there are.
struct PanelAt {
    int part;
    int64_t first;
    int have;
};

// The product that follows: only its matrices count.
template <class S>
struct Next {
    Part<S> parts[3];
    int count = 0;
    int64_t size = 0;
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

    // What to ask for while a panel is multiplied, which asks so often: panels of the same run, or, at its end, those that
    // the same thread takes first in the next product.
    Ahead ahead(int64_t panel, int64_t asks, const Shares& shares, const Next<S>& next) const {
        const int64_t bytes = std::max<int64_t>(1, columns_ * size_ * parts_->matrix->bits() / 8);
        const int64_t then = panel + std::max<int64_t>(1, AHEAD_BYTES / bytes), over = then - shares.end();
        if (over < 0) return asked(then, asks);
        if (over >= AHEAD_BYTES / bytes + 1 || !next.count) return {parts_->matrix->address(0), 0};
        const Panels<S> others(next.parts, next.count, columns_, next.size);
        const int64_t first = shares.start(others.count()) + over;
        return first < others.count() ? others.asked(first, asks) : Ahead{parts_->matrix->address(0), 0};
    }

   private:
    const Part<S>* parts_;
    const int num_parts_;
    const int64_t columns_, size_;
    int64_t count_ = 0, outputs_ = 0;

    int64_t of(int part) const { return (parts_[part].matrix->outputs + columns_ - 1) / columns_; }

    Ahead asked(int64_t panel, int64_t asks) const {
        const PanelAt then = at(panel);
        const int64_t there = then.have * size_ * parts_[then.part].matrix->bits() / 8;
        return {parts_[then.part].matrix->address(then.first * size_),
                std::min<int64_t>(64, (there + asks - 1) / std::max<int64_t>(1, asks))};
    }
};

// Products of the same rows x [rows, size], one after the other in memory, with one matrix or several.
template <class S>
void product(const Compute<S>* x, int64_t rows, int64_t size, const Part<S>* parts, int num_parts, int threads,
             const Next<S>& next = {}) {
    const int strip = parts->matrix->strip(size);
    int same = 1;
    while (same < num_parts && parts[same].matrix->strip(size) == strip) same++;
    static thread_local Buffer<Compute<S>> held;
    const RowGroups<Compute<S>> groups(x, rows, size, Panel<S>::at_once(rows), strip, held);
    const Panels<S> panels(parts, same, PANEL, size);
    const int64_t asks = Panel<S>::asks(rows, size, *parts->matrix);
    const int sharing = is_worth_sharing(threads, rows, panels.weights()) ? threads : 1;
    Shares shares(panels.count(), sharing);
#pragma omp parallel num_threads(sharing) if (sharing > 1)
    for (int64_t b = shares.next(); b >= 0; b = shares.next()) {
        const PanelAt at = panels.at(b);
        Panel<S>(parts[at.part], at.first, at.have, groups, panels.ahead(b, asks, shares, next)).multiply();
    }
    if (same < num_parts) product(x, rows, size, parts + same, num_parts - same, threads, next);
}
