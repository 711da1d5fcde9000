// How weights are stored, and a few of them in the type that is computed in.
#pragma once
#include <algorithm>
#include <type_traits>

#include "vectors.h"

enum Format : int64_t { PLAIN, INT8, NF4 };

constexpr int64_t NF4_BLOCK = 64;         // weights that share one scale
constexpr int64_t NF4_SCALES = 256;       // scales that share one scale of their own

// The scales of an nf4 matrix, and the 16 values of its codes; `scales` null: `sizes` holds the scales themselves.
struct Nf4Scales {
    const float* values;
    const uint8_t* scales;
    const float *scale_values, *sizes;
    float offset;

    float of(int64_t block) const {
        return scales ? std::fma(scale_values[scales[block]], sizes[block / NF4_SCALES], offset) : sizes[block];
    }

    // Write the scales of `count` blocks from `first` on.
    void read(int64_t first, int64_t count, float* to) const {
        int64_t i = 0;
#if defined(__AVX512F__)
        const __m512i next = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        for (; scales && i + 16 <= count; i += 16) {
            const int64_t at = first + i;
            const __m512 values =
                _mm512_i32gather_ps(_mm512_cvtepu8_epi32(load<__m128i>(scales + at)), scale_values, 4);
            const int here = int(std::min<int64_t>(16, NF4_SCALES - at % NF4_SCALES));  // that have the first's size
            const __m512 size =
                _mm512_mask_blend_ps(_mm512_cmplt_epi32_mask(next, _mm512_set1_epi32(here)),
                                     _mm512_set1_ps(sizes[(at + 15) / NF4_SCALES]), _mm512_set1_ps(sizes[at / NF4_SCALES]));
            store_part(to + i, _mm512_fmadd_ps(values, size, _mm512_set1_ps(offset)), 16);
        }
#endif
        for (; i < count; i++) to[i] = of(first + i);
    }
};

// The 16 values of a block's codes, rounded as the learner's matrix is.
class Nf4Table {
   public:
    Nf4Table(const Nf4Scales& scales, int64_t block) {
        const float scale = scales.of(block);
#if defined(__AVX2__)
        const __m256i first = rounded(scales.values, scale), second = rounded(scales.values + 8, scale);
        const __m256i all = _mm256_permute4x64_epi64(_mm256_packus_epi32(first, second), 0xd8);
        store_part(values_, all, 16);
#else
        for (int i = 0; i < 16; i++) {
            bf16 value;
            narrow(scales.values[i] * scale, value);
            values_[i] = value.bits;
        }
#endif
    }

    // The values of `count` pairs of codes, the first of a pair in the high half of its byte.
    void expand(const uint8_t* codes, int64_t count, bf16* to) const {
        int64_t i = 0;
#if defined(__AVX512BW__)
        const __m512i values = _mm512_castsi256_si512(load<__m256i>(values_)), second = _mm512_set1_epi32(0xf0000);
        for (; i + 16 <= count; i += 16) {
            const __m512i both = _mm512_cvtepu8_epi32(load<__m128i>(codes + i));
            const __m512i code =
                _mm512_or_si512(_mm512_srli_epi32(both, 4), _mm512_and_si512(_mm512_slli_epi32(both, 16), second));
            store_part(to + 2 * i, _mm512_permutexvar_epi16(code, values), 32);
        }
#endif
        for (; i < count; i++) to[2 * i].bits = values_[codes[i] >> 4], to[2 * i + 1].bits = values_[codes[i] & 15];
    }

   private:
    uint16_t values_[16];
#if defined(__AVX2__)
    // Eight values times a scale as bfloat16, to nearest, ties to even, in 32 bits each.
    static __m256i rounded(const float* values, float scale) {
        const __m256i bits = _mm256_castps_si256(_mm256_mul_ps(load<__m256>(values), _mm256_set1_ps(scale)));
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
    }
#endif
};

#if defined(__AVX2__)
// As Nf4Table, but in float32, as sums are computed without a matrix unit: values stay in registers.
class Nf4Floats {
   public:
    Nf4Floats(const Nf4Scales& scales, int64_t block) {
        const Vec scale = Vec{} + scales.of(block);
        UNROLL
        for (int i = 0; i < COUNT; i++) {
            const uvec bits = (uvec)(load<Vec>(scales.values + i * lanes) * scale);
            values_[i] = (Vec)((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
        }
    }

    void expand(const uint8_t* codes, int64_t count, float* to) const {
        int64_t i = 0;
        for (; i + lanes / 2 <= count; i += lanes / 2) store_part(to + 2 * i, looked_up(codes + i), lanes);
        if (i == count) return;
        float values[16];
        std::memcpy(values, values_, sizeof(values));
        for (; i < count; i++) to[2 * i] = values[codes[i] >> 4], to[2 * i + 1] = values[codes[i] & 15];
    }

   private:
    typedef Kind<float>::vec Vec;
    static constexpr int lanes = Kind<float>::lanes, COUNT = 16 / lanes;
    Vec values_[COUNT];

    // Every lane gets the four bytes that its code is one half of, and moves it to its low bits, which a look-up heeds.
#if defined(__AVX512F__)
    Vec looked_up(const uint8_t* codes) const {
        const __m512i bytes = _mm512_mask_set1_epi32(_mm512_set1_epi32(load<int32_t>(codes)), 0xff00,
                                                     load<int32_t>(codes + 4));
        const __m512i shift = _mm512_set_epi32(24, 28, 16, 20, 8, 12, 0, 4, 24, 28, 16, 20, 8, 12, 0, 4);
        return (Vec)_mm512_permutexvar_ps(_mm512_srlv_epi32(bytes, shift), (__m512)values_[0]);
    }
#else
    Vec looked_up(const uint8_t* codes) const {
        const __m256i shift = _mm256_set_epi32(24, 28, 16, 20, 8, 12, 0, 4);
        const __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32(load<int32_t>(codes)), shift);
        const __m256 low = _mm256_permutevar8x32_ps((__m256)values_[0], code);
        const __m256 high = _mm256_permutevar8x32_ps((__m256)values_[1], code);
        return (Vec)_mm256_blendv_ps(low, high, (__m256)_mm256_slli_epi32(code, 28));
    }
#endif
};
#endif

// Codes from -127 to 127 as bfloat16, which holds them exactly.
inline void as_bf16(const int8_t* codes, int64_t count, bf16* to) {
    int64_t i = 0;
#if defined(__AVX512VBMI__)
    // low and high bytes of 0 to 127, looked up 64 at a time; negative numbers differ in the sign alone
    alignas(64) static const struct Bytes {
        uint8_t low[128], high[128];
        Bytes() {
            for (int j = 0; j < 128; j++) {
                bf16 value;
                narrow(float(j), value);
                low[j] = uint8_t(value.bits), high[j] = uint8_t(value.bits >> 8);
            }
        }
    } bytes;
    const __m512i low0 = load<__m512i>(bytes.low), low1 = load<__m512i>(bytes.low + 64);
    const __m512i high0 = load<__m512i>(bytes.high), high1 = load<__m512i>(bytes.high + 64);
    const __m512i sign = _mm512_set1_epi8(char(128)), order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    for (; i + 64 <= count; i += 64) {
        // so that the halves of an unpack, each of its own 128 bits, come out in order
        const __m512i code = _mm512_permutexvar_epi64(order, load<__m512i>(codes + i)), size = _mm512_abs_epi8(code);
        const __m512i low = _mm512_permutex2var_epi8(low0, size, low1);
        const __m512i high = _mm512_or_si512(_mm512_permutex2var_epi8(high0, size, high1), _mm512_and_si512(code, sign));
        const __m512i found[2] = {_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)};
        std::memcpy(to + i, found, sizeof(found));
    }
#endif
    for (; i < count; i++) narrow(float(codes[i]), to[i]);
}

// A matrix [outputs, inputs]; `scale`, of int8 codes: what sums of each output are multiplied by.
template <class S>
struct Matrix {
    Format format = PLAIN;
    const void* weights = nullptr;
    const S* bias = nullptr;
    int64_t outputs = 0;
    const float* scale = nullptr;
    Nf4Scales nf4{};

    const S* plain() const { return static_cast<const S*>(weights); }
    const int8_t* int8() const { return static_cast<const int8_t*>(weights); }
    int64_t bits() const { return format == PLAIN ? 8 * sizeof(S) : format == INT8 ? 8 : 4; }
    const char* address(int64_t value) const { return static_cast<const char*>(weights) + value * bits() / 8; }

    // Write values [start, start + count) of the matrix, row by row, to `to`: of the type computed in, or bfloat16.
    template <class T>
    void expand(int64_t start, int64_t count, T* to) const {
        if (format == PLAIN) convert(plain() + start, count, to);
        if (format == INT8) convert(int8() + start, count, to);
        if (format == NF4) expand_nf4(start, count, to);
    }

   private:
    template <class W, class T>
    static void convert(const W* from, int64_t count, T* to) {
        if constexpr (std::is_same<W, T>::value) {
            std::memcpy(to, from, count * sizeof(T));
        } else if constexpr (std::is_same<W, int8_t>::value && std::is_same<T, bf16>::value) {
            as_bf16(from, count, to);
        } else if constexpr (std::is_same<T, Compute<W>>::value) {
            constexpr int lanes = Kind<W>::lanes;
            int64_t i = 0;
            for (; i + lanes <= count; i += lanes) store_part(to + i, widened(from + i), lanes);
            for (; i < count; i++) to[i] = T(widen(from[i]));
        } else {
            for (int64_t i = 0; i < count; i++) narrow(widen(from[i]), to[i]);
        }
    }

    template <class T>
    void expand_nf4(int64_t start, int64_t count, T* to) const {
        const uint8_t* codes = static_cast<const uint8_t*>(weights);
        for (int64_t done = 0; done < count;) {
            const int64_t at = start + done, block = at / NF4_BLOCK;
            const int64_t here = std::min(count - done, (block + 1) * NF4_BLOCK - at);
            // rows and blocks have even sizes
            if constexpr (std::is_same<T, bf16>::value) {
                Nf4Table(nf4, block).expand(codes + at / 2, here / 2, to + done);
            } else {
#if defined(__AVX2__)
                if constexpr (std::is_same<T, float>::value) {
                    Nf4Floats(nf4, block).expand(codes + at / 2, here / 2, to + done);
                    done += here;
                    continue;
                }
#endif
                bf16 values[NF4_BLOCK];
                Nf4Table(nf4, block).expand(codes + at / 2, here / 2, values);
                convert(values, here, to + done);
            }
            done += here;
        }
    }
};
