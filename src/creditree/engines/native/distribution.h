// The distribution of the next token, and its inverse: a token is a function of its uniform number.
#pragma once
#include <cmath>
#include <limits>

#include "products.h"

struct Sampler {
    double temperature, top_p;
    const uint8_t* ends;  // of each token of the vocabulary, whether it ends a completion
    int64_t width;  // columns of the tables below, one row a completion
    const double* uniform;
    const int64_t* budget;
    int64_t *tokens, *drawn;
    int64_t* slots;  // of the tokens that were forwarded
    double *logprobs, *sampler_logprobs, *entropies;  // entropies may be null
    uint8_t* stopped;
    int64_t count;  // completions: rows of the tables
};

// The distribution after one prefix, with sums over blocks so that an inverse is found without a pass over all.
template <class S>
class Distribution {
   public:
    typedef Compute<S> C;
    typedef typename Kind<C>::vec Vec;
    static constexpr int64_t BLOCK = 256;

    Distribution(const C* logits, int64_t vocab, const Sampler& sampler)
        : logits_(logits), vocab_(vocab), sampler_(sampler), share_(vocab) {
        is_sound_ = are_below_infinity(logits, vocab);
        if (!is_sound_) return;
        top_ = largest(logits, vocab);
        const double t = sampler.temperature;
        if (t != 1) log_sum_ = std::log(fill(1.0));
        if (t > 0) tempered_ = fill(C(1 / t));
        if (t == 1) log_sum_ = std::log(tempered_);
        kept_ = tempered_;
        if (t > 0 && sampler.top_p < 1) cut();
        is_sound_ = std::isfinite(double(top_)) && (t == 0 || (kept_ > 0 && std::isfinite(kept_)));
    }

    // Whether there is a distribution: no logit is NaN or +infinite, and not all are -infinite. Else nothing may be drawn.
    bool is_sound() const { return is_sound_; }

    int64_t draw(double uniform) const {
        if (sampler_.temperature == 0) return std::max_element(logits_, logits_ + vocab_) - logits_;
        const double target = std::min(uniform * blocks_.back(), std::nextafter(blocks_.back(), 0.0));
        const int64_t b = std::upper_bound(blocks_.begin(), blocks_.end(), target) - blocks_.begin();
        double sum = b ? blocks_[b - 1] : 0.0;
        int64_t last = b * BLOCK;
        for (int64_t i = b * BLOCK; i < std::min(vocab_, (b + 1) * BLOCK); i++) {
            if (share_[i] > 0) last = i;
            if ((sum += share_[i]) > target) return i;
        }
        return last;
    }

    double logprob(int64_t token) const { return double(logits_[token]) - top_ - log_sum_; }

    double sampler_logprob(int64_t token) const {
        if (sampler_.temperature == 0) return 0;
        return (double(logits_[token]) - top_) / sampler_.temperature - std::log(kept_);
    }

    double entropy() const {
        double sum = 0;
        for (int64_t i = 0; i < vocab_; i++) sum -= std::exp(logprob(i)) * logprob(i);
        return sum;
    }

   private:
    const C* logits_;
    const int64_t vocab_;
    const Sampler& sampler_;
    Buffer<C> share_;
    std::vector<double> blocks_;
    C top_ = 0;
    bool is_sound_;
    double log_sum_ = 0, tempered_ = 0, kept_ = 0;

    static bool are_below_infinity(const C* x, int64_t size) {
        constexpr C most = std::numeric_limits<C>::max();
        int found = 0;
        for (int64_t i = 0; i < size; i++) found |= !(x[i] <= most);  // of NaN too
        return !found;
    }

    static C largest(const C* x, int64_t size) {
        constexpr int lanes = Kind<C>::lanes;
        C top = x[0];
        int64_t i = 0;
        if (size >= lanes) {
            Vec most = load<Vec>(x);
            for (i = lanes; i + lanes <= size; i += lanes) {
                const Vec other = load<Vec>(x + i);
                most = other > most ? other : most;
            }
            for (int j = 0; j < lanes; j++) top = std::max(top, most[j]);
        }
        for (; i < size; i++) top = std::max(top, x[i]);
        return top;
    }

    // share = e^(scale (logit - max)); blocks_ their running sums. Returns the sum.
    double fill(C scale) {
        constexpr int lanes = Kind<C>::lanes;
        blocks_.clear();
        double sum = 0;
        for (int64_t start = 0; start < vocab_; start += BLOCK) {
            Vec acc = {};
            const int64_t stop = std::min(vocab_, start + BLOCK);
            for (int64_t i = start; i < stop; i += lanes) {
                const int have = int(std::min<int64_t>(lanes, stop - i));
                const bool whole = have == lanes;
                Vec e = exponential(((whole ? load<Vec>(logits_ + i) : load_part<Vec>(logits_ + i, have)) - top_) * scale);
                for (int j = have; j < lanes; j++) e[j] = 0;
                if (whole) store_part(&share_[i], e, lanes);
                else store_part(&share_[i], e, have);
                acc += e;
            }
            blocks_.push_back(sum += total(acc));
        }
        return sum;
    }

    // Keep the smallest set of most likely tokens whose probability reaches top_p.
    void cut() {
        std::vector<int64_t> order(vocab_);
        for (int64_t i = 0; i < vocab_; i++) order[i] = i;
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return share_[a] > share_[b]; });
        double before = 0;
        for (int64_t i : order) {
            const double own = share_[i];
            if (before >= sampler_.top_p * tempered_) share_[i] = 0;
            before += own;
        }
        double sum = 0;
        blocks_.clear();
        for (int64_t i = 0; i < vocab_; i++) {
            sum += share_[i];
            if ((i + 1) % BLOCK == 0 || i + 1 == vocab_) blocks_.push_back(sum);
        }
        kept_ = sum;
    }
};
