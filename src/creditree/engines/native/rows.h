// Rows as products read them: those of a group side by side, each vector of inputs in the order in which weights come.
#pragma once
#include <algorithm>

#include "vectors.h"

// What is made of `vectors` * lanes stored values at once: of one vector, they are in order. Otherwise `apart` says
// which of them come first.
template <class W>
struct Strip {
    typedef typename Kind<W>::vec Vec;
    static constexpr int vectors = 1;
    static Vec get(const W* p, int) { return widened(p); }
    static Vec part(const W* p, int, int count) { return widened_part(p, count); }
};

// Each is widened by one instruction.
template <>
struct Strip<bf16> {
    typedef Kind<float>::vec Vec;
    static constexpr int vectors = 2;
    static Vec get(const bf16* p, int s) {
#if defined(__AVX2__) && !defined(__AVX512F__)  // not by the units that multiply, as a shift is
        const __m256i both = load<__m256i>(p), none = _mm256_setzero_si256();
        return (Vec)(s ? _mm256_unpackhi_epi16(none, both) : _mm256_unpacklo_epi16(none, both));
#else
        const uvec both = load<uvec>(p);
        return s ? (Vec)(both & 0xffff0000) : (Vec)(both << 16);
#endif
    }
    static Vec part(const bf16* p, int s, int count) {
#if defined(__AVX512BW__)
        const __m512i held = _mm512_maskz_loadu_epi16((uint32_t(1) << count) - 1, p);
#else
        bf16 held[VECTOR_BYTES / 2] = {};
        std::memcpy(held, p, count * sizeof(bf16));
#endif
        return get(reinterpret_cast<const bf16*>(&held), s);
    }
};

template <class V, std::size_t... I>
inline V every_second(V a, V b, int first, std::index_sequence<I...>) {
    return first ? shuffled<int(2 * I + 1)...>(a, b) : shuffled<int(2 * I)...>(a, b);
}

// Two vectors in order as a strip of two: every second value, or else what is in the same half of 128 bits.
template <class V>
inline void apart(V& a, V& b) {
    constexpr int lanes = sizeof(V) / sizeof(a[0]);
#if defined(__AVX2__) && !defined(__AVX512F__)
    if constexpr (lanes == 8) {
        const V first = shuffled<0, 1, 2, 3, 8, 9, 10, 11>(a, b);
        b = shuffled<4, 5, 6, 7, 12, 13, 14, 15>(a, b);
        a = first;
        return;
    }
#endif
    const V evens = every_second(a, b, 0, std::make_index_sequence<lanes>());
    b = every_second(a, b, 1, std::make_index_sequence<lanes>());
    a = evens;
}

// Rows [rows, size] in groups of `most` at most, one after the other: a group is [vector of inputs][MOST][lanes], with
// zeros for rows and inputs that are not there. `vectors`: as in Strip, of the weights that they are multiplied with.
template <class C>
class RowGroups {
   public:
    RowGroups(const C* x, int64_t rows, int64_t size, int most, int vectors, Buffer<C>& held)
        : rows(rows), size(size), most(most), vectors(vectors), count((rows + most - 1) / most),
          least_(count ? rows / count : 0), more_(rows - least_ * count),
          group_((size + vectors * lanes - 1) / (vectors * lanes) * vectors * lanes * most) {
        held.resize(count * group_);
        for (int64_t p = 0; p < count; p++)
            for (int m = 0; m < most; m++)
                lay(m < have(p) ? x + (first(p) + m) * size : nullptr, &held[p * group_ + m * lanes]);
        held_ = held.data();
    }

    int64_t first(int64_t p) const { return p * least_ + std::min(p, more_); }
    int have(int64_t p) const { return int(least_ + (p < more_)); }

    // Group p from input k on, the first of a strip.
    const C* at(int64_t p, int64_t k) const { return held_ + p * group_ + k * most; }

    const int64_t rows, size;
    const int most, vectors;
    const int64_t count;

   private:
    typedef typename Kind<C>::vec Vec;
    static constexpr int lanes = Kind<C>::lanes;
    const int64_t least_, more_;  // rows of every group, and how many groups have one more
    const int64_t group_;
    const C* held_;

    void lay(const C* row, C* to) const {
        const int64_t step = vectors * lanes;
        for (int64_t k = 0; k < size; k += step, to += step * most) {
            Vec all[4];
            for (int s = 0; s < vectors; s++) {
                const int64_t have = size - k - s * lanes;
                all[s] = !row || have <= 0 ? Vec{} : have < lanes ? load_part<Vec>(row + k + s * lanes, int(have))
                                                                  : load<Vec>(row + k + s * lanes);
            }
            if (vectors == 2) {
                apart(all[0], all[1]);
            } else if (vectors == 4) {  // evens, then odds, and those of each
                apart(all[0], all[1]), apart(all[2], all[3]);
                std::swap(all[1], all[2]);
                apart(all[0], all[1]), apart(all[2], all[3]);
            }
            for (int s = 0; s < vectors; s++) store_part(to + s * most * lanes, all[s], lanes);
        }
    }
};
