// A decoder of the Llama family over the caller's tensors, and a store of keys and values shared by prefixes.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <vector>

#include "attention.h"
#include "influence.h"
#include "matrix_unit.h"

enum Projection { Q, K, V, O, GATE, UP, DOWN, PROJECTIONS };

template <class S>
struct Linear {
    Matrix<S> base;
    Matrix<Compute<S>> lora_a, lora_b;  // without weights where there is no adapter
    Compute<S> lora_scale;
};

template <class S>
struct Layer {
    const S *input_norm, *post_norm, *q_norm, *k_norm;  // q_norm and k_norm may be null
    Linear<S> linear[PROJECTIONS];
};

// What the caller passes; decoder.py mirrors this list of fields.
struct Sizes {
    int64_t layers, hidden, heads, kv_heads, head_dim, mlp, vocab, keep_layer, threads, embeddings, positions;
};

// What calls return instead of a count.
enum Status : int64_t { DONE = 0, OUT_OF_BOUNDS = -1, NOT_FINITE = -2, OUT_OF_MEMORY = -3 };

template <class S>
struct Weights {
    Sizes size;
    Compute<S> eps, scaling;
    const S *embed, *final_norm;
    Matrix<S> head;
    const Compute<S> *cos, *sin;  // [positions, head_dim]
    std::vector<Layer<S>> layers;
};

// One slot for each token of a prefix tree. Slot 0 is the root; children of a slot are a linked list.
template <class S>
struct Store {
    int64_t used, capacity;
    std::vector<S*> kv;  // per layer [slots, 2, kv_heads, head_dim]
    S *hidden, *trunk;   // [slots, hidden]: after the last layer; before layer keep_layer (may be null)
    int32_t *first_child, *next_sibling, *token;
    uint8_t* decoded;

    // Whether a slot is in use, and its token one of the first `tokens`.
    bool holds(int32_t slot, int64_t tokens) const {
        return slot >= 0 && slot < used && used <= capacity && token[slot] >= 0 && token[slot] < tokens;
    }

    int64_t child(int64_t parent, int32_t wanted) {
        int32_t last = 0;
        for (int32_t at = first_child[parent]; at; at = next_sibling[last = at])
            if (token[at] == wanted) return at;
        const int32_t fresh = int32_t(used++);
        token[fresh] = wanted;
        first_child[fresh] = next_sibling[fresh] = 0;
        decoded[fresh] = 0;
        (last ? next_sibling[last] : first_child[parent]) = fresh;
        return fresh;
    }
};

// One token to forward: `path` holds the slots of its prefix, its own included. `sums` may be null: nobody looks.
template <class C>
struct Row {
    const int32_t* path;
    int64_t length;
    StepSums<C>* sums;
    int64_t slot() const { return path[length - 1]; }
};

template <class S>
class Decoder {
   public:
    typedef Compute<S> C;
    typedef typename Kind<C>::vec Vec;
    static constexpr int lanes = Kind<C>::lanes;
    const Weights<S> w;
    Store<S> store;

    Decoder(Weights<S> weights, Store<S> cells) : w(std::move(weights)), store(std::move(cells)) {}

    // Forward the rows, in pieces: a row may look at rows before it. Keeps their keys, values and last states.
    void forward(const std::vector<Row<C>>& rows) {
        for (size_t start = 0; start < rows.size(); start += AT_ONCE)
            piece(rows.data() + start, std::min(rows.size() - start, AT_ONCE));
    }

    // logits [n, vocab] of the next token of each slot.
    void logits(const std::vector<int64_t>& slots, Buffer<C>& out) {
        const int64_t n = int64_t(slots.size()), H = w.size.hidden;
        normed_.resize(n * H);
        hidden_.resize(n * H);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < H; j++) hidden_[i * H + j] = widen(store.hidden[slots[i] * H + j]);
            normalise(&hidden_[i * H], w.final_norm, H, &normed_[i * H]);
        }
        out.resize(n * w.size.vocab);
        const Part<S> part{&w.head, out.data(), w.size.vocab};
        multiply(normed_, n, H, &part, 1, next_of(w.layers[0], {Q, K, V}, H));
    }

   private:
    static constexpr size_t AT_ONCE = 256;
    Buffer<C> hidden_, qkv_, gate_, up_, low_, wide_;  // wide_: rows that are multiplied, in the type of sums
    Buffer<S> normed_, mixed_, narrow_;

    void piece(const Row<C>* rows, int64_t n) {
        const Sizes& z = w.size;
        const int64_t H = z.hidden, queries = z.heads * z.head_dim, keys = z.kv_heads * z.head_dim;
        const int64_t width = queries + 2 * keys;
        hidden_.resize(n * H), normed_.resize(n * H), qkv_.resize(n * width), mixed_.resize(n * queries);
        gate_.resize(n * z.mlp), up_.resize(n * z.mlp), narrow_.resize(n * z.mlp);
        for (int64_t i = 0; i < n; i++) {
            const S* from = w.embed + int64_t(store.token[rows[i].slot()]) * H;
            for (int64_t j = 0; j < H; j++) hidden_[i * H + j] = widen(from[j]);
        }
        for (int64_t index = 0; index < z.layers; index++) {
            const Layer<S>& layer = w.layers[index];
            if (index == z.keep_layer && store.trunk) keep(rows, n, store.trunk);
            for (int64_t i = 0; i < n; i++) normalise(&hidden_[i * H], layer.input_norm, H, &normed_[i * H]);
            linear(layer, normed_, n, H, {{Q, qkv_.data(), width}, {K, qkv_.data() + queries, width},
                                          {V, qkv_.data() + queries + keys, width}}, next_of(layer, {O}, queries));
            for (int64_t i = 0; i < n; i++) place(layer, index, rows[i], &qkv_[i * width]);
            attend(index, rows, n, width);
            linear(layer, mixed_, n, queries, {{O, hidden_.data(), H, true}}, next_of(layer, {GATE, UP}, H));
            for (int64_t i = 0; i < n; i++) normalise(&hidden_[i * H], layer.post_norm, H, &normed_[i * H]);
            linear(layer, normed_, n, H, {{GATE, gate_.data(), z.mlp}, {UP, up_.data(), z.mlp}},
                   next_of(layer, {DOWN}, z.mlp));
            gated(n * z.mlp);
            linear(layer, narrow_, n, z.mlp, {{DOWN, hidden_.data(), H, true}},
                   index + 1 < z.layers ? next_of(w.layers[index + 1], {Q, K, V}, H) : Next<S>{{{&w.head}}, 1, H});
        }
        keep(rows, n, store.hidden);
        for (int64_t i = 0; i < n; i++) store.decoded[rows[i].slot()] = 1;
    }

    void keep(const Row<C>* rows, int64_t n, S* where) {
        const int64_t H = w.size.hidden;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < H; j++) narrow(hidden_[i * H + j], where[rows[i].slot() * H + j]);
    }

    static C square_sum(const C* x, int64_t size) {
        Vec acc = {};
        int64_t j = 0;
        for (; j + lanes <= size; j += lanes) {
            const Vec v = load<Vec>(x + j);
            acc += v * v;
        }
        const Vec v = load_part<Vec>(x + j, int(size - j));
        acc += v * v;
        return C(total(acc));
    }

    // to = x / sqrt(mean x^2 + eps) * weight
    void normalise(const C* x, const S* weight, int64_t size, S* to) const {
        const C scale = C(1) / std::sqrt(square_sum(x, size) / C(size) + w.eps);
        for (int64_t j = 0; j < size; j++) narrow(x[j] * scale * widen(weight[j]), to[j]);
    }

    struct Output {
        Projection which;
        C* y;
        int64_t stride;
        bool add = false;
    };

    // y (+)= x W^T + bias + scale x A^T B^T, for projections of the same rows x [n, inputs].
    void linear(const Layer<S>& layer, const Buffer<S>& x, int64_t n, int64_t inputs,
                std::initializer_list<Output> outputs, const Next<S>& next) {
        Part<S> parts[PROJECTIONS];
        int count = 0;
        bool adapted = false;
        for (const Output& out : outputs) {
            parts[count++] = {&layer.linear[out.which].base, out.y, out.stride, out.add};
            adapted |= layer.linear[out.which].lora_a.weights != nullptr;
        }
        multiply(x, n, inputs, parts, count, next);
        if (!adapted) return;
        const C* wide = widened_rows(x, n * inputs);
        for (const Output& out : outputs) {
            const Linear<S>& l = layer.linear[out.which];
            if (!l.lora_a.weights) continue;
            const int threads = int(w.size.threads);
            low_.resize(n * l.lora_a.outputs);
            const Part<C> down{&l.lora_a, low_.data(), l.lora_a.outputs};
            product<C>(wide, n, inputs, &down, 1, threads);
            const Part<C> up{&l.lora_b, out.y, out.stride, true, l.lora_scale};
            product<C>(low_.data(), n, l.lora_a.outputs, &up, 1, threads);
        }
    }

    static Next<S> next_of(const Layer<S>& layer, std::initializer_list<Projection> projections, int64_t inputs) {
        Next<S> found;
        for (Projection which : projections) found.parts[found.count++].matrix = &layer.linear[which].base;
        found.size = inputs;
        return found;
    }

    void multiply(const Buffer<S>& x, int64_t n, int64_t inputs, const Part<S>* parts, int count, const Next<S>& next) {
        const int threads = int(w.size.threads);
        if constexpr (std::is_same<S, bf16>::value)
            if (has_matrix_unit()) return unit_product(x.data(), n, inputs, parts, count, threads, next);
        product<S>(widened_rows(x, n * inputs), n, inputs, parts, count, threads, next);
    }

    const C* widened_rows(const Buffer<S>& x, int64_t size) {
        if constexpr (std::is_same<S, C>::value) return x.data();
        wide_.resize(size);
        int64_t i = 0;
        for (; i + lanes <= size; i += lanes) store_part(&wide_[i], widened(&x[i]), lanes);
        for (; i < size; i++) wide_[i] = widen(x[i]);
        return wide_.data();
    }

    void rotate(C* x, int64_t position) const {
        const int64_t half = w.size.head_dim / 2;
        const C *cos = w.cos + position * 2 * half, *sin = w.sin + position * 2 * half;
        for (int64_t d = 0; d < half; d++) {
            const C a = x[d], b = x[d + half];
            x[d] = a * cos[d] - b * sin[d];
            x[d + half] = b * cos[d + half] + a * sin[d + half];
        }
    }

    // Norm (where the family has it) and rotate queries and keys, and store keys and values.
    void place(const Layer<S>& layer, int64_t index, const Row<C>& row, C* qkv) {
        const Sizes& z = w.size;
        const int64_t D = z.head_dim, heads = z.heads + z.kv_heads;
        for (int64_t h = 0; h < heads; h++) {
            C* x = qkv + h * D;
            const S* weight = h < z.heads ? layer.q_norm : layer.k_norm;
            if (weight) {
                const C scale = C(1) / std::sqrt(square_sum(x, D) / C(D) + w.eps);
                for (int64_t d = 0; d < D; d++) x[d] *= scale * widen(weight[d]);
            }
            rotate(x, row.length - 1);
        }
        S* to = store.kv[index] + row.slot() * 2 * z.kv_heads * D;
        const C* from = qkv + z.heads * D;
        for (int64_t j = 0; j < 2 * z.kv_heads * D; j++) narrow(from[j], to[j]);
    }

    void attend(int64_t index, const Row<C>* rows, int64_t n, int64_t width) {
        const Sizes& z = w.size;
        const int64_t D = z.head_dim, group = z.heads / z.kv_heads;
        const bool shared = z.threads > 1 && n * rows[n - 1].length * z.heads * D > WORTH_SHARING;
#pragma omp parallel for num_threads(int(z.threads)) if (shared) schedule(dynamic)
        for (int64_t job = 0; job < n * z.kv_heads; job++) {
            const Row<C>& row = rows[job / z.kv_heads];
            const int64_t g = job % z.kv_heads;
            const S* keys = store.kv[index] + g * D;
            const Attention<S> attention{keys, keys + z.kv_heads * D, 2 * z.kv_heads * D, D, row.path, row.length};
            for (int64_t h = 0; h < group; h += 4) {
                const int64_t head = g * group + h;
                attention.heads(std::min<int64_t>(4, group - h), &qkv_[job / z.kv_heads * width + head * D], w.scaling,
                                &mixed_[(job / z.kv_heads * z.heads + head) * D],
                                [&](int m, const C* share, C norm) {
                                    if (row.sums) row.sums->add(index, head + m, share, norm);
                                });
            }
        }
    }

    // narrow_ = silu(gate) * up; the last ones as all the others, so that no row's bits depend on where it stands
    void gated(int64_t size) {
        for (int64_t j = 0; j < size; j += lanes) {
            const int count = int(std::min<int64_t>(lanes, size - j));
            const Vec g = count == lanes ? load<Vec>(&gate_[j]) : load_part<Vec>(&gate_[j], count);
            const Vec u = count == lanes ? load<Vec>(&up_[j]) : load_part<Vec>(&up_[j], count);
            const Vec found = g / (C(1) + exponential(-g)) * u;
            for (int i = 0; i < count; i++) narrow(found[i], narrow_[j + i]);
        }
    }
};
