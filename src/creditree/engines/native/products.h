// Products of few rows with a weight matrix stored [outputs, inputs]: every weight is read once, where it lies.
#pragma once
#include <algorithm>

#include "vectors.h"

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

template <class S>
using Compute = typename Kind<S>::compute;

// out[m][n] = x[m] . w[n]. The additions of one sum never depend on M and N: what else is decoded cannot change it.
// `ahead` > 0 asks for the weights that many values further on, which the next tile will read.
template <int M, int N, class S>
inline void tile(const S* const* x, const S* const* w, int64_t size, Compute<S> (*out)[N], int64_t ahead = 0) {
    typedef typename Kind<S>::vec V;
    constexpr int step = Kind<S>::step, lanes = Kind<S>::lanes;
    V acc[M * N];
    UNROLL
    for (V& sum : acc) sum = V{};
    int64_t k = 0;
    for (; k + step <= size; k += step) {
        V left[M];
        UNROLL
        for (int m = 0; m < M; m++) left[m] = load<V>(x[m] + k);
        UNROLL
        for (int n = 0; n < N; n++) {
            V right = load<V>(w[n] + k);
            IN_REGISTER(right);
            if (ahead) __builtin_prefetch(w[n] + k + ahead, 0, 2);
            UNROLL
            for (int m = 0; m < M; m++) acc[m * N + n] = multiply_add(acc[m * N + n], x[m], left[m], right);
        }
    }
    if (k < size) {
        const int count = int(size - k);
        V left[M];
        UNROLL
        for (int m = 0; m < M; m++) left[m] = load_part<V>(x[m] + k, count);
        UNROLL
        for (int n = 0; n < N; n++) {
            const V right = load_part<V>(w[n] + k, count);
            UNROLL
            for (int m = 0; m < M; m++) acc[m * N + n] = multiply_add(acc[m * N + n], x[m], left[m], right);
        }
    }
    constexpr int groups = (M * N + lanes - 1) / lanes, rest = M * N % lanes;
    alignas(64) Compute<S> flat[groups * lanes];
    UNROLL
    for (int g = 0; g < groups - (rest > 0); g++) store_part(flat + g * lanes, sums<lanes>(acc + g * lanes), lanes);
    if constexpr (rest > 0) {
        V part[lanes];
        UNROLL
        for (int i = 0; i < lanes; i++) part[i] = i < rest ? acc[(groups - 1) * lanes + i] : V{};
        store_part(flat + (groups - 1) * lanes, sums<lanes>(part), lanes);
    }
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int n = 0; n < N; n++) out[m][n] = flat[m * N + n];
}

// y[m, first + n] (+)= x[m] . w[n] + bias[n] for one block of at most N weight rows.
template <int M, int N, class S, class B>
inline void block(const S* x, int64_t x_stride, const S* w, int64_t size, int have, const B* bias, Compute<S> scale,
                  Compute<S>* y, int64_t y_stride, bool add, int64_t ahead) {
    const S *rows[M], *weights[N];
    Compute<S> out[M][N];
    for (int m = 0; m < M; m++) rows[m] = x + m * x_stride;
    for (int n = 0; n < N; n++) weights[n] = w + (n < have ? n : have - 1) * size;
    tile<M, N>(rows, weights, size, out, ahead);
    for (int m = 0; m < M; m++)
        for (int n = 0; n < have; n++) {
            Compute<S> sum = scale * out[m][n];
            if (bias) sum += widen(bias[n]);
            y[m * y_stride + n] = add ? y[m * y_stride + n] + sum : sum;
        }
}

// Multiplications from which threads share them: about half a millisecond. Where other programs have the cores, threads
// wait for one another at the end of each part for as long as a time slice: of small parts that was 30 times their work.
constexpr int64_t WORTH_SHARING = 1 << 22;
constexpr int64_t AHEAD = 4;  // tiles between the weights in use and those asked for (measured: 1 to 8)
constexpr int WIDE = VECTOR_BYTES == 32 ? 2 : 4;  // rows of a tile: 16 registers hold 2 x 4 sums, 32 hold 4 x 4

// y [rows, outputs] (+)= scale * x [rows, size] w^T + bias.
template <class S, class B = S>
void product(const S* x, int64_t x_stride, int64_t rows, const S* w, int64_t outputs, int64_t size, const B* bias,
             Compute<S>* y, int64_t y_stride, int threads, bool add = false, Compute<S> scale = 1) {
    const int64_t at_once = std::max<int64_t>(WIDE, (256 << 10) / int64_t(size * sizeof(S)) / WIDE * WIDE);
    const int wide = rows == 1 ? 16 : rows == 2 ? 8 : 4;
    const int64_t blocks = (outputs + wide - 1) / wide;
    const bool shared = threads > 1 && rows * outputs * size > WORTH_SHARING;
#pragma omp parallel for num_threads(threads) if (shared) schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t first = b * wide;
        const int have = int(std::min<int64_t>(wide, outputs - first));
        const S* from = w + first * size;
        const B* offset = bias ? bias + first : nullptr;
        for (int64_t m = 0; m < std::min(rows, at_once);) {
            const S* left = x + m * x_stride;
            Compute<S>* right = y + m * y_stride + first;
            const int64_t ahead = m ? 0 : AHEAD * wide * size;
            const int64_t rest = std::min(rows, at_once) - m;
            if (rows == 1)
                block<1, 16>(left, x_stride, from, size, have, offset, scale, right, y_stride, add, ahead), m += 1;
            else if (rows == 2)
                block<2, 8>(left, x_stride, from, size, have, offset, scale, right, y_stride, add, ahead), m += 2;
            else if (rest >= WIDE)
                block<WIDE, 4>(left, x_stride, from, size, have, offset, scale, right, y_stride, add, ahead), m += WIDE;
            else if (rest == 3)
                block<3, 4>(left, x_stride, from, size, have, offset, scale, right, y_stride, add, ahead), m += 3;
            else if (rest == 2)
                block<2, 4>(left, x_stride, from, size, have, offset, scale, right, y_stride, add, ahead), m += 2;
            else
                block<1, 4>(left, x_stride, from, size, have, offset, scale, right, y_stride, add, ahead), m += 1;
        }
    }
    if (rows > at_once)
        product(x + at_once * x_stride, x_stride, rows - at_once, w, outputs, size, bias, y + at_once * y_stride,
                y_stride, threads, add, scale);
}
