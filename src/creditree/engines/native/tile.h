// Products of a few rows with a few weight rows, whose sums stay in registers.
#pragma once
#include <algorithm>

#include "rows.h"

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

// Sums that registers hold beside what they are made of. Few rows are taken TOGETHER, so that each weight is read and
// widened once, or twice; of more, ROWS at a time with COLUMNS weight rows, which stay in the nearest cache meanwhile.
constexpr int SUMS = VECTOR_BYTES == 32 ? 12 : 24, FEW = 8, TOGETHER = SUMS / 3, COLUMNS = 6, ROWS = SUMS / COLUMNS;
constexpr int columns_of(int rows) { return rows == 1 ? 12 : SUMS / rows; }

// flat[i] = sum of acc[i] over its lanes, for COUNT vectors.
template <int COUNT, int lanes, class V, class C>
__attribute__((always_inline)) inline void reduce(V* acc, C* flat) {
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

// Weights to ask for while others are multiplied: memory is never idle then.
struct Ahead {
    const char* next;
    int64_t stride;  // bytes from one that is asked for to the next: a line at most

    void ask() {
        __builtin_prefetch(next, 0, 2);
        next += stride;
    }
};

// flat[m * N + n] = x[m] . w[n], x a group of M rows as RowGroups lays them out for weights of type W. The additions of
// one sum never depend on M and N: what else is decoded cannot change it. ASKS: how often weights are asked for in a
// step. Within a larger function sums would not all get registers.
template <int M, int N, int ASKS, class W, class C = Compute<W>>
__attribute__((noinline)) void tile(const C* x, const W* const* w, int64_t size, C* flat, Ahead& ahead) {
    typedef typename Kind<C>::vec V;
    constexpr int lanes = Kind<C>::lanes, S = Strip<W>::vectors, step = S * lanes;
    V acc[M * N];
    UNROLL
    for (V& sum : acc) sum = V{};
    const W* at[N];
    UNROLL
    for (int n = 0; n < N; n++) at[n] = w[n];
    Ahead asked = ahead;
    int64_t k = 0;
    for (; k + step <= size; k += step, x += step * M) {
        UNROLL
        for (int i = 0; i < ASKS; i++) asked.ask();
        UNROLL
        for (int s = 0; s < S; s++) {
            if constexpr (M <= N) {  // those of which there are fewer wait in registers
                V left[M];
                UNROLL
                for (int m = 0; m < M; m++) left[m] = load<V>(x + (s * M + m) * lanes);
                UNROLL
                for (int n = 0; n < N; n++) {
                    V right = Strip<W>::get(at[n] + k, s);
                    IN_REGISTER(right);
                    UNROLL
                    for (int m = 0; m < M; m++) acc[m * N + n] = fused(acc[m * N + n], left[m], right);
                }
            } else {
                V right[N];
                UNROLL
                for (int n = 0; n < N; n++) {
                    right[n] = Strip<W>::get(at[n] + k, s);
                    IN_REGISTER(right[n]);
                }
                UNROLL
                for (int m = 0; m < M; m++) {
                    V left = load<V>(x + (s * M + m) * lanes);
                    IN_REGISTER(left);
                    UNROLL
                    for (int n = 0; n < N; n++) acc[m * N + n] = fused(acc[m * N + n], left, right[n]);
                }
            }
        }
    }
    ahead = asked;
    if (k < size) {
        for (int s = 0; s < S; s++) {
            V right[N];
            UNROLL
            for (int n = 0; n < N; n++) right[n] = Strip<W>::part(w[n] + k, s, int(size - k));
            UNROLL
            for (int m = 0; m < M; m++) {
                const V left = load<V>(x + (s * M + m) * lanes);
                UNROLL
                for (int n = 0; n < N; n++) acc[m * N + n] = fused(acc[m * N + n], left, right[n]);
            }
        }
    }
    V all[M * N];
    UNROLL
    for (int i = 0; i < M * N; i++) all[i] = acc[i];
    reduce<M * N, lanes>(all, flat);
}
