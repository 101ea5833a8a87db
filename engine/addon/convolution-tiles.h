// The tiles of convolution.cc's products, in registers from the first term of their sums to the last. It includes this file
// once for each instruction set.

typedef float Vector __attribute__((vector_size(4 * kLanes), aligned(4 * kLanes), may_alias));
typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
// Output channels that a tile of the product spans: two registers. Its rows take most of the others.
constexpr int64_t kPanel = 2 * kLanes;
constexpr int kRows = 6;

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
  Vector sum[M][2];
  const float *from[M];
#pragma GCC unroll 8
  for (int m = 0; m < M; m++) from[m] = rows[m].in, sum[m][0] = sum[m][1] = Vector{};
  for (int64_t t = 0; t < window.taps; t++) {
#pragma GCC unroll 4
    for (int64_t k = 0; k < window.length; k++, panel += kPanel) {
      const Vector left = *(const Vector *)panel, right = *(const Vector *)(panel + kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) {
        const float value = from[m][k];
        sum[m][0] += value * left;
        sum[m][1] += value * right;
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) from[m] += window.step;
  }
  if (channels == kPanel && finish.nothing()) {
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      *(Unaligned *)(rows[m].out + channel) = sum[m][0];
      *(Unaligned *)(rows[m].out + channel + kLanes) = sum[m][1];
    }
    return;
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++) {
    Store(sum[m][0], rows[m].out + channel, channel, channels, finish);
    if (channels > kLanes) Store(sum[m][1], rows[m].out + channel + kLanes, channel + kLanes, channels - kLanes, finish);
  }
}

void AnyTile(int64_t count, const Row *rows, const Window &window, const float *panel, int64_t channel, int64_t channels,
             const Finish &finish) {
  static constexpr decltype(&Tile<1>) tiles[] = {Tile<1>, Tile<2>, Tile<3>, Tile<4>, Tile<5>, Tile<6>};
  tiles[count - 1](rows, window, panel, channel, channels, finish);
}

// M rows of the kernel's gradient: of all places the products of M numbers of their windows and a panel of dy [place][kPanel].
template <int M>
void KernelTile(const float *from, const int *at, int64_t places, const float *panel, float *out, int64_t step,
                int64_t channels, bool first) {
  Vector sum[M][2];
#pragma GCC unroll 8
  for (int m = 0; m < M; m++) sum[m][0] = sum[m][1] = Vector{};
#pragma GCC unroll 4
  for (int64_t p = 0; p < places; p++, panel += kPanel) {
    const float *x = from + at[p];
    const Vector left = *(const Vector *)panel, right = *(const Vector *)(panel + kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      sum[m][0] += x[m] * left;
      sum[m][1] += x[m] * right;
    }
  }
  if (channels == kPanel) {
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      Unaligned *to = (Unaligned *)(out + m * step);
      to[0] = first ? sum[m][0] : to[0] + sum[m][0];
      to[1] = first ? sum[m][1] : to[1] + sum[m][1];
    }
    return;
  }
  for (int m = 0; m < M; m++)
    for (int64_t c = 0; c < channels; c++) {
      const float value = sum[m][c / kLanes][c % kLanes];
      out[m * step + c] = first ? value : out[m * step + c] + value;
    }
}

void AnyKernelTile(int64_t rows, const float *from, const int *at, int64_t places, const float *panel, float *out, int64_t step,
                   int64_t channels, bool first) {
  static constexpr decltype(&KernelTile<1>) tiles[] = {KernelTile<1>, KernelTile<2>, KernelTile<3>,
                                                       KernelTile<4>, KernelTile<5>, KernelTile<6>};
  tiles[rows - 1](from, at, places, panel, out, step, channels, first);
}
