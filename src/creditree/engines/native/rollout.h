// Sample completions to their ends in one call: draw, split rows whose tokens differ, forward each new prefix once.
#pragma once
#include <atomic>
#include <chrono>
#include <memory>

#include "distribution.h"
#include "model.h"

template <class S>
class Sampling {
   public:
    Sampling(Weights<S> weights, Store<S> store) : decoder_(std::move(weights), std::move(store)) {}

    typedef Compute<S> C;

    int64_t decoded = 0, observed = 0;  // observed: rows forwarded for their attention alone
    int64_t used() const { return decoder_.store.used; }
    int64_t layers() const { return decoder_.w.size.layers; }
    void move(Store<S> store) { decoder_.store = std::move(store); }

    // `paths` are `size` slots in all.
    int64_t forward(const int32_t* paths, int64_t size, const int64_t* starts, const int64_t* lengths, int64_t n) {
        if (!are_held(paths, size)) return OUT_OF_BOUNDS;
        std::vector<Row<C>> rows;
        for (int64_t i = 0; i < n; i++) {
            const bool fits = starts[i] >= 0 && lengths[i] > 0 && lengths[i] <= size - starts[i];
            if (!fits || lengths[i] > decoder_.w.size.positions) return OUT_OF_BOUNDS;
            rows.push_back({paths + starts[i], lengths[i], nullptr});
        }
        decoder_.forward(rows);
        return DONE;
    }

    // What is read later without a look lies within its tables from here on: tokens that are drawn do by themselves.
    int64_t begin(const Sampler& sampler, int64_t rows, const int32_t* paths, const int64_t* lengths, int64_t stride,
                  int64_t members, const int64_t* which, const int64_t* row) {
        for (int64_t i = 0; i < rows; i++)
            if (lengths[i] < 1 || lengths[i] > stride || !are_held(paths + i * stride, lengths[i])) return OUT_OF_BOUNDS;
        for (int64_t i = 0; i < members; i++) {
            if (which[i] < 0 || which[i] >= sampler.count || row[i] < 0 || row[i] >= rows) return OUT_OF_BOUNDS;
            const int64_t drawn = sampler.drawn[which[i]], budget = sampler.budget[which[i]];
            if (drawn < 0 || drawn >= sampler.width || budget > sampler.width) return OUT_OF_BOUNDS;
            if (lengths[row[i]] + budget - drawn > decoder_.w.size.positions) return OUT_OF_BOUNDS;
        }
        sampler_ = sampler, decoded = observed = 0, lost_ = false;
        paths_.clear(), members_.clear(), sums_.clear();
        for (int64_t i = 0; i < rows; i++) paths_.emplace_back(paths + i * stride, paths + i * stride + lengths[i]);
        for (int64_t i = 0; i < members; i++) members_.push_back({which[i], row[i]});
        return DONE;
    }

    // Sum the attention of the rows of observed completions, from here to their ends.
    int64_t watch(const Watched& watched) {
        const Sizes& z = decoder_.w.size;
        if (watched.num_layers != z.layers || watched.num_heads != z.heads || watched.delta < 0) return OUT_OF_BOUNDS;
        for (const Member& m : members_) {
            const int64_t prompt = watched.prompt[m.which];
            if (prompt < 0 || prompt > int64_t(paths_[m.row].size())) return OUT_OF_BOUNDS;
        }
        watched_ = watched;
        sums_.resize(paths_.size());
        for (const Member& m : members_)
            if (watched_.observed[m.which] && !sums_[m.row]) sums_[m.row] = sums_of(paths_[m.row], watched_.prompt[m.which]);
        return DONE;
    }

    // Go on for about so many seconds, or until the store may be full; returns how many completions are still being sampled,
    // or NOT_FINITE where logits gave no distribution: then nothing was drawn from them.
    int64_t run(double seconds) {
        const auto start = std::chrono::steady_clock::now();
        while (!members_.empty()) {
            if (decoder_.store.used + int64_t(members_.size()) > decoder_.store.capacity) break;
            draw();
            if (lost_) return NOT_FINITE;
            advance();
            if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds) break;
        }
        return int64_t(members_.size());
    }

   private:
    struct Member {
        int64_t which, row;
    };
    static constexpr int64_t AT_ONCE = 64;  // rows whose logits are held together
    Decoder<S> decoder_;
    Sampler sampler_{};
    std::vector<std::vector<int32_t>> paths_;  // of each row, the slots of its prefix
    std::vector<Member> members_;              // ascending by row
    Watched watched_{};
    std::vector<std::shared_ptr<StepSums<C>>> sums_;  // of each row, null where nobody looks; empty: nobody at all
    std::vector<int32_t> drawn_;
    Buffer<Compute<S>> logits_;
    std::atomic<bool> lost_{false};

    bool are_held(const int32_t* path, int64_t size) const {
        const Sizes& z = decoder_.w.size;
        const int64_t tokens = std::min(z.embeddings, z.vocab);
        for (int64_t i = 0; i < size; i++)
            if (!decoder_.store.holds(path[i], tokens)) return false;
        return true;
    }

    void draw() {
        drawn_.resize(members_.size());
        size_t done = 0;
        for (int64_t start = 0; start < int64_t(paths_.size()); start += AT_ONCE) {
            const int64_t stop = std::min<int64_t>(paths_.size(), start + AT_ONCE);
            std::vector<int64_t> slots;
            for (int64_t i = start; i < stop; i++) slots.push_back(paths_[i].back());
            decoder_.logits(slots, logits_);
            std::vector<size_t> first;  // of each row's members
            for (int64_t i = start; i < stop; i++) {
                first.push_back(done);
                while (done < members_.size() && members_[done].row == i) done++;
            }
            first.push_back(done);
            const int threads = int(decoder_.w.size.threads);
#pragma omp parallel for num_threads(threads) if (threads > 1 && logits_.size() > (WORTH_SHARING >> 6)) schedule(dynamic)
            for (int64_t i = start; i < stop; i++) draw_row(i - start, first[i - start], first[i - start + 1]);
        }
    }

    void draw_row(int64_t place, size_t first, size_t stop) {
        const int64_t vocab = decoder_.w.size.vocab;
        const Distribution<S> found(&logits_[place * vocab], vocab, sampler_);
        if (!found.is_sound()) {
            lost_ = true;
            return;
        }
        const double entropy = sampler_.entropies ? found.entropy() : 0;
        for (size_t m = first; m < stop; m++) {
            const int64_t which = members_[m].which, step = sampler_.drawn[which]++;
            const int64_t at = which * sampler_.width + step, token = found.draw(sampler_.uniform[at]);
            drawn_[m] = int32_t(token);
            sampler_.tokens[at] = token;
            sampler_.logprobs[at] = found.logprob(token);
            sampler_.sampler_logprobs[at] = found.sampler_logprob(token);
            if (sampler_.entropies) sampler_.entropies[at] = entropy;
            sampler_.stopped[which] = sampler_.ends[token];
        }
    }

    bool ended(int64_t which) const {
        return sampler_.stopped[which] || sampler_.drawn[which] >= sampler_.budget[which];
    }

    // The sums of a context, whose own rows nobody saw: null where they count.
    std::shared_ptr<StepSums<C>> sums_of(const std::vector<int32_t>& path, int64_t prompt) const {
        auto sums = std::make_shared<StepSums<C>>(watched_, prompt);
        for (int64_t t = prompt; t < int64_t(path.size()); t++) {
            if (sums->counts()) return nullptr;
            if (watched_.ends[decoder_.store.token[path[t]]]) sums->close(t + 1);
        }
        return watched_.delta > 0 ? sums : nullptr;
    }

    // Whether the attention of the token that was drawn last counts too: nothing else would have it forwarded.
    bool wants_last(const Member& m) const {
        return !sums_.empty() && sums_[m.row] && watched_.observed[m.which] && sums_[m.row]->counts() &&
               sums_[m.row]->prompt() == watched_.prompt[m.which];
    }

    // Move the completions that go on to the rows of their new prefixes, and forward those not decoded yet.
    void advance() {
        std::vector<std::vector<int32_t>> paths;
        std::vector<std::shared_ptr<StepSums<C>>> sums;
        std::vector<Member> going;
        std::vector<uint8_t> goes;  // of each new row, whether a completion goes on there
        for (size_t m = 0; m < members_.size();) {
            const int64_t row = members_[m].row;
            const size_t first_new = paths.size(), first_going = going.size();
            for (; m < members_.size() && members_[m].row == row; m++) {
                const int64_t which = members_[m].which;
                const bool over = ended(which);
                if (over && !wants_last(members_[m])) continue;
                const int32_t slot = int32_t(decoder_.store.child(paths_[row].back(), drawn_[m]));
                sampler_.slots[which * sampler_.width + sampler_.drawn[which] - 1] = slot;
                size_t place = first_new;
                while (place < paths.size() && paths[place].back() != slot) place++;
                if (place == paths.size()) {
                    paths.push_back(paths_[row]);
                    paths.back().push_back(slot);
                    goes.push_back(false);
                    if (!sums_.empty()) sums.push_back(sums_[row]);
                }
                if (!over) goes[place] = true;
                going.push_back({which, int64_t(place)});
            }
            std::stable_sort(going.begin() + first_going, going.end(),
                             [](const Member& a, const Member& b) { return a.row < b.row; });
        }
        paths_.swap(paths), members_.swap(going), sums_.swap(sums);
        sums.clear();  // what is held by one row only need not be copied
        std::vector<Row<C>> rows;
        for (size_t i = 0; i < paths_.size(); i++) {
            const bool stored = decoder_.store.decoded[paths_[i].back()];
            StepSums<C>* watching = sums_.empty() ? nullptr : seen(i, stored);
            if (stored) continue;
            (goes[i] ? decoded : observed)++;
            rows.push_back({paths_[i].data(), int64_t(paths_[i].size()), watching});
        }
        if (!rows.empty()) decoder_.forward(rows);
        if (!sums_.empty()) look(goes);
    }

    // Return what a row's attention is added to, if it counts. A row that counts, but is stored, is not seen.
    StepSums<C>* seen(size_t i, bool stored) {
        std::shared_ptr<StepSums<C>>& sums = sums_[i];
        if (sums && stored && sums->counts()) sums.reset();
        if (!sums) return nullptr;
        if (sums.use_count() > 1) sums = std::make_shared<StepSums<C>>(*sums);
        if (!sums->counts()) return nullptr;
        sums->expect(int64_t(paths_[i].size()));
        return sums.get();
    }

    // End the steps that end here, score the completions that ended, and drop them and their rows.
    void look(const std::vector<uint8_t>& goes) {
        for (size_t i = 0; i < paths_.size(); i++)
            if (sums_[i] && watched_.ends[decoder_.store.token[paths_[i].back()]]) sums_[i]->close(paths_[i].size());
        std::vector<int64_t> place(paths_.size());
        int64_t kept = 0;
        for (size_t i = 0; i < paths_.size(); i++) place[i] = goes[i] ? kept++ : -1;
        std::vector<Member> going;
        for (const Member& m : members_) {
            if (!ended(m.which)) {
                going.push_back({m.which, place[m.row]});
            } else if (sums_[m.row] && sums_[m.row]->separated()) {
                const int64_t length = paths_[m.row].size(), drawn = sampler_.drawn[m.which];
                sums_[m.row]->score(length, drawn, watched_.influence + m.which * sampler_.width);
                watched_.scored[m.which] = true;
            }
        }
        for (size_t i = 0; i < paths_.size(); i++)
            if (goes[i] && size_t(place[i]) != i) paths_[place[i]].swap(paths_[i]), sums_[place[i]].swap(sums_[i]);
        paths_.resize(kept), sums_.resize(kept), members_.swap(going);
    }
};
