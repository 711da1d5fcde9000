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

    // Weight rows `first` to `first + have` of `part` times x; meanwhile weights are asked for that are read soon.
    // `room`: what the function of that name returns.
    Panel(const Part<S>& part, int64_t first, int have, const RowGroups<C>& x, const Soon& soon, C* room)
        : part_(part), first_(first), have_(have), x_(x), soon_(soon), sums_(room) {}

    // Memory of the thread that asks, for sums of so many rows.
    static C* room(int64_t rows) {
        thread_local Buffer<C> held;
        held.resize(rows * (PANEL + lanes));
        return held.data();
    }

    // How many rows are multiplied at once.
    static int at_once(int64_t rows) {
        if (rows > FEW) return ROWS;
        const int64_t parts = (rows + TOGETHER - 1) / TOGETHER, most = (rows + parts - 1) / parts;
        return int(most == 1 ? 1 : (most + 1) / 2 * 2);
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
            for (int64_t row = 0; row < x_.rows; row++)
                for (int n = 0; n < have_; n += lanes)
                    part_.write(row, first_ + n, std::min(lanes, have_ - n), load<Vec>(sums_of(row) + n), at_ == 0);
        }
    }

   private:
    static constexpr int lanes = Kind<C>::lanes;
    static constexpr bool HAS_CODES = std::is_same<C, float>::value;
    typedef typename Kind<C>::vec Vec;
    const Part<S>& part_;
    const int64_t first_;
    const int have_;
    const RowGroups<C>& x_;
    const Soon soon_;
    Ahead ahead_;
    int64_t at_ = 0, length_ = 0;
    C* const sums_;  // of all rows: written when the panel's are all there

    C* sums_of(int64_t row) const { return sums_ + row * (PANEL + lanes); }

    // All rows, M at a time, times N weight rows after the other. Of MANY, each weight is widened once.
    template <int M, int N = columns_of(M), bool MANY = false>
    void all() {
        const Matrix<S>& matrix = *part_.matrix;
        const int64_t from = first_ * x_.size + at_;
        if constexpr (std::is_same<S, C>::value || !MANY)
            if (matrix.format == PLAIN) return some<M, N, sizeof(S), MANY>(0, have_, matrix.plain() + from, x_.size, length_);
        if constexpr (HAS_CODES && !MANY)
            if (matrix.format == INT8) return some<M, N, 1, MANY>(0, have_, matrix.int8() + from, x_.size, length_);
        const int64_t step = x_.vectors * lanes, width = (length_ + step - 1) / step * step;
        const int most = MANY || x_.count == 1 ? N : int(PANEL);
        for (int first = 0; first < have_; first += most) {
            const int count = std::min(most, have_ - first);
            if constexpr (MANY)
                some<M, N, 2, MANY>(first, count, widened(first, count, width), width, width);
            else if constexpr (HAS_CODES)
                some<M, N, 1, MANY>(first, count, copied(first, count, width), width, width);
        }
    }

    // In the type computed in.
    const C* widened(int first, int count, int64_t width) const {
        thread_local Buffer<C> held;
        held.resize(count * width + 64);
        for (int n = 0; n < count; n++)
            part_.matrix->widen((first_ + first + n) * x_.size + at_, length_, x_.vectors, &held[n * width]);
        return held.data();
    }

    // Codes that are looked up.
    const bf16* copied(int first, int count, int64_t width) const {
        thread_local Buffer<bf16> held;
        held.resize(count * width + 64);
        for (int n = 0; n < count; n++)
            part_.matrix->copy((first_ + first + n) * x_.size + at_, length_, x_.vectors, &held[n * width]);
        return held.data();
    }

    // Weight rows `first` to `first + count` of the panel. BYTES: of a weight in memory, at most.
    template <int M, int N, int BYTES, bool MANY, class W>
    void some(int first, int count, const W* w, int64_t w_stride, int64_t length) {
        constexpr int step = Strip<W>::vectors * lanes, LINES = (N * step * BYTES + 63) / 64;
        // where there are groups enough, all or some of them ask once in each step, evenly, though for a line up to eight
        // times; otherwise the first one asks for all
        const bool spread = x_.count >= LINES;
        const int64_t every = spread ? std::max<int64_t>(1, x_.count / (4 * LINES)) : x_.count;
        if (at_ == 0 && first == 0) {
            const int64_t steps = (have_ + N - 1) / N * (x_.size / step);
            ahead_ = Ahead(soon_, steps * (spread ? (x_.count + every - 1) / every : LINES));
        }
        const auto one = [&](int n, int64_t p, bool asks) {
            alignas(64) C flat[(M * N + lanes - 1) / lanes * lanes];
            const W* right[N];
            for (int i = 0; i < N; i++) right[i] = w + std::min(n + i, count - 1) * w_stride;
            if (asks && spread) tile<M, N, 1>(x_.at(p, at_), right, length, flat, ahead_);
            else if (asks) tile<M, N, LINES>(x_.at(p, at_), right, length, flat, ahead_);
            else tile<M, N, 0>(x_.at(p, at_), right, length, flat, ahead_);
            hold<M, N>(x_.first(p), x_.have(p), first + n, flat, std::make_index_sequence<M>());
        };
        if constexpr (MANY) {  // widened weights stay in the nearest cache
            for (int n = 0; n < count; n += N)
                for (int64_t p = 0, next = 0; p < x_.count; p++) {
                    one(n, p, p == next);
                    if (p == next) next += every;
                }
        } else {  // the rows of a group do
            for (int64_t p = 0, next = 0; p < x_.count; p++) {
                for (int n = 0; n < count; n += N) one(n, p, p == next);
                if (p == next) next += every;
            }
        }
    }

    // What stands behind the N sums of a row is overwritten by those of the weight rows that come next.
    template <int M, int N, std::size_t... I>
    void hold(int64_t row, int rows, int first, const C* flat, std::index_sequence<I...>) {
        constexpr int width = N > lanes ? 0 : N > 8 ? 16 : N > 4 ? 8 : N > 2 ? 4 : N;
        (void(int(I) < rows && hold_row<M * N, N, int(I) * N, width>(sums_of(row + int(I)) + first, flat)), ...);
    }

    template <int ALL, int N, int AT, int WIDTH>
    __attribute__((always_inline)) bool hold_row(C* to, const C* flat) {
        if constexpr (WIDTH == 0) std::memcpy(to, flat + AT, N * sizeof(C));
        else store_part(to, from<ALL, AT>(flat, std::make_index_sequence<lanes>()), WIDTH < lanes ? WIDTH : lanes);
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

    // What to ask for while a panel is multiplied: panels of the same run, or, at its end, those that the same thread
    // takes first in the next product.
    Soon soon(int64_t panel, const Shares& shares, const Next<S>& next) const {
        const int64_t bytes = std::max<int64_t>(1, columns_ * size_ * parts_->matrix->bits() / 8);
        const int64_t then = panel + std::max<int64_t>(1, AHEAD_BYTES / bytes), over = then - shares.end();
        if (over < 0) return weights(then);
        if (over >= AHEAD_BYTES / bytes + 1 || !next.count) return nothing();
        const Panels<S> others(next.parts, next.count, columns_, next.size);
        const int64_t first = shares.start(others.count()) + over;
        return first < others.count() ? others.weights(first) : nothing();
    }

   private:
    const Part<S>* parts_;
    const int num_parts_;
    const int64_t columns_, size_;
    int64_t count_ = 0, outputs_ = 0;

    int64_t of(int part) const { return (parts_[part].matrix->outputs + columns_ - 1) / columns_; }

    Soon nothing() const { return {parts_->matrix->address(0), 0}; }

    Soon weights(int64_t panel) const {
        const PanelAt at = this->at(panel);
        const Matrix<S>& matrix = *parts_[at.part].matrix;
        return {matrix.address(at.first * size_), at.have * size_ * matrix.bits() / 8};
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
    const int sharing = is_worth_sharing(threads, rows, panels.weights()) ? threads : 1;
    Shares shares(panels.count(), sharing);
#pragma omp parallel num_threads(sharing) if (sharing > 1)
    {
        Compute<S>* const room = Panel<S>::room(rows);
        for (int64_t b = shares.next(); b >= 0; b = shares.next()) {
            const PanelAt at = panels.at(b);
            Panel<S>(parts[at.part], at.first, at.have, groups, panels.soon(b, shares, next), room).multiply();
        }
    }
    if (same < num_parts) product(x, rows, size, parts + same, num_parts - same, threads, next);
}
