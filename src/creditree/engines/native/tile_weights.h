// Weights as tiles of a matrix unit are read: where they lie, or made of codes a little ahead of their use.
#pragma once
#include "products.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__linux__)

constexpr int64_t SIDE = 16, STEP = 32;  // lines of a tile; inputs of a line

// Weight rows that lie `stride` bytes apart.
struct TilesInPlace {
    const bf16* at;
    int64_t stride;

    void prepare(int64_t) {}
    const char* tile(int part, int64_t step) const {
        return reinterpret_cast<const char*>(at + step * STEP) + part * SIDE * stride;
    }
};

#if defined(__AVX512VBMI__) && defined(__AVX512BF16__)

// 64 int8 codes of a weight row as bfloat16.
struct Int8Codes {
    const int8_t* at;
    int64_t size;

    void expand(int64_t row, int64_t block, bf16* first, bf16* second) const {
        bf16 both[2 * STEP];
        as_bf16(at + row * size + block * 2 * STEP, 2 * STEP, both);
        std::memcpy(first, both, STEP * sizeof(bf16));
        std::memcpy(second, both + STEP, STEP * sizeof(bf16));
    }
};

// A block of nf4 codes of a weight row as bfloat16.
struct Nf4Codes {
    const uint8_t* at;
    int64_t size;
    const float* scales;  // [rows, blocks of a row]
    const __m512 values;

    void expand(int64_t row, int64_t block, bf16* first, bf16* second) const {
        const __m512 scaled = _mm512_mul_ps(values, _mm512_set1_ps(scales[row * (size / NF4_BLOCK) + block]));
        const __m512i table = (__m512i)_mm512_cvtne2ps_pbh(scaled, scaled);
        const __m512i codes = _mm512_castsi256_si512(load<__m256i>(at + (row * size + block * NF4_BLOCK) / 2));
        store_part(first, looked_up(codes, table, 0), STEP);
        store_part(second, looked_up(codes, table, STEP / 2), STEP);
    }

   private:
    // Of the bytes `from` to `from + 16`, the value of the high half and the value of the low half, one after the other.
    static __m512i looked_up(__m512i codes, __m512i table, int8_t from) {
        // each byte twice, in words: one is shifted; a look-up heeds the low five bits, and the table is there twice
        const __m512i twice = _mm512_set_epi32(0x0f000f, 0x0e000e, 0x0d000d, 0x0c000c, 0x0b000b, 0x0a000a, 0x090009,
                                               0x080008, 0x070007, 0x060006, 0x050005, 0x040004, 0x030003, 0x020002,
                                               0x010001, 0x000000);
        const __m512i place = _mm512_add_epi16(twice, _mm512_set1_epi16(from));
        const __m512i pairs = _mm512_maskz_permutexvar_epi8(0x5555555555555555, place, codes);
        return _mm512_permutexvar_epi16(_mm512_srlv_epi16(pairs, _mm512_set1_epi32(4)), table);
    }
};

// PARTS * SIDE rows of codes. They are made into bfloat16 in blocks of two steps, LEAD blocks before a tile is read of
// them: then they have arrived in the nearest cache, and the processor makes some while the unit multiplies others.
template <int PARTS, class Codes>
class TilesOfCodes {
   public:
    static constexpr int64_t stride = STEP * sizeof(bf16);

    TilesOfCodes(const Codes& codes, int64_t blocks) : codes_(codes), blocks_(blocks) {
        for (int64_t block = 0; block < std::min(LEAD, blocks); block++) expand(block);
    }

    void prepare(int64_t step) {
        if (step % 2 == 0 && step / 2 + LEAD < blocks_) expand(step / 2 + LEAD);
    }
    const bf16* tile(int part, int64_t step) const {
        return held_ + step % (2 * SLOTS) * LINES * STEP + part * SIDE * STEP;
    }

   private:
    static constexpr int64_t LINES = PARTS * SIDE, SLOTS = 4, LEAD = 2;
    const Codes codes_;
    const int64_t blocks_;
    alignas(64) bf16 held_[2 * SLOTS * LINES * STEP];

    void expand(int64_t block) {
        bf16* to = held_ + block % SLOTS * 2 * LINES * STEP;
        UNROLL
        for (int64_t n = 0; n < LINES; n++) codes_.expand(n, block, to + n * STEP, to + (LINES + n) * STEP);
        asm volatile("" ::: "memory");  // the compiler does not know that tile loads read memory
    }
};
#endif

// Weight rows `first` to `first + have` where they lie, or else a copy, filled up to `lines` with zeros.
inline TilesInPlace readable(const Matrix<bf16>& matrix, int64_t first, int64_t have, int64_t lines, int64_t size) {
    if (matrix.format == PLAIN && have == lines && size % STEP == 0)
        return {matrix.plain() + first * size, size * int64_t(sizeof(bf16))};
    thread_local Buffer<bf16> held;
    const int64_t width = (size + STEP - 1) / STEP * STEP;
    held.resize(lines * width);
    if (have < lines || width > size) std::fill(held.begin(), held.end(), bf16{0});
    for (int64_t n = 0; n < have; n++) matrix.expand((first + n) * size, size, &held[n * width]);
    asm volatile("" ::: "memory");
    return {held.data(), width * int64_t(sizeof(bf16))};
}

// Call `use` with the tiles of PARTS * SIDE weight rows, of which there are `have`.
template <int PARTS, class F>
void with_tiles(const Matrix<bf16>& matrix, int64_t first, int64_t have, int64_t size, F use) {
#if defined(__AVX512VBMI__) && defined(__AVX512BF16__)
    const int64_t blocks = size / NF4_BLOCK, start = first * size;
    const bool whole = have == PARTS * SIDE && size % NF4_BLOCK == 0;
    if (whole && matrix.format == INT8) {
        TilesOfCodes<PARTS, Int8Codes> tiles({matrix.int8() + start, size}, blocks);
        return use(tiles);
    }
    if (whole && matrix.format == NF4) {
        thread_local Buffer<float> scales;
        scales.resize(have * blocks);
        matrix.nf4.read(first * blocks, have * blocks, scales.data());
        const uint8_t* codes = static_cast<const uint8_t*>(matrix.weights) + start / 2;
        TilesOfCodes<PARTS, Nf4Codes> tiles({codes, size, scales.data(), load<__m512>(matrix.nf4.values)}, blocks);
        return use(tiles);
    }
#endif
    TilesInPlace tiles = readable(matrix, first, have, PARTS * SIDE, size);
    use(tiles);
}
#endif
