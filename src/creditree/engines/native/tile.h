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

// Weights that are read soon.
struct Soon {
    const char* from;
    int64_t bytes;
};

// Asks for weights while others are multiplied: memory is never idle then.
class Ahead {
   public:
    Ahead() : next_(nullptr), stride_(0) {}
    // To be asked so often: each time for a line, at most.
    Ahead(const Soon& soon, int64_t times)
        : next_(soon.from), stride_(std::min<int64_t>(64, (soon.bytes + times - 1) / std::max<int64_t>(1, times))) {}

    void ask() {
        __builtin_prefetch(next_, 0, 2);
        next_ += stride_;
    }

   private:
    const char* next_;
    int64_t stride_;
};

#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
// Sums of four rows and three weight rows over a strip. Sixteen registers are just enough: of the loop in `tile`
// compilers keep sums in memory.
#define ROW(at, first, second)                                \
    "vmovups " at "(%[x]), %%ymm14\n\t"                       \
    "vfmadd231ps %%ymm12, %%ymm14, %[" first "]\n\t"          \
    "vfmadd231ps %%ymm13, %%ymm14, %[" second "]\n\t"
#define LAST(at, third) "vfmadd231ps " at "(%[x]), %%ymm12, %[" third "]\n\t"
#define HALF(widen, at0, at1, at2, at3)                       \
    widen " (%[w0]), %%ymm15, %%ymm12\n\t"                    \
    widen " (%[w1]), %%ymm15, %%ymm13\n\t"                    \
    ROW(at0, "a", "b") ROW(at1, "d", "e") ROW(at2, "g", "h") ROW(at3, "j", "k") \
    widen " (%[w2]), %%ymm15, %%ymm12\n\t"                    \
    LAST(at0, "c") LAST(at1, "f") LAST(at2, "i") LAST(at3, "l")

inline void four_by_three(Kind<float>::vec* sums, const float* x, const bf16* w0, const bf16* w1, const bf16* w2) {
    asm("vpxor %%ymm15, %%ymm15, %%ymm15\n\t"
        HALF("vpunpcklwd", "", "32", "64", "96")
        HALF("vpunpckhwd", "128", "160", "192", "224")
        : [a] "+x"(sums[0]), [b] "+x"(sums[1]), [c] "+x"(sums[2]), [d] "+x"(sums[3]), [e] "+x"(sums[4]), [f] "+x"(sums[5]),
          [g] "+x"(sums[6]), [h] "+x"(sums[7]), [i] "+x"(sums[8]), [j] "+x"(sums[9]), [k] "+x"(sums[10]), [l] "+x"(sums[11])
        : [x] "r"(x), [w0] "r"(w0), [w1] "r"(w1), [w2] "r"(w2)
        : "ymm12", "ymm13", "ymm14", "ymm15", "memory");
}
#undef ROW
#undef LAST
#undef HALF
constexpr bool HAS_FOUR_BY_THREE = true;
#else
constexpr bool HAS_FOUR_BY_THREE = false;
inline void four_by_three(...) {}
#endif

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
        if constexpr (HAS_FOUR_BY_THREE && M == 4 && N == 3 && std::is_same<W, bf16>::value) {
            four_by_three(acc, x, at[0] + k, at[1] + k, at[2] + k);
            continue;
        }
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
