// Influence of the steps of a row's prefix, from its attention rows as they are decoded (arXiv 2509.26628, eq. 5 and 6).
#pragma once
#include <algorithm>
#include <vector>

#include "products.h"

// What to look for, and where it goes; decoder.py mirrors this list of fields. Tables have a row for each completion.
struct Watched {
    int64_t delta, num_layers, num_heads;
    const uint8_t *ends, *layers, *heads;  // which tokens end a step; which layers and heads the maximum is over
    const uint8_t* observed;               // of each completion
    const int64_t* prompt;                 // of each completion, in tokens
    double* influence;                     // of each token's step
    uint8_t* scored;
};

// Step 0 is the prompt. Steps end with separators; the last one is under way, and may not have begun.
template <class C>
class StepSums {
   public:
    typedef typename Kind<C>::vec Vec;
    static constexpr int lanes = Kind<C>::lanes;

    StepSums(const Watched& watched, int64_t prompt) : w_(&watched), starts_{0, int(prompt)} {}

    int64_t prompt() const { return starts_[1]; }
    // Whether the attention of the step under way counts for any step.
    bool counts() const { return under_way() >= w_->delta; }
    // Whether any step has ended: else the completion may have other steps.
    bool separated() const { return starts_.size() > 2; }

    // Add an attention row: shares of the keys that count, to be multiplied by `norm`. Heads may be added together.
    void add(int64_t layer, int64_t head, const C* share, C norm) {
        if (!w_->layers[layer] || !w_->heads[head]) return;
        for (int64_t s = 0; s < reached(); s++) now_[place(s, layer, head)] += norm * sum(share + starts_[s], size(s));
    }

    // The row about to be added has `length` keys.
    void expect(int64_t length) {
        length_ = length;
        now_.resize(reached() * w_->num_layers * w_->num_heads);
    }

    // The path has `length` tokens now, the last of which ends a step.
    void close(int64_t length) {
        total_.resize(std::max(total_.size(), now_.size()));
        const C mean = C(1) / C(std::max<int64_t>(1, length - starts_.back()));
        for (size_t i = 0; i < now_.size(); i++) total_[i] += now_[i] * mean;
        std::fill(now_.begin(), now_.end(), C(0));
        starts_.push_back(int32_t(length));
    }

    // Write the influence of the steps of the last `drawn` of `length` tokens.
    void score(int64_t length, int64_t drawn, double* influence) const {
        const int64_t each = w_->num_layers * w_->num_heads;
        const C mean = C(1) / C(std::max<int64_t>(1, length - starts_.back()));
        for (int64_t s = 0; s < int64_t(starts_.size()); s++) {
            const int64_t start = starts_[s], stop = s + 1 < int64_t(starts_.size()) ? starts_[s + 1] : length;
            C top = 0;
            for (int64_t i = s * each; i < (s + 1) * each; i++) {
                const C before = i < int64_t(total_.size()) ? total_[i] : C(0);
                top = std::max(top, before + (i < int64_t(now_.size()) ? now_[i] * mean : C(0)));
            }
            const double found = double(top) / double(std::max<int64_t>(1, stop - start));
            for (int64_t t = std::max(start, length - drawn); t < stop; t++) influence[t - length + drawn] = found;
        }
    }

   private:
    const Watched* w_;
    std::vector<int32_t> starts_;  // first token of each step
    int64_t length_ = 0;
    std::vector<C> now_, total_;  // [step, layer, head]: of the step under way, and means of those before it

    int64_t under_way() const { return int64_t(starts_.size()) - 1; }
    int64_t reached() const { return std::max<int64_t>(0, under_way() - w_->delta + 1); }
    int64_t place(int64_t s, int64_t layer, int64_t head) const {
        return (s * w_->num_layers + layer) * w_->num_heads + head;
    }
    // The step under way has no end yet: with delta 0 it counts up to the row's own token.
    int64_t size(int64_t s) const { return (s < under_way() ? starts_[s + 1] : length_) - starts_[s]; }

    static C sum(const C* x, int64_t size) {
        Vec acc = {};
        int64_t t = 0;
        for (; t + lanes <= size; t += lanes) acc += load<Vec>(x + t);
        if (t < size) acc += load_part<Vec>(x + t, int(size - t));
        return C(total(acc));
    }
};
