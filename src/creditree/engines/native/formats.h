// How weights are stored, and a few of them in the type that is computed in.
#pragma once
#include <algorithm>
#include <type_traits>

#include "rows.h"

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
#elif defined(__AVX2__)
        for (; i + 16 <= count; i += 16) look_up(codes + i, to + 2 * i);
#endif
        for (; i < count; i++) to[2 * i].bits = values_[codes[i] >> 4], to[2 * i + 1].bits = values_[codes[i] & 15];
    }

#if defined(__AVX2__)
    // 32 values, as bfloat16 in order or as strips of float32.
    template <class T>
    void look_up(const uint8_t* codes, T* to) const {
        const __m256i all = load<__m256i>(values_), byte = _mm256_set1_epi16(255);
        const __m256i both = _mm256_cvtepu8_epi16(load<__m128i>(codes));
        const __m256i code = _mm256_and_si256(_mm256_or_si256(_mm256_srli_epi16(both, 4), _mm256_slli_epi16(both, 8)),
                                              _mm256_set1_epi8(15));
        const __m256i low = _mm256_shuffle_epi8(in_both_halves(_mm256_and_si256(all, byte)), code);
        const __m256i high = _mm256_shuffle_epi8(in_both_halves(_mm256_srli_epi16(all, 8)), code);
        const __m256i first = _mm256_unpacklo_epi8(low, high), second = _mm256_unpackhi_epi8(low, high);
        put(_mm256_permute2x128_si256(first, second, 0x20), to);  // bytes were put together in each half
        put(_mm256_permute2x128_si256(first, second, 0x31), to + 16);
    }
#endif

   private:
    uint16_t values_[16];
#if defined(__AVX2__)
    static void put(__m256i values, bf16* to) { store_part(to, values, 16); }
    static void put(__m256i values, float* to) {
        for (int s = 0; s < 2; s++) store_part(to + 8 * s, Strip<bf16>::get(reinterpret_cast<const bf16*>(&values), s), 8);
    }

    // The low bytes of 16 words, twice.
    static __m256i in_both_halves(__m256i words) {
        return _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x88);
    }

    // Eight values times a scale as bfloat16, to nearest, ties to even, in 32 bits each.
    static __m256i rounded(const float* values, float scale) {
        const __m256i bits = _mm256_castps_si256(_mm256_mul_ps(load<__m256>(values), _mm256_set1_ps(scale)));
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
    }
#endif
};

#if defined(__AVX512BW__)
// As Nf4Table, of a whole block, as strips of four vectors: codes in words look two values up at once.
class Nf4Strips {
   public:
    static constexpr int vectors = 4;

    Nf4Strips(const Nf4Scales& scales, int64_t block) {
        const uvec bits = (uvec)(load<Vec>(scales.values) * scales.of(block));
        const uvec rounded = bits + 0x7fff + (bits >> 16 & 1);
        table_ = (__m512i)((rounded & 0xffff0000) | rounded >> 16);
    }

    void expand(const uint8_t* codes, bf16* to) const {
        store_part(to, even(words(codes)), 32);
        store_part(to + 32, odd(words(codes)), 32);
    }

    void expand(const uint8_t* codes, float* to) const {
        const uvec evens = (uvec)even(words(codes)), odds = (uvec)odd(words(codes));
        store_part(to, evens << 16, 16);
        store_part(to + 16, evens & 0xffff0000, 16);
        store_part(to + 32, odds << 16, 16);
        store_part(to + 48, odds & 0xffff0000, 16);
    }

   private:
    typedef Kind<float>::vec Vec;
    __m512i table_;

    // A look-up heeds five bits of an index, the lowest of which chooses between two that are the same.
    static __m512i words(const uint8_t* codes) { return _mm512_cvtepu8_epi16(load<__m256i>(codes)); }
    __m512i even(__m512i words) const { return _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 3), table_); }
    __m512i odd(__m512i words) const { return _mm512_permutexvar_epi16(_mm512_slli_epi16(words, 1), table_); }
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

    // How many vectors are widened at once (see Strip), where rows have `size` values.
    int strip(int64_t size) const {
#if defined(__AVX512BW__)
        if (format == NF4 && size % NF4_BLOCK == 0) return Nf4Strips::vectors;
#endif
        return format == PLAIN ? Strip<S>::vectors : format == NF4 ? Strip<bf16>::vectors : 1;
    }

    // Write values [start, start + count) as bfloat16, in order.
    void expand(int64_t start, int64_t count, bf16* to) const {
        if (format == INT8) as_bf16(int8() + start, count, to);
        else if (format == NF4) look_up(start, count, to);
        else if constexpr (std::is_same<S, bf16>::value) std::memcpy(to, plain() + start, count * sizeof(bf16));
    }

    // Write nf4 values [start, start + count) as bfloat16, of which strips are made, with zeros at the end.
    void copy(int64_t start, int64_t count, int strip, bf16* to) const {
        if (in_blocks(start, count, strip, to)) return;
        look_up(start, count, to);
        std::fill(to + count, to + (count + 63) / 64 * 64, bf16{0});
    }

    // Write values [start, start + count) in the type computed in: whole strips, with zeros at the end.
    void widen(int64_t start, int64_t count, int strip, Compute<S>* to) const {
        if (format == PLAIN) return in_strips(plain() + start, count, to);
        if constexpr (std::is_same<Compute<S>, float>::value) {  // the only precision that codes are widened to
            if (format == INT8) return in_strips(int8() + start, count, to);
            if (in_blocks(start, count, strip, to)) return;
            thread_local Buffer<bf16> held;
            held.resize(count);
            look_up(start, count, held.data());
            in_strips(held.data(), count, to);
        }
    }

   private:
    template <class W>
    static void in_strips(const W* from, int64_t count, Compute<W>* to) {
        constexpr int step = Strip<W>::vectors * Kind<W>::lanes;
        for (int64_t k = 0; k < count; k += step)
            for (int s = 0; s < Strip<W>::vectors; s++, to += Kind<W>::lanes)
                store_part(to, k + step <= count ? Strip<W>::get(from + k, s) : Strip<W>::part(from + k, s, int(count - k)),
                           Kind<W>::lanes);
    }

    // Write nf4 values where they are whole blocks of strips; returns whether they are.
    template <class T>
    bool in_blocks(int64_t start, int64_t count, int strip, T* to) const {
        const uint8_t* codes = static_cast<const uint8_t*>(weights) + start / 2;
#if defined(__AVX512BW__)
        if (strip != Nf4Strips::vectors) return false;
        for (int64_t i = 0; i < count; i += NF4_BLOCK) Nf4Strips(nf4, (start + i) / NF4_BLOCK).expand(codes + i / 2, to + i);
        return true;
#elif defined(__AVX2__)
        if (start % NF4_BLOCK || count % NF4_BLOCK) return false;
        for (int64_t i = 0; i < count; i += NF4_BLOCK) {
            const Nf4Table table(nf4, (start + i) / NF4_BLOCK);
            for (int64_t j = i; j < i + NF4_BLOCK; j += 32) table.look_up(codes + j / 2, to + j);
        }
        return true;
#else
        return false;
#endif
    }

    void look_up(int64_t start, int64_t count, bf16* to) const {
        const uint8_t* codes = static_cast<const uint8_t*>(weights);
        for (int64_t done = 0; done < count;) {
            const int64_t at = start + done, block = at / NF4_BLOCK;
            const int64_t here = std::min(count - done, (block + 1) * NF4_BLOCK - at);
            Nf4Table(nf4, block).expand(codes + at / 2, here / 2, to + done);  // rows and blocks have even sizes
            done += here;
        }
    }
};
