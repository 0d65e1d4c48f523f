// A training step's work on a hypernetwork's output layer V (rows x columns): hidden units and the
// bias by weights of a chunk. V and Adam's moments are larger than the cache, so that a step takes
// as long as memory needs to deliver them, and every further pass as long again. Here one block of
// columns after the other goes through all parts of the step: what one part writes, the next one
// finds in the cache. With A the features of the current task (chunks x rows), W the task loss's
// gradient for its weights (chunks x columns), K the value of V at the start of the task and X the
// regularizer's factors (rows x 2 rows), the parts are, for each block:
//   1. the task loss's gradient               G = A' W
//   2. the change at the candidate            E = V + (Adam's step on G) - K
//   3. products of the change, over columns   K E' and E E'
//   4. plus the regularizer's gradient        G += X [K; E]
//   5. Adam's step on G
// X comes from the hidden layers alone, so that 4 need not wait for the sums of 3 over all blocks.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t kBlock = 512;           // columns at once
constexpr int64_t kStride = kBlock + 16;  // so that rows do not all need the same cache lines
typedef float Wide __attribute__((vector_size(64)));

struct alignas(64) Line {  // of the cache: rows that start on one are read twice as fast
  float lane[16];
};

using Rows = std::vector<const float*>;

template <typename V>
inline V load(const float* from) {  // from any address
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}

template <typename V>
inline void add_to(float* to, V value) {  // a copy, so that no sum needs an address
  value += load<V>(to);
  std::memcpy(to, &value, sizeof(V));
}

// out[r][c] += sum_k a[r][k] rows[k][c], for R rows of out and N vectors of columns from c on.
// All R x N sums stay in registers; a value of a and N of rows are loaded for each k.
template <typename V, int R, int N>
inline void tile(const float* a, const Rows& rows, float* out, int64_t c) {
  constexpr int64_t lanes = sizeof(V) / sizeof(float);
  V sums[R][N] = {};
  const int64_t inner = rows.size();
  for (int64_t k = 0; k < inner; ++k) {
    V b[N];
    for (int n = 0; n < N; ++n) b[n] = load<V>(rows[k] + c + n * lanes);
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) sums[r][n] += a[r * inner + k] * b[n];
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) add_to(out + r * kStride + c + n * lanes, sums[r][n]);
}

// The same for n rows of out, one group of up to 6 after the other: these columns of `rows` stay in
// the fastest cache meanwhile. 6 x 4 sums and what they need fit AVX-512's 32 registers.
template <typename V, int N>
inline void some_columns(const float* a, int64_t n, const Rows& rows, float* out, int64_t c) {
  const int64_t inner = rows.size(), groups = (n + 5) / 6;
  for (int64_t g = 0; g < groups; ++g) {  // groups as equal in size as possible
    const int64_t from = g * n / groups, count = (g + 1) * n / groups - from;
    const float* part = a + from * inner;
    float* to = out + from * kStride;
    switch (count) {
      case 1: tile<V, 1, N>(part, rows, to, c); break;
      case 2: tile<V, 2, N>(part, rows, to, c); break;
      case 3: tile<V, 3, N>(part, rows, to, c); break;
      case 4: tile<V, 4, N>(part, rows, to, c); break;
      case 5: tile<V, 5, N>(part, rows, to, c); break;
      default: tile<V, 6, N>(part, rows, to, c);
    }
  }
}

// out (n, width) += a (n, inner) times rows (inner, width).
void multiply_add(const float* a, int64_t n, const Rows& rows, float* out, int64_t width) {
  int64_t c = 0;
  for (; c + 64 <= width; c += 64) some_columns<Wide, 4>(a, n, rows, out, c);
  for (; c + 16 <= width; c += 16) some_columns<Wide, 1>(a, n, rows, out, c);
  for (; c < width; ++c) some_columns<float, 1>(a, n, rows, out, c);
}

inline float sum(const Wide& wide) {  // by halves: lane by lane would take as long as a tile
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  Half half[2];
  std::memcpy(half, &wide, sizeof(wide));
  half[0] += half[1];
  Quarter part[2];
  std::memcpy(part, half, sizeof(half[0]));
  part[0] += part[1];
  return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

// sums[i][j] += <left_i, right_j> for 4 x 4 rows.
inline void inner_products(const float* const left[4], const float* const right[4], int64_t width,
                           float sums[4][4]) {
  Wide wide[4][4] = {};
  int64_t c = 0;
  for (; c + 16 <= width; c += 16)
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j)
        wide[i][j] += load<Wide>(left[i] + c) * load<Wide>(right[j] + c);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      sums[i][j] = sum(wide[i][j]);
      for (int64_t rest = c; rest < width; ++rest) sums[i][j] += left[i][rest] * right[j][rest];
    }
}

// gram (rows, size) += all (rows, width) times the last `size` of them. The products among these
// last rows are symmetric: only the lower triangle is sure to be computed.
void add_products(const Rows& all, int64_t size, int64_t width, double* gram) {
  const int64_t count = all.size(), first = count - size;
  for (int64_t i = 0; i < count; i += 4)
    for (int64_t j = 0; j < size; j += 4) {
      if (i >= first && i + 3 - first < j) continue;
      const float *left[4], *right[4];
      for (int r = 0; r < 4; ++r) {  // beyond the end the last row again; its sums are not used
        left[r] = all[std::min(i + r, count - 1)];
        right[r] = all[std::min(first + j + r, count - 1)];
      }
      float sums[4][4];
      inner_products(left, right, width, sums);
      for (int64_t a = i; a < std::min(i + 4, count); ++a)
        for (int64_t b = j; b < std::min(j + 4, size); ++b)
          gram[a * size + b] += sums[a - i][b - j];
    }
}

struct Adam {
  float rate, per_root, weight1, beta2, weight2, eps;  // weights: 1 - beta

  // The step on a gradient; both moments as they are after it.
  float step(float g, float& first, float& second) const {
    first += weight1 * (g - first);
    second = second * beta2 + weight2 * g * g;
    return rate * first / (std::sqrt(second) * per_root + eps);
  }
};

// How far from what was kept Adam's step on the gradient leads; the moments stay as they are.
void change_ahead(const Adam& adam, const float* v, const float* kept, const float* first,
                  const float* second, const float* grad, float* change, int64_t width) {
  for (int64_t c = 0; c < width; ++c) {
    float m = first[c], s = second[c];
    change[c] = v[c] - adam.step(grad[c], m, s) - kept[c];
  }
}

void take_step(const Adam& adam, float* v, float* first, float* second, const float* grad,
               int64_t width) {
  for (int64_t c = 0; c < width; ++c) v[c] -= adam.step(grad[c], first[c], second[c]);
}

// Arrays of one tensor of weights; anchor and importance, or path, may be missing.
struct Held {
  float* value;
  const float* grad;
  float *first, *second;
  const float *anchor, *importance;
  float* path;
};

// Adam's step on the gradient plus that of strength sum importance (value - anchor)^2; and
// path -= gradient x movement. Returns the sum over these columns, before the step.
template <bool kPulls, bool kFollows>
double consolidate(const Adam& adam, const Held& at, float strength, int64_t begin, int64_t end) {
  // Pointers of its own: through the struct's, the compiler would gather element by element.
  float *__restrict value = at.value, *__restrict first = at.first, *__restrict path = at.path;
  float* __restrict second = at.second;
  const float *__restrict grad = at.grad, *__restrict anchor = at.anchor;
  const float* __restrict importance = at.importance;
  const Adam own = adam;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = begin; c < end; ++c) {
    const float before = value[c];
    float g = grad[c];
    if (kPulls) {
      const float moved = before - anchor[c], pull = importance[c] * moved;
      g += 2 * strength * pull;
      sum += pull * moved;
    }
    const float after = before - own.step(g, first[c], second[c]);
    if (kFollows) path[c] += g * (before - after);
    value[c] = after;
  }
  return sum;
}

}  // namespace

// See OutputLayer in one_pass.py for the arguments.
extern "C" void one_pass(int64_t size, int64_t columns, int64_t begin, int64_t end,
                         const float* features, const float* grad_weights, int64_t chunks,
                         float* v, const float* kept, float* first, float* second,
                         const float* factors, double* products, const float* adam_numbers,
                         int64_t threads) {
  const float* n = adam_numbers;
  const Adam adam{n[0], n[1], n[2], n[3], n[4], n[5]};
  const int64_t blocks = (end - begin + kBlock - 1) / kBlock, count = 2 * size * size;
  std::vector<double> found(threads * count, 0.0);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int64_t thread = 0; thread < threads; ++thread) {
    std::vector<Line> grads(size * kStride / 16), changes(size * kStride / 16);
    float *grad = grads[0].lane, *change = changes[0].lane;
    Rows of_weights(chunks), both(2 * size);
    const int64_t last = (thread + 1) * blocks / threads;
    for (int64_t block = thread * blocks / threads; block < last; ++block) {
      const int64_t at = begin + block * kBlock, width = std::min(kBlock, end - at);
      for (int64_t k = 0; k < chunks; ++k) of_weights[k] = grad_weights + k * columns + at;
      for (int64_t i = 0; i < size; ++i) {
        both[i] = kept + i * columns + at;
        both[size + i] = change + i * kStride;
      }
      std::fill(grad, grad + size * kStride, 0.0f);
      multiply_add(features, size, of_weights, grad, width);
      for (int64_t i = 0; i < size; ++i) {
        const int64_t row = i * columns + at;
        change_ahead(adam, v + row, kept + row, first + row, second + row, grad + i * kStride,
                     change + i * kStride, width);
      }
      add_products(both, size, width, &found[thread * count]);
      multiply_add(factors, size, both, grad, width);
      for (int64_t i = 0; i < size; ++i) {
        const int64_t row = i * columns + at;
        take_step(adam, v + row, first + row, second + row, grad + i * kStride, width);
      }
    }
  }
  // Summed in the order of threads, not as they finish: the same bits every time.
  for (int64_t thread = 0; thread < threads; ++thread)
    for (int64_t i = 0; i < count; ++i) products[i] += found[thread * count + i];
}

// See ConsolidatingStep in hcl/networks/consolidating_step.py for the arguments.
extern "C" double consolidating_step(int64_t size, float* value, const float* grad, float* first,
                                     float* second, const float* anchor, const float* importance,
                                     float* path, const float* adam_numbers, float strength,
                                     int64_t threads) {
  const float* n = adam_numbers;
  const Adam adam{n[0], n[1], n[2], n[3], n[4], n[5]};
  const Held at{value, grad, first, second, anchor, importance, path};
  const auto part = anchor ? (path ? consolidate<true, true> : consolidate<true, false>)
                           : (path ? consolidate<false, true> : consolidate<false, false>);
  const int64_t width = 4096, blocks = (size + width - 1) / width;
  std::vector<double> sums(blocks);
#pragma omp parallel for num_threads(threads) schedule(static) if (blocks > 4)
  for (int64_t block = 0; block < blocks; ++block)
    sums[block] = part(adam, at, strength, block * width, std::min(size, (block + 1) * width));
  double sum = 0;  // in the order of blocks: the same bits with any number of threads
  for (double one : sums) sum += one;
  return sum;
}
