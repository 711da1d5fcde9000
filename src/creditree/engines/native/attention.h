// Attention of query heads that share keys and values, over the slots of a prefix.
#pragma once
#include "products.h"

template <class S>
struct Attention {
    typedef Compute<S> C;
    typedef typename Kind<C>::vec Vec;
    static constexpr int lanes = Kind<C>::lanes;

    const S *keys, *values;  // of slot 0; those of the next lie `stride` further on
    int64_t stride, width;
    const int32_t* path;
    int64_t length;

    // out[m] = sum over t of softmax(scaling q[m] . keys)[t] values[t], for 1 to 4 heads; `seen(m, shares, norm)` is told
    // the shares, to be multiplied by `norm`.
    template <class Seen>
    void heads(int64_t count, const C* q, C scaling, S* out, const Seen& seen) const {
        if (count == 1) some<1>(q, scaling, out, seen);
        if (count == 2) some<2>(q, scaling, out, seen);
        if (count == 3) some<3>(q, scaling, out, seen);
        if (count == 4) some<4>(q, scaling, out, seen);
    }

   private:
    template <int M, class Seen>
    void some(const C* q, C scaling, S* out, const Seen& seen) const {
        const int64_t room = (length + lanes - 1) / lanes * lanes;
        thread_local Buffer<C> scores, query, group;
        scores.resize(M * room), query.resize(M * width);
        for (int64_t j = 0; j < M * width; j++) query[j] = q[j] * scaling;
        score<M>(RowGroups<C>(query.data(), M, width, M, Strip<S>::vectors, group).at(0, 0), scores.data(), room);
        C norms[M];
        for (int m = 0; m < M; m++) {
            C* own = &scores[m * room];
            std::fill(own + length, own + room, -std::numeric_limits<C>::infinity());
            norms[m] = softmax(own, room);
            seen(m, own, norms[m]);
        }
        mix<M>(scores.data(), room, norms, out);
    }

    template <int M>
    void score(const C* query, C* scores, int64_t room) const {
        constexpr int N = columns_of(M);
        const S* right[N];
        alignas(64) C found[(M * N + lanes - 1) / lanes * lanes];
        Ahead none{};
        for (int64_t t = 0; t < length; t += N) {
            const int64_t have = std::min<int64_t>(N, length - t);
            for (int64_t j = 0; j < N; j++) right[j] = keys + path[t + std::min(j, have - 1)] * stride;
            tile<M, N, 0>(query, right, width, found, none);
            for (int m = 0; m < M; m++)
                for (int64_t j = 0; j < have; j++) scores[m * room + t + j] = found[m * N + j];
        }
    }

    // e^(x - max x) in place; returns 1 / their sum.
    static C softmax(C* x, int64_t room) {
        Vec most = load<Vec>(x);
        for (int64_t t = lanes; t < room; t += lanes) {
            const Vec other = load<Vec>(x + t);
            most = other > most ? other : most;
        }
        C top = most[0];
        for (int i = 1; i < lanes; i++) top = std::max(top, most[i]);
        Vec sum = {};
        for (int64_t t = 0; t < room; t += lanes) {
            const Vec e = exponential(load<Vec>(x + t) - top);
            store_part(x + t, e, lanes);
            sum += e;
        }
        return C(1 / total(sum));
    }

    template <int M>
    void mix(const C* shares, int64_t room, const C* norms, S* out) const {
        constexpr int wide = VECTOR_BYTES == 32 ? 2 : 4;
        int64_t d = 0;
        for (; d + wide * lanes <= width; d += wide * lanes) mix_some<M, wide>(shares, room, norms, d, out);
        for (; d + lanes <= width; d += lanes) mix_some<M, 1>(shares, room, norms, d, out);
        for (; d < width; d++)
            for (int m = 0; m < M; m++) {
                C sum = 0;
                for (int64_t t = 0; t < length; t++) sum += shares[m * room + t] * widen(values[path[t] * stride + d]);
                narrow(sum * norms[m], out[m * width + d]);
            }
    }

    // Columns [d, d + N lanes).
    template <int M, int N>
    void mix_some(const C* shares, int64_t room, const C* norms, int64_t d, S* out) const {
        Vec acc[M * N];
        UNROLL
        for (Vec& sum : acc) sum = Vec{};
        for (int64_t t = 0; t < length; t++) {
            const S* from = values + path[t] * stride + d;
            Vec value[N];
            UNROLL
            for (int n = 0; n < N; n++) value[n] = widened(from + n * lanes);
            UNROLL
            for (int m = 0; m < M; m++)
                UNROLL
                for (int n = 0; n < N; n++) acc[m * N + n] += shares[m * room + t] * value[n];
        }
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++)
                for (int i = 0; i < lanes; i++)
                    narrow(acc[m * N + n][i] * norms[m], out[m * width + d + n * lanes + i]);
    }
};
