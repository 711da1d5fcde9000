// A decoder of the Llama family over the caller's tensors, and a store of keys and values shared by prefixes.
#pragma once
#include <algorithm>
#include <vector>

#include "influence.h"

enum Projection { Q, K, V, O, GATE, UP, DOWN, PROJECTIONS };

template <class S>
struct Linear {
    const S *weight, *bias;
    const Compute<S> *lora_a, *lora_b;  // null without an adapter
    int64_t rank;
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
enum Status : int64_t { DONE = 0, OUT_OF_BOUNDS = -1, NOT_FINITE = -2 };

template <class S>
struct Weights {
    Sizes size;
    Compute<S> eps, scaling;
    const S *embed, *final_norm, *head, *head_bias;
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
        product(normed_.data(), H, n, w.head, w.size.vocab, H, w.head_bias, out.data(), w.size.vocab,
                int(w.size.threads));
    }

   private:
    static constexpr size_t AT_ONCE = 256;
    Buffer<C> hidden_, qkv_, gate_, up_, low_, wide_;
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
            linear(layer.linear[Q], normed_, n, H, queries, qkv_.data(), width);
            linear(layer.linear[K], normed_, n, H, keys, qkv_.data() + queries, width);
            linear(layer.linear[V], normed_, n, H, keys, qkv_.data() + queries + keys, width);
            for (int64_t i = 0; i < n; i++) place(layer, index, rows[i], &qkv_[i * width]);
            attend(index, rows, n, width);
            linear(layer.linear[O], mixed_, n, queries, H, hidden_.data(), H, true);
            for (int64_t i = 0; i < n; i++) normalise(&hidden_[i * H], layer.post_norm, H, &normed_[i * H]);
            linear(layer.linear[GATE], normed_, n, H, z.mlp, gate_.data(), z.mlp);
            linear(layer.linear[UP], normed_, n, H, z.mlp, up_.data(), z.mlp);
            gated(n * z.mlp);
            linear(layer.linear[DOWN], narrow_, n, z.mlp, H, hidden_.data(), H, true);
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

    void linear(const Linear<S>& l, const Buffer<S>& x, int64_t n, int64_t inputs, int64_t outputs, C* y,
                int64_t y_stride, bool add = false) {
        const int threads = int(w.size.threads);
        product(x.data(), inputs, n, l.weight, outputs, inputs, l.bias, y, y_stride, threads, add);
        if (!l.lora_a) return;
        wide_.resize(n * inputs), low_.resize(n * l.rank);
        for (int64_t i = 0; i < n * inputs; i++) wide_[i] = widen(x[i]);
        product<C>(wide_.data(), inputs, n, l.lora_a, l.rank, inputs, (const C*)nullptr, low_.data(), l.rank, threads);
        product<C>(low_.data(), l.rank, n, l.lora_b, outputs, l.rank, (const C*)nullptr, y, y_stride, threads, true,
                   l.lora_scale);
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
            const bool shared = z.threads > 1 && n * rows[n - 1].length * z.heads * z.head_dim > WORTH_SHARING;
#pragma omp parallel for num_threads(int(z.threads)) if (shared) schedule(dynamic)
        for (int64_t job = 0; job < n * z.kv_heads; job++) {
            const int64_t i = job / z.kv_heads, g = job % z.kv_heads, group = z.heads / z.kv_heads;
            const int64_t first = g * group * z.head_dim;
            for (int64_t h = 0; h < group; h += 4)
                heads(int(std::min<int64_t>(4, group - h)), index, rows[i], g, g * group + h,
                      &qkv_[i * width + first + h * z.head_dim],
                      &mixed_[i * z.heads * z.head_dim + first + h * z.head_dim]);
        }
    }

    void heads(int count, int64_t index, const Row<C>& row, int64_t g, int64_t head, const C* q, S* out) const {
        if (count == 1) some_heads<1>(index, row, g, head, q, out);
        if (count == 2) some_heads<2>(index, row, g, head, q, out);
        if (count == 3) some_heads<3>(index, row, g, head, q, out);
        if (count == 4) some_heads<4>(index, row, g, head, q, out);
    }

    // Attention of M query heads, from `head` on, that share keys and values.
    template <int M>
    void some_heads(int64_t index, const Row<C>& row, int64_t g, int64_t head, const C* q, S* out) const {
        const int64_t D = w.size.head_dim, T = row.length, stride = 2 * w.size.kv_heads * D;
        const int64_t room = (T + lanes - 1) / lanes * lanes;
        const S* keys = store.kv[index] + g * D;
        const S* values = keys + w.size.kv_heads * D;
        thread_local Buffer<C> scores;
        thread_local Buffer<S> query;
        scores.assign(M * room, -std::numeric_limits<C>::infinity());
        query.resize(M * D);
        for (int64_t j = 0; j < M * D; j++) narrow(q[j] * w.scaling, query[j]);
        constexpr int N = 16 / (M == 3 ? 4 : M);
        const S *left[M], *right[N];
        for (int m = 0; m < M; m++) left[m] = &query[m * D];
        C found[M][N];
        for (int64_t t = 0; t < T; t += N) {
            const int64_t have = std::min<int64_t>(N, T - t);
            for (int64_t j = 0; j < N; j++) right[j] = keys + row.path[t + std::min(j, have - 1)] * stride;
            tile<M, N>(left, right, D, found);
            for (int m = 0; m < M; m++)
                for (int64_t j = 0; j < have; j++) scores[m * room + t + j] = found[m][j];
        }
        for (int m = 0; m < M; m++) {
            const C norm = softmax(&scores[m * room], room);
            if (row.sums) row.sums->add(index, head + m, &scores[m * room], norm);
            mix(&scores[m * room], norm, values, row, stride, out + m * D);
        }
    }

    // e^(x - max x) in place; returns 1 / their sum.
    static C softmax(C* x, int64_t room) {
        const C top = *std::max_element(x, x + room);
        Vec sum = {};
        for (int64_t t = 0; t < room; t += lanes) {
            const Vec e = exponential(load<Vec>(x + t) - top);
            store_part(x + t, e, lanes);
            sum += e;
        }
        return C(1 / total(sum));
    }

    void mix(const C* share, C norm, const S* values, const Row<C>& row, int64_t stride, S* out) const {
        const int64_t D = w.size.head_dim;
        int64_t d = 0;
        for (; d + 2 * lanes <= D; d += 2 * lanes) {
            Vec a = {}, b = {};
            for (int64_t t = 0; t < row.length; t++) {
                const S* v = values + row.path[t] * stride + d;
                a += share[t] * widened(v);
                b += share[t] * widened(v + lanes);
            }
            for (int i = 0; i < lanes; i++) narrow(a[i] * norm, out[d + i]), narrow(b[i] * norm, out[d + lanes + i]);
        }
        for (; d < D; d++) {
            C sum = 0;
            for (int64_t t = 0; t < row.length; t++) sum += share[t] * widen(values[row.path[t] * stride + d]);
            narrow(sum * norm, out[d]);
        }
    }

    // narrow_ = silu(gate) * up
    void gated(int64_t size) {
        int64_t j = 0;
        for (; j + lanes <= size; j += lanes) {
            const Vec g = load<Vec>(&gate_[j]);
            const Vec found = g / (C(1) + exponential(-g)) * load<Vec>(&up_[j]);
            for (int i = 0; i < lanes; i++) narrow(found[i], narrow_[j + i]);
        }
        for (; j < size; j++) narrow(gate_[j] / (C(1) + std::exp(-gate_[j])) * up_[j], narrow_[j]);
    }
};
