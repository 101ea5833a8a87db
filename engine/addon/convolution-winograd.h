// Convolutions of every place by windows of 3 × 3, in 4/9 of their products: F(2 × 2, 3 × 3) of Lavin and Gray, Fast Algorithms
// for Convolutional Neural Networks (CVPR 2016), section 4.1, whose matrices are A, B and G. Patches of 4 × 4 pixels and
// kernels become 16 numbers each, "spots"; of each spot, what patches and kernels have there is multiplied as two matrices, and
// the 16 products of a patch become the 2 × 2 results of the windows in it. The gradient of a kernel goes the same way back.
// convolution-loops.h includes this file.

constexpr int kSpots = 16;
// Patches at once: of a product, so that what is made of them stays in the cache until it is met, and of a kernel's gradient,
// whose sums are read and written once for them.
constexpr int64_t kPatches = 48, kSummed = 144;
// What is at each spot lies a line of the cache aside of where the last one's would end: often that is a power of two, and
// then all 16 would meet in one place of the cache.
int64_t PerSpot(int64_t count) { return count + kPanel; }

// The patches of an image cover the grid of its windows' places, 2 × 2 each.
struct Patches {
  const View &view;
  const int64_t down = Parts(view.gridHeight, 2), along = Parts(view.gridWidth, 2), count = view.images * down * along;

  // Where the pixels of patch t start; those beside the image are `zeros`.
  void Pixels(int64_t t, const float *x, const float *zeros, const float *at[kSpots]) const {
    const int64_t n = t / along / down, top = t / along % down * 2 - view.top, left = t % along * 2 - view.left;
    for (int64_t i = 0; i < kSpots; i++) {
      const int64_t r = top + i / 4, c = left + i % 4;
      const bool inside = r >= 0 && r < view.height && c >= 0 && c < view.width;
      at[i] = inside ? x + ((n * view.height + r) * view.width + c) * view.channels : zeros;
    }
  }

  // Where the results of patch t are in y [images, gridHeight, gridWidth, channels]; of those beside the grid `none`.
  template <class Number>
  void Results(int64_t t, Number *y, int64_t channels, Number *none, Number *at[4]) const {
    const int64_t n = t / along / down, top = t / along % down * 2, left = t % along * 2;
    for (int64_t i = 0; i < 4; i++) {
      const int64_t r = top + i / 2, c = left + i % 2;
      const bool inside = r < view.gridHeight && c < view.gridWidth;
      at[i] = inside ? y + ((n * view.gridHeight + r) * view.gridWidth + c) * channels : none;
    }
  }
};

// Bᵀ d B of the pixels d of a patch.
inline __attribute__((always_inline)) void OfPixels(const Vector d[kSpots], Vector spots[kSpots]) {
  Vector half[kSpots];
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    half[j] = d[j] - d[8 + j], half[4 + j] = d[4 + j] + d[8 + j];
    half[8 + j] = d[8 + j] - d[4 + j], half[12 + j] = d[4 + j] - d[12 + j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < kSpots; i += 4) {
    const Vector *h = half + i;
    spots[i] = h[0] - h[2], spots[i + 1] = h[1] + h[2], spots[i + 2] = h[2] - h[1], spots[i + 3] = h[1] - h[3];
  }
}

// G g Gᵀ of the taps g of a kernel.
inline __attribute__((always_inline)) void OfTaps(const Vector g[9], Vector spots[kSpots]) {
  Vector half[12];
#pragma GCC unroll 3
  for (int j = 0; j < 3; j++) {
    const Vector outer = g[j] + g[6 + j];
    half[j] = g[j], half[3 + j] = 0.5f * (outer + g[3 + j]), half[6 + j] = 0.5f * (outer - g[3 + j]), half[9 + j] = g[6 + j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const Vector *h = half + 3 * i, outer = h[0] + h[2];
    Vector *to = spots + 4 * i;
    to[0] = h[0], to[1] = 0.5f * (outer + h[1]), to[2] = 0.5f * (outer - h[1]), to[3] = h[2];
  }
}

// Aᵀ m A of the products m: the results y of a patch.
inline __attribute__((always_inline)) void OfProducts(const Vector m[kSpots], Vector y[4]) {
  Vector half[8];
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) half[j] = m[j] + m[4 + j] + m[8 + j], half[4 + j] = m[4 + j] - m[8 + j] - m[12 + j];
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    const Vector *h = half + 4 * i;
    y[2 * i] = h[0] + h[1] + h[2], y[2 * i + 1] = h[1] - h[2] - h[3];
  }
}

// A d Aᵀ of the gradients d of a patch's results.
inline __attribute__((always_inline)) void OfResults(const Vector d[4], Vector spots[kSpots]) {
  Vector half[8];
#pragma GCC unroll 2
  for (int j = 0; j < 2; j++)
    half[j] = d[j], half[2 + j] = d[j] + d[2 + j], half[4 + j] = d[j] - d[2 + j], half[6 + j] = -d[2 + j];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const Vector *h = half + 2 * i;
    Vector *to = spots + 4 * i;
    to[0] = h[0], to[1] = h[0] + h[1], to[2] = h[0] - h[1], to[3] = -h[1];
  }
}

// Gᵀ s G of the sums s of all patches: the gradients g of a kernel's taps.
inline __attribute__((always_inline)) void OfSums(const Vector s[kSpots], Vector g[9]) {
  Vector half[12];
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    const Vector inner = 0.5f * (s[4 + j] + s[8 + j]);
    half[j] = s[j] + inner, half[4 + j] = 0.5f * (s[4 + j] - s[8 + j]), half[8 + j] = inner + s[12 + j];
  }
#pragma GCC unroll 3
  for (int i = 0; i < 3; i++) {
    const Vector *h = half + 4 * i, inner = 0.5f * (h[1] + h[2]);
    g[3 * i] = h[0] + inner, g[3 * i + 1] = 0.5f * (h[1] - h[2]), g[3 * i + 2] = inner + h[3];
  }
}

// `count` vectors `apart` numbers apart.
template <int count>
inline __attribute__((always_inline)) void Load(const float *from, int64_t apart, Vector vectors[count]) {
#pragma GCC unroll 16
  for (int i = 0; i < count; i++) vectors[i] = *(const Vector *)(from + i * apart);
}
template <int count>
inline __attribute__((always_inline)) void Save(const Vector vectors[count], float *to, int64_t apart) {
#pragma GCC unroll 16
  for (int i = 0; i < count; i++) *(Vector *)(to + i * apart) = vectors[i];
}
template <int count>
inline __attribute__((always_inline)) void Gather(const float *const at[count], int64_t k, Vector vectors[count]) {
#pragma GCC unroll 16
  for (int i = 0; i < count; i++) vectors[i] = *(const Unaligned *)(at[i] + k);
}

// The spots of patch t.
void SeePatch(const Patches &patches, int64_t t, const float *x, const float *zeros, float *seen, int64_t perSpot) {
  const float *at[kSpots];
  patches.Pixels(t, x, zeros, at);
  for (int64_t k = 0; k < patches.view.channels; k += kLanes) {
    Vector pixels[kSpots], spots[kSpots];
    Gather<kSpots>(at, k, pixels);
    OfPixels(pixels, spots);
    Save<kSpots>(spots, seen + k, perSpot);
  }
}

// Panels [panel][taps][rows][kPanel] of kernels as [spot][panel][rows][kPanel].
void MeetPanels(int64_t rows, int64_t channels, const float *panels, float *met, int64_t perSpot, int threads) {
  const int64_t length = rows * kPanel;
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t panel = 0; panel < channels / kPanel; panel++)
    for (int64_t k = 0; k < length; k += kLanes) {
      Vector taps[9], spots[kSpots];
      Load<9>(panels + panel * 9 * length + k, length, taps);
      OfTaps(taps, spots);
      Save<kSpots>(spots, met + panel * length + k, perSpot);
    }
}

// As Multiply.
void MultiplyByWinograd(const View &view, const float *x, const float *panels, const Target &target, const Finish &finish,
                        int threads) {
  const Patches patches = {view};
  const int64_t blocks = Parts(patches.count, kPatches), most = Parts(patches.count, blocks);
  const int64_t depth = view.channels, channels = target.channels;
  const int64_t perMet = PerSpot(depth * channels), perSeen = PerSpot(most * depth), perProduct = PerSpot(most * channels);
  Memory met(kSpots * perMet), zeros(depth);
  memset(zeros.data(), 0, depth * sizeof(float));
  MeetPanels(depth, channels, panels, met.data(), perMet, threads);
#pragma omp parallel num_threads(threads) if (threads > 1 && blocks > 1)
  {
    Memory seen(kSpots * perSeen), products(kSpots * perProduct);
    std::vector<Row> rows;
#pragma omp for schedule(dynamic)
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t first = b * patches.count / blocks, count = (b + 1) * patches.count / blocks - first;
      for (int64_t t = 0; t < count; t++) SeePatch(patches, first + t, x, zeros.data(), seen.data() + t * depth, perSeen);
      for (int64_t spot = 0; spot < kSpots; spot++) {
        rows.clear();
        for (int64_t t = 0; t < count; t++)
          rows.push_back({seen.data() + spot * perSeen + t * depth, products.data() + spot * perProduct + t * channels});
        MultiplyRows(rows, {1, depth, 0}, met.data() + spot * perMet, depth, channels, {});
      }
      for (int64_t t = 0; t < count; t++) {
        float *to[4];
        patches.Results<float>(first + t, target.to, channels, nullptr, to);
        for (int64_t k = 0; k < channels; k += kLanes) {
          Vector m[kSpots], y[4];
          Load<kSpots>(products.data() + t * channels + k, perProduct, m);
          OfProducts(m, y);
          for (int i = 0; i < 4; i++)
            if (to[i]) Store(y[i], to[i] + k, k, kLanes, finish);
        }
      }
    }
  }
}

// As SumKernel.
void SumKernelByWinograd(const Convolution &c, const float *x, const float *dy, float *out) {
  const View view = ViewOf(c);
  const Patches patches = {view};
  const int64_t blocks = Parts(patches.count, kSummed), most = Parts(patches.count, blocks), panels = c.out / kPanel;
  const int64_t perSeen = PerSpot(most * c.in), perSpread = PerSpot(most * c.out), perSum = PerSpot(c.in * c.out);
  const int64_t rows = kChunk * kRows, chunks = Parts(c.in, rows), longest = c.in > c.out ? c.in : c.out;
  Memory seen(kSpots * perSeen), spread(kSpots * perSpread), sums(kSpots * perSum), zeros(longest);
  memset(zeros.data(), 0, longest * sizeof(float));
  std::vector<int> at;
  for (int64_t t = 0; t < most; t++) at.push_back(t * c.in);
#pragma omp parallel num_threads(c.threads) if (c.threads > 1)
  {
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t first = b * patches.count / blocks, count = (b + 1) * patches.count / blocks - first;
#pragma omp for
      for (int64_t t = 0; t < count; t++) {
        SeePatch(patches, first + t, x, zeros.data(), seen.data() + t * c.in, perSeen);
        const float *from[4];
        patches.Results<const float>(first + t, dy, c.out, zeros.data(), from);
        for (int64_t k = 0; k < c.out; k += kLanes) {
          Vector results[4], spots[kSpots];
          Gather<4>(from, k, results);
          OfResults(results, spots);
          Save<kSpots>(spots, spread.data() + (k / kPanel * count + t) * kPanel + k % kPanel, perSpread);
        }
      }
#pragma omp for
      for (int64_t i = 0; i < kSpots * chunks; i++) {
        const int64_t spot = i / chunks, begin = i % chunks * rows, width = c.in - begin < rows ? c.in - begin : rows;
        const int64_t tiles = Parts(width, kRows);
        for (int64_t j = 0; j < panels; j++)
          for (int64_t tile = 0; tile < tiles; tile++) {
            const int64_t row = begin + tile * width / tiles, stop = begin + (tile + 1) * width / tiles;
            AnyKernelTile(stop - row, seen.data() + spot * perSeen + row, at.data(), count,
                          spread.data() + spot * perSpread + j * count * kPanel,
                          sums.data() + spot * perSum + row * c.out + j * kPanel, c.out, kPanel, b == 0);
          }
      }
    }
#pragma omp for
    for (int64_t k = 0; k < c.in * c.out; k += kLanes) {
      Vector s[kSpots], taps[9];
      Load<kSpots>(sums.data() + k, perSum, s);
      OfSums(s, taps);
#pragma GCC unroll 9
      for (int64_t i = 0; i < 9; i++) *(Unaligned *)(out + k + i * c.in * c.out) = taps[i];
    }
  }
}
