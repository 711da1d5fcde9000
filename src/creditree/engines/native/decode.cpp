// What Python calls: arrays of addresses in, counts out.
#include <cstring>
#include <new>

#include "rollout.h"

template <class T>
static T* pointer(int64_t address) {
    return reinterpret_cast<T*>(address);
}

template <class S>
static Store<S> cells_of(const int64_t* cells, int64_t layers) {
    Store<S> store;
    store.used = *cells++, store.capacity = *cells++;
    store.hidden = pointer<S>(*cells++), store.trunk = pointer<S>(*cells++);
    store.first_child = pointer<int32_t>(*cells++), store.next_sibling = pointer<int32_t>(*cells++);
    store.token = pointer<int32_t>(*cells++), store.decoded = pointer<uint8_t>(*cells++);
    for (int64_t i = 0; i < layers; i++) store.kv.push_back(pointer<S>(*cells++));
    return store;
}

template <class S>
static Sampling<S>* make(const int64_t* sizes, const double* numbers, const int64_t* at, const double* scales,
                 const int64_t* cells) {
    typedef Compute<S> C;
    Weights<S> w;
    std::memcpy(&w.size, sizes, sizeof(Sizes));
    w.eps = C(numbers[0]), w.scaling = C(numbers[1]);
    w.embed = pointer<S>(*at++), w.final_norm = pointer<S>(*at++);
    w.head.weights = pointer<S>(*at++), w.head.bias = pointer<S>(*at++), w.head.outputs = w.size.vocab;
    w.cos = pointer<C>(*at++), w.sin = pointer<C>(*at++);
    for (int64_t i = 0; i < w.size.layers; i++) {
        Layer<S> layer;
        layer.input_norm = pointer<S>(*at++), layer.post_norm = pointer<S>(*at++);
        layer.q_norm = pointer<S>(*at++), layer.k_norm = pointer<S>(*at++);
        for (Linear<S>& l : layer.linear) {
            l.base.format = Format(*at++), l.base.outputs = *at++;
            l.base.weights = pointer<void>(*at++), l.base.bias = pointer<S>(*at++), l.base.scale = pointer<float>(*at++);
            l.base.nf4 = {pointer<float>(at[0]), pointer<uint8_t>(at[1]), pointer<float>(at[2]), pointer<float>(at[3]),
                          float(*scales++)};
            at += 4;
            l.lora_a.weights = pointer<C>(*at++), l.lora_b.weights = pointer<C>(*at++);
            l.lora_a.outputs = *at++, l.lora_b.outputs = l.base.outputs, l.lora_scale = C(*scales++);
        }
        w.layers.push_back(layer);
    }
    return new Sampling<S>(std::move(w), cells_of<S>(cells, w.size.layers));
}

#if KIND == 0
typedef Sampling<float> Made;
typedef float Value;
#elif KIND == 1
typedef Sampling<double> Made;
typedef double Value;
#else
typedef Sampling<bf16> Made;
typedef bf16 Value;
#endif

// What a call throws for want of memory must not reach Python's frames: that would end the process.
template <class Call>
static int64_t guarded(Call call) {
    try {
        return call();
    } catch (const std::bad_alloc&) {
        return OUT_OF_MEMORY;
    }
}

extern "C" {
// The arrays hold addresses of the caller's tensors, in the order in which `make` and `cells_of` read them.
void* creditree_new(const int64_t* sizes, const double* numbers, const int64_t* weights, const double* scales,
                    const int64_t* cells) {
    try {
        return make<Value>(sizes, numbers, weights, scales, cells);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void creditree_free(void* it) { delete static_cast<Made*>(it); }

// The store has moved to larger arrays.
void creditree_cells(void* it, const int64_t* cells) {
    Made* made = static_cast<Made*>(it);
    made->move(cells_of<Value>(cells, made->layers()));
}

// Calls that return int64_t check what they were given, and return a `Status` below zero where it is wrong.
int64_t creditree_forward(void* it, const int32_t* paths, int64_t size, const int64_t* starts, const int64_t* lengths,
                          int64_t n) {
    return guarded([&] { return static_cast<Made*>(it)->forward(paths, size, starts, lengths, n); });
}

int64_t creditree_begin(void* it, const double* temperature_top_p, const int64_t* fields, int64_t rows,
                     const int32_t* paths, const int64_t* lengths, int64_t stride, int64_t members,
                     const int64_t* which, const int64_t* row) {
    const Sampler sampler{temperature_top_p[0],        temperature_top_p[1],       pointer<uint8_t>(fields[0]),
                          fields[1],                   pointer<double>(fields[2]), pointer<int64_t>(fields[3]),
                          pointer<int64_t>(fields[4]), pointer<int64_t>(fields[5]), pointer<int64_t>(fields[6]),
                          pointer<double>(fields[7]),  pointer<double>(fields[8]),  pointer<double>(fields[9]),
                          pointer<uint8_t>(fields[10]), fields[11]};
    return guarded(
        [&] { return static_cast<Made*>(it)->begin(sampler, rows, paths, lengths, stride, members, which, row); });
}

// After creditree_begin: sum attention too.
int64_t creditree_watch(void* it, const int64_t* fields) {
    return static_cast<Made*>(it)->watch({fields[0], fields[1], fields[2], pointer<uint8_t>(fields[3]),
                                   pointer<uint8_t>(fields[4]), pointer<uint8_t>(fields[5]),
                                   pointer<uint8_t>(fields[6]), pointer<int64_t>(fields[7]),
                                   pointer<double>(fields[8]), pointer<uint8_t>(fields[9])});
}

// Returns how many completions go on, or NOT_FINITE; done: rows decoded so far, slots in use, rows forwarded to be looked at alone.
int64_t creditree_run(void* it, double seconds, int64_t* done) {
    Made* made = static_cast<Made*>(it);
    const int64_t left = guarded([&] { return made->run(seconds); });
    done[0] = made->decoded, done[1] = made->used(), done[2] = made->observed;
    return left;
}
}
