// The tiles of a convolution's products, in registers from the first term of their sums to the last. convolution-loops.h includes
// this file.

typedef float Vector __attribute__((vector_size(4 * kLanes), aligned(4 * kLanes), may_alias));
typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
// Output channels that a tile of the product spans: kVectors registers. Its rows, kRows at most, take most of the others.
constexpr int64_t kPanel = kVectors * kLanes;

// What follows a product before it is stored.
struct Finish {
  const float *offset;
  // The residual of the whole output, and where that starts.
  const float *residual, *out;
  bool relu;

  bool nothing() const { return !offset && !residual && !relu; }
};

// The first `channels` numbers of a vector, from channel `channel` on.
inline __attribute__((always_inline)) void Store(Vector sum, float *out, int64_t channel, int64_t channels,
                                                 const Finish &finish) {
  if (channels >= kLanes) {
    if (finish.offset) sum += *(Unaligned *)(finish.offset + channel);
    if (finish.residual) sum += *(Unaligned *)(finish.residual + (out - finish.out));
    if (finish.relu) sum = sum < 0 ? Vector{} : sum;
    *(Unaligned *)out = sum;
    return;
  }
  for (int64_t c = 0; c < channels; c++) {
    float value = sum[c];
    if (finish.offset) value += finish.offset[channel + c];
    if (finish.residual) value += finish.residual[out - finish.out + c];
    out[c] = finish.relu && value < 0 ? 0 : value;
  }
}

// Where the rows of a tile are read and written.
struct Row {
  const float *in;
  float *out;
};

// Rows of a window: `taps` of `length` numbers each, `step` apart.
struct Window {
  int64_t taps, length, step;
};

// M rows times a panel [taps · length, kPanel].
template <int M>
void Tile(const Row *rows, const Window &window, const float *panel, int64_t channel, int64_t channels, const Finish &finish) {
  Vector sum[M][kVectors] = {};
  const float *from[M];
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) from[m] = rows[m].in;
  for (int64_t t = 0; t < window.taps; t++) {
#pragma GCC unroll 4
    for (int64_t k = 0; k < window.length; k++, panel += kPanel) {
      const Vector *vectors = (const Vector *)panel;
#pragma GCC unroll 16
      for (int m = 0; m < M; m++)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; v++) sum[m][v] += from[m][k] * vectors[v];
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; m++) from[m] += window.step;
  }
  if (channels == kPanel && finish.nothing()) {
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; v++) ((Unaligned *)(rows[m].out + channel))[v] = sum[m][v];
    return;
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; m++)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) {
      const int64_t before = v * kLanes;
      if (channels > before) Store(sum[m][v], rows[m].out + channel + before, channel + before, channels - before, finish);
    }
}

template <int... M>
constexpr std::array<decltype(&Tile<1>), sizeof...(M)> Tiles(std::integer_sequence<int, M...>) {
  return {Tile<M + 1>...};
}

void AnyTile(int64_t count, const Row *rows, const Window &window, const float *panel, int64_t channel, int64_t channels,
             const Finish &finish) {
  static constexpr auto tiles = Tiles(std::make_integer_sequence<int, kRows>());
  tiles[count - 1](rows, window, panel, channel, channels, finish);
}

// M rows of the kernel's gradient: of all places the products of M numbers of their windows and a panel of dy [place][kPanel].
template <int M>
void KernelTile(const float *from, const int *at, int64_t places, const float *panel, float *out, int64_t step,
                int64_t channels, bool first) {
  Vector sum[M][kVectors] = {};
#pragma GCC unroll 4
  for (int64_t p = 0; p < places; p++, panel += kPanel) {
    const float *x = from + at[p];
    const Vector *vectors = (const Vector *)panel;
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; v++) sum[m][v] += x[m] * vectors[v];
  }
  if (channels == kPanel) {
#pragma GCC unroll 16
    for (int m = 0; m < M; m++) {
      Unaligned *to = (Unaligned *)(out + m * step);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; v++) to[v] = first ? sum[m][v] : to[v] + sum[m][v];
    }
    return;
  }
  for (int m = 0; m < M; m++)
    for (int64_t c = 0; c < channels; c++) {
      const float value = sum[m][c / kLanes][c % kLanes];
      out[m * step + c] = first ? value : out[m * step + c] + value;
    }
}

template <int... M>
constexpr std::array<decltype(&KernelTile<1>), sizeof...(M)> KernelTiles(std::integer_sequence<int, M...>) {
  return {KernelTile<M + 1>...};
}

void AnyKernelTile(int64_t rows, const float *from, const int *at, int64_t places, const float *panel, float *out, int64_t step,
                   int64_t channels, bool first) {
  static constexpr auto tiles = KernelTiles(std::make_integer_sequence<int, kRows>());
  tiles[rows - 1](from, at, places, panel, out, step, channels, first);
}
