// Numbers of jobs that threads take: each from a run of its own, then from the ends of others' runs.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>
#if defined(_OPENMP)
#include <omp.h>
#endif

// Runs of neighbouring jobs, so that a thread reads on where it was, yet none waits for a slower one: where something
// else has a core for a while, the others do its work.
class Shares {
   public:
    Shares(int64_t count, int threads) : runs_(threads) {
        for (int t = 0; t < threads; t++)
            runs_[t].bounds = (count * t / threads) << 32 | count * (t + 1) / threads;
    }

    // The next job of the thread that asks, -1 where none is left.
    int64_t next() {
#if defined(_OPENMP)
        const std::size_t own = std::size_t(omp_get_thread_num()) % runs_.size();
#else
        const std::size_t own = 0;
#endif
        int64_t job = runs_[own].take(true);
        for (std::size_t i = 1; job < 0 && i < runs_.size(); i++) job = runs_[(own + i) % runs_.size()].take(false);
        return job;
    }

   private:
    struct alignas(64) Run {
        std::atomic<int64_t> bounds{0};  // the first job and the end, in 32 bits each

        int64_t take(bool first) {
            int64_t held = bounds.load(std::memory_order_relaxed);
            for (;;) {
                const int64_t start = held >> 32, stop = held & 0xffffffff;
                if (start >= stop) return -1;
                const int64_t rest = first ? (start + 1) << 32 | stop : start << 32 | (stop - 1);
                if (bounds.compare_exchange_weak(held, rest, std::memory_order_relaxed)) return first ? start : stop - 1;
            }
        }
    };
    std::vector<Run> runs_;
};
