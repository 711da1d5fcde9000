// SIMD vectors by the compiler's portable extension (GCC, Clang): one source for AVX-512, AVX2 and NEON.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>
#if defined(__x86_64__)
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
#define UNROLL _Pragma("GCC unroll 32")
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

// What numbers of a type are computed in, and a vector of those.
template <class S>
struct Kind;

template <>
struct Kind<float> {
    typedef float compute;
    typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int lanes = VECTOR_BYTES / 4;
};

template <>
struct Kind<double> {
    typedef double compute;
    typedef double vec __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int lanes = VECTOR_BYTES / 8;
};

template <>
struct Kind<bf16> : Kind<float> {};

template <>
struct Kind<int8_t> : Kind<float> {};

template <class S>
using Compute = typename Kind<S>::compute;

typedef int32_t ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t uvec __attribute__((vector_size(VECTOR_BYTES)));

template <class T, class S>
inline T load(const S* p) {
    T found;
    std::memcpy(&found, p, sizeof(T));
    return found;
}

#if defined(__AVX2__)
inline __m256i first_of_8(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}
#endif

// The first `count` values, zeros behind them. Nothing behind them is read.
template <class T, class S>
inline T load_part(const S* p, int count) {
#if defined(__AVX512F__)
    if constexpr (std::is_same<T, Kind<float>::vec>::value)
        return (T)_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p);
#elif defined(__AVX2__)
    if constexpr (std::is_same<T, Kind<float>::vec>::value) return (T)_mm256_maskload_ps(p, first_of_8(count));
#endif
    T found;
    std::memset(&found, 0, sizeof(T));
    std::memcpy(&found, p, count * sizeof(S));
    return found;
}

template <class T, class S>
inline void store_part(S* p, const T& from, int count) {
    std::memcpy(p, &from, count * sizeof(S));
}

// As `store_part`, of a count that the compiler does not know.
inline void store_some(float* p, Kind<float>::vec from, int count) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), (__m512)from);
#elif defined(__AVX2__)
    _mm256_maskstore_ps(p, first_of_8(count), (__m256)from);
#else
    store_part(p, from, count);
#endif
}
inline void store_some(double* p, Kind<double>::vec from, int count) { store_part(p, from, count); }

inline float widen(float x) { return x; }
inline float widen(int8_t x) { return x; }
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

// `lanes` stored values, in the type that is computed in.
inline Kind<float>::vec widened(const float* p) { return load<Kind<float>::vec>(p); }
inline Kind<double>::vec widened(const double* p) { return load<Kind<double>::vec>(p); }
inline Kind<float>::vec widened(const bf16* p) {
#if defined(__AVX512F__)  // of the loops below compilers make more instructions
    return (Kind<float>::vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(load<__m256i>(p)), 16);
#elif defined(__AVX2__)
    return (Kind<float>::vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(load<__m128i>(p)), 16);
#endif
    typedef uint16_t half __attribute__((vector_size(VECTOR_BYTES / 2)));
    return (Kind<float>::vec)(__builtin_convertvector(load<half>(p), uvec) << 16);
}
inline Kind<float>::vec widened(const int8_t* p) {
#if defined(__AVX512F__)
    return (Kind<float>::vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load<__m128i>(p)));
#elif defined(__AVX2__)
    return (Kind<float>::vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#endif
    typedef int8_t quarter __attribute__((vector_size(VECTOR_BYTES / 4)));
    return __builtin_convertvector(__builtin_convertvector(load<quarter>(p), ivec), Kind<float>::vec);
}

// The same of the first `count` values, zeros behind them.
template <class S>
inline typename Kind<S>::vec widened_part(const S* p, int count) {
    if constexpr (std::is_same<S, Compute<S>>::value) return load_part<typename Kind<S>::vec>(p, count);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    if constexpr (std::is_same<S, bf16>::value) {
        const __m256i part = _mm256_maskz_loadu_epi16(__mmask16((1u << count) - 1), p);
        return widened(reinterpret_cast<const bf16*>(&part));
    }
    if constexpr (std::is_same<S, int8_t>::value) {
        const __m128i part = _mm_maskz_loadu_epi8(__mmask16((1u << count) - 1), p);
        return widened(reinterpret_cast<const int8_t*>(&part));
    }
#endif
    S part[Kind<S>::lanes] = {};
    std::memcpy(part, p, count * sizeof(S));
    return widened(part);
}

// acc + a b with one rounding, always: a compiler that is free to fuse may do it in one function and not in the next,
// and sums would then depend on which of them was called.
inline Kind<float>::vec fused(Kind<float>::vec acc, Kind<float>::vec a, Kind<float>::vec b) {
#if defined(__AVX512F__)
    return (Kind<float>::vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)acc);
#elif defined(__FMA__)
    return (Kind<float>::vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)acc);
#else
    return acc + a * b;
#endif
}
inline Kind<double>::vec fused(Kind<double>::vec acc, Kind<double>::vec a, Kind<double>::vec b) {
#if defined(__AVX512F__)
    return (Kind<double>::vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)acc);
#elif defined(__FMA__)
    return (Kind<double>::vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)acc);
#else
    return acc + a * b;
#endif
}

// Lane i of the result is lane I[i] of a and b, those of b counted from the end of a's.
template <int... I, class V>
inline V shuffled(V a, V b) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, I...);
#else
    typedef std::conditional_t<sizeof(a[0]) == 8, int64_t, int32_t> Lane;
    typedef Lane Lanes __attribute__((vector_size(sizeof(V))));
    return __builtin_shuffle(a, b, Lanes{I...});
#endif
}

// Where lane i of `halve` comes from: a's lanes are 0 to N - 1, those of b follow.
template <int G, int N>
constexpr int lane_of(int i, bool moved) {
    const bool of_a = i % (2 * G) < G;
    return (of_a ? i : N + i) + (moved ? (of_a ? G : -G) : 0);
}

template <int G, class V, std::size_t... I>
inline V halve(V a, V b, std::index_sequence<I...>) {
    constexpr int N = sizeof...(I);  // one of the two moves nothing: a blend, for which processors have more room
    return shuffled<lane_of<G, N>(I, false)...>(a, b) + shuffled<lane_of<G, N>(I, true)...>(a, b);
}

// Sum each of COUNT vectors, a power of two, over its N lanes: lane i of the result is the sum of v[i]. The order of
// the additions is the same for every lane and COUNT, so a sum does not depend on its place or its company.
template <int N, int COUNT, int G = 1, class V>
inline V sums(V* v) {
    if constexpr (G == N) {
        return v[0];
    } else if constexpr (COUNT > 1) {
        UNROLL
        for (int i = 0; i < COUNT / 2; i++)
            v[i] = halve<G>(v[2 * i], v[2 * i + 1], std::make_index_sequence<N>());
        return sums<N, COUNT / 2, 2 * G>(v);
    } else {
        v[0] = halve<G>(v[0], v[0], std::make_index_sequence<N>());
        return sums<N, 1, 2 * G>(v);
    }
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
