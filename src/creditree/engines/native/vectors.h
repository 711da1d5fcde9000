// SIMD vectors by the compiler's portable extension (GCC >= 12, Clang): one source for AVX-512, AVX2 and NEON.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <utility>
#include <vector>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

// Sums of a tile have to stay in registers: loops over them are written out.
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// Memory that starts on a cache line: a vector that straddles two costs two loads.
template <class T>
struct OnLine {
    typedef T value_type;
    OnLine() = default;
    template <class U>
    OnLine(const OnLine<U>&) {}
    T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
    void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t(64)); }
    bool operator==(const OnLine&) const { return true; }
    bool operator!=(const OnLine&) const { return false; }
};

template <class T>
using Buffer = std::vector<T, OnLine<T>>;

struct bf16 {
    uint16_t bits;
};

// `value` is what one weight is; `compute` what is accumulated; a load of `step` values feeds one vector of sums.
template <class S>
struct Kind;

template <>
struct Kind<float> {
    typedef float compute;
    typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int lanes = VECTOR_BYTES / 4, step = lanes;
};

template <>
struct Kind<double> {
    typedef double compute;
    typedef double vec __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int lanes = VECTOR_BYTES / 8, step = lanes;
};

template <>
struct Kind<bf16> {
    typedef float compute;
    typedef Kind<float>::vec vec;
    static constexpr int lanes = VECTOR_BYTES / 4, step = 2 * lanes;
};

typedef int32_t ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t uvec __attribute__((vector_size(VECTOR_BYTES)));

template <class T, class S>
inline T load(const S* p) {
    T found;
    std::memcpy(&found, p, sizeof(T));
    return found;
}

// The first `count` values, zeros behind them.
template <class T, class S>
inline T load_part(const S* p, int count) {
    T found;
    std::memset(&found, 0, sizeof(T));
    std::memcpy(&found, p, count * sizeof(S));
    return found;
}

template <class T, class S>
inline void store_part(S* p, const T& from, int count) {
    std::memcpy(p, &from, count * sizeof(S));
}

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(bf16 x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    return load<float>(&bits);
}

inline void narrow(float x, float& to) { to = x; }
inline void narrow(double x, double& to) { to = x; }
inline void narrow(float x, bf16& to) {  // to nearest, ties to even
    uint32_t bits = load<uint32_t>(&x);
    to.bits = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// acc + x w, for one load of each.
inline Kind<float>::vec multiply_add(Kind<float>::vec acc, const float*, Kind<float>::vec x, Kind<float>::vec w) {
    return acc + x * w;
}
inline Kind<double>::vec multiply_add(Kind<double>::vec acc, const double*, Kind<double>::vec x, Kind<double>::vec w) {
    return acc + x * w;
}
inline Kind<float>::vec multiply_add(Kind<float>::vec acc, const bf16*, Kind<float>::vec x, Kind<float>::vec w) {
#if defined(__AVX512BF16__) && VECTOR_BYTES == 64
    return (Kind<float>::vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)x, (__m512bh)w);
#else
    const uvec xb = (uvec)x, wb = (uvec)w;
    acc += (Kind<float>::vec)(xb << 16) * (Kind<float>::vec)(wb << 16);
    return acc + (Kind<float>::vec)(xb & 0xffff0000u) * (Kind<float>::vec)(wb & 0xffff0000u);
#endif
}

// `lanes` values of a stored row, in the type that is computed in.
inline Kind<float>::vec widened(const float* p) { return load<Kind<float>::vec>(p); }
inline Kind<double>::vec widened(const double* p) { return load<Kind<double>::vec>(p); }
inline Kind<float>::vec widened(const bf16* p) {
    typedef uint16_t half __attribute__((vector_size(VECTOR_BYTES / 2)));
    return (Kind<float>::vec)(__builtin_convertvector(load<half>(p), uvec) << 16);
}

template <int G, int N>
constexpr int lane_of(int i, int high) {
    const int block = i / (2 * G) * (2 * G), place = i % (2 * G);
    return (place < G ? block + place : N + block + place - G) + high * G;
}

template <int G, class V, std::size_t... I>
inline V halve(V a, V b, std::index_sequence<I...>) {
    constexpr int N = sizeof...(I);
    return __builtin_shufflevector(a, b, lane_of<G, N>(I, 0)...) +
           __builtin_shufflevector(a, b, lane_of<G, N>(I, 1)...);
}

// Sum each of N vectors over its N lanes: lane i of the result is the sum of v[i]. The order of the additions is the
// same for every lane, so a sum does not depend on its place.
template <int N, class V>
inline V sums(V* v) {
    if constexpr (N >= 2) {
        UNROLL
        for (int i = 0; i < N / 2; i++) v[i] = halve<1>(v[2 * i], v[2 * i + 1], std::make_index_sequence<N>());
    }
    if constexpr (N >= 4) {
        UNROLL
        for (int i = 0; i < N / 4; i++) v[i] = halve<2>(v[2 * i], v[2 * i + 1], std::make_index_sequence<N>());
    }
    if constexpr (N >= 8) {
        UNROLL
        for (int i = 0; i < N / 8; i++) v[i] = halve<4>(v[2 * i], v[2 * i + 1], std::make_index_sequence<N>());
    }
    if constexpr (N >= 16) v[0] = halve<8>(v[0], v[1], std::make_index_sequence<N>());
    return v[0];
}

template <class V>
inline double total(const V& v) {
    double sum = 0;
    for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); i++) sum += v[i];
    return sum;
}

// e^x to about 1e-7 relative: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]. 0 below the smallest normal number.
inline Kind<float>::vec exponential(Kind<float>::vec x) {
    typedef Kind<float>::vec V;
    const ivec small = x < -87.3f;
    x = x > 88.0f ? V{} + 88.0f : x;
    x = small ? V{} : x;
    const V n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
    V r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    V p = V{} + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const V scaled = (V)((ivec)p + (__builtin_convertvector(n, ivec) << 23));
    return small ? V{} : scaled;
}

inline Kind<double>::vec exponential(Kind<double>::vec x) {
    for (int i = 0; i < Kind<double>::lanes; i++) x[i] = std::exp(x[i]);
    return x;
}
