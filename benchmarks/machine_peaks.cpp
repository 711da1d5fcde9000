// What one core can do at most: bytes read from memory and float32 operations a second, with the vectors of the decoder.
#include <algorithm>
#include <chrono>

#include "vectors.h"

typedef Kind<float>::vec Vec;

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

extern "C" {
// Seconds to read `size` bytes once, by so many threads, each from end to end of a part of its own.
double read_seconds(const char* from, int64_t size, int threads) {
    const int64_t part = size / threads / 256 * 256;
    const double start = now();
    uint32_t found = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(| : found)
    for (int t = 0; t < threads; t++) {
        const char* at = from + t * part;
        uvec sums[4] = {};
        for (int64_t i = 0; i < part; i += 4 * VECTOR_BYTES) {
            __builtin_prefetch(at + i + 4096, 0, 2);
            if (VECTOR_BYTES == 64)
                for (int j = 1; j < 4; j++) __builtin_prefetch(at + i + 4096 + 64 * j, 0, 2);
            for (int j = 0; j < 4; j++) sums[j] |= load<uvec>(at + i + j * VECTOR_BYTES);
        }
        for (const uvec& sum : sums)
            for (unsigned i = 0; i < sizeof(sum) / 4; i++) found |= sum[i];
    }
    const double seconds = now() - start;
    return found == 12345 ? 0 : seconds;  // so that what was read counts
}

// Floating-point operations a second of products and sums that stay in registers.
double float_operations(int threads) {
    constexpr int sums = VECTOR_BYTES == 32 ? 12 : 16, rounds = 2000000;
    const double start = now();
    float found = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : found)
    for (int t = 0; t < threads; t++) {
        Vec held[sums], factor = Vec{} + 0.999f, more = Vec{} + 1e-9f;
        for (Vec& sum : held) sum = Vec{} + 1.0f;
        for (int i = 0; i < rounds; i++) {
            UNROLL
            for (int j = 0; j < sums; j++) {
                held[j] = held[j] * factor + more;
#if defined(__AVX512F__)
                asm("" : "+v"(held[j]));
#elif defined(__x86_64__)
                asm("" : "+x"(held[j]));
#endif
            }
        }
        for (const Vec& sum : held) found += sum[0];
    }
    const double seconds = now() - start;
    return found == 12345.0f ? 0 : 2.0 * rounds * sums * Kind<float>::lanes * threads / seconds;
}
}
