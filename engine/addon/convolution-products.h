// Convolutions as products of matrices: a row of a window is contiguous in an image, and so is that row of the kernel.
// convolution-loops.h includes this file.

// Places of a block, whose windows stay in the cache from one panel to the next.
constexpr int64_t kBlock = 96;
// Of the gradient of a kernel: the places over which it is summed at once, the tiles that share what these see, and the panels
// from which on that is brought together for them.
constexpr int64_t kPlaces = 144, kChunk = 4, kTogether = 8;

// The rows of a block's tiles: of each place where its window starts and where its results go.
void RowsOf(const View &view, const Block &b, const Target &target, std::vector<Row> &rows) {
  rows.clear();
  for (int64_t n = 0; n < b.images; n++)
    for (int64_t y = 0; y < b.rows; y++)
      for (int64_t c = 0; c < view.gridWidth; c++) {
        const int64_t line = (b.image + n) * target.height + (b.y + y) * target.stride + target.top;
        const int64_t to = line * target.width + c * target.stride + target.left;
        rows.push_back({b.from + n * b.perImage + y * view.stride * b.perRow + c * view.stride * view.channels,
                        target.to + to * target.channels});
      }
}

// Rows times all panels, of which each has `depth` rows.
void MultiplyRows(const std::vector<Row> &rows, const Window &window, const float *panels, int64_t depth, int64_t channels,
                  const Finish &finish) {
  const int64_t places = rows.size(), tiles = Parts(places, kRows);
  for (int64_t channel = 0; channel < channels; channel += kPanel)
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t begin = t * places / tiles, stop = (t + 1) * places / tiles;
      AnyTile(stop - begin, &rows[begin], window, panels + channel * depth, channel,
              channels - channel < kPanel ? channels - channel : kPanel, finish);
    }
}

// The product of all windows and the panels [panel][window's rows][row's numbers][kPanel].
void Multiply(const View &view, const float *x, const float *panels, const Target &target, const Finish &finish, int threads) {
  const Blocks blocks(view, kBlock);
#pragma omp parallel num_threads(threads) if (threads > 1 && blocks.count > 1)
  {
    Memory buffer(blocks.bufferSize());
    std::vector<Row> rows;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < blocks.count; i++) {
      const Block b = blocks.At(i, x, buffer.data());
      RowsOf(view, b, target, rows);
      MultiplyRows(rows, {view.windowHeight, view.windowWidth * view.channels, b.perRow}, panels, view.depth(), target.channels,
                   finish);
    }
  }
}

// Panels of a matrix of `depth` rows, row r of which starts at `row(r)` and has numbers `step` apart.
template <class Start>
void Pack(int64_t depth, int64_t channels, int64_t step, Start row, float *panels, int threads) {
  // Few rows at a time, whose pages are few.
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t begin = 0; begin < depth; begin += 32)
    for (int64_t channel = 0; channel < channels; channel += kPanel) {
      const int64_t some = channels - channel < kPanel ? channels - channel : kPanel;
      for (int64_t r = begin; r < begin + 32 && r < depth; r++) {
        float *panel = panels + channel * depth + r * kPanel;
        const float *from = row(r) + channel * step;
        if (step == 1 && some == kPanel) {
          memcpy(panel, from, kPanel * sizeof(float));
          continue;
        }
        for (int64_t c = 0; c < some; c++) panel[c] = from[c * step];
        for (int64_t c = some; c < kPanel; c++) panel[c] = 0;
      }
    }
}

// The gradient of a kernel by the products of all windows and dy; threads share its parts, so that each number is one thread's
// sum.
void SumKernel(const Convolution &c, const float *x, const float *dy, float *out) {
  const View view = ViewOf(c);
  const Blocks blocks(view, kPlaces);
  const int64_t length = c.kernelWidth * c.in, panels = Parts(c.out, kPanel), most = blocks.mostPlaces();
  // A chunk is some rows of the kernel's gradient within one row of the window. What the places see of it is brought together
  // where many panels meet it.
  const int64_t perRow = Parts(length, kChunk * kRows), chunks = c.kernelHeight * perRow;
  const bool together = panels >= kTogether;
#pragma omp parallel num_threads(c.threads) if (c.threads > 1 && chunks > 1)
  {
    Memory buffer(blocks.bufferSize()), seen(together ? most * kChunk * kRows : 0), packed(panels * most * kPanel);
    std::vector<int> starts, at;
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    for (int64_t i = 0; i < blocks.count; i++) {
      const Block b = blocks.At(i, x, buffer.data());
      Starts(c, b, starts);
      const int64_t places = starts.size();
      // A block of several images has all of their rows, so that its places are neighbours in dy.
      const float *rows = dy + (b.image * c.outHeight + b.y) * c.outWidth * c.out;
      Pack(places, c.out, 1, [&](int64_t p) { return rows + p * c.out; }, packed.data(), 1);
      for (int64_t chunk = thread * chunks / threads; chunk < (thread + 1) * chunks / threads; chunk++) {
        const int64_t tap = chunk / perRow, begin = chunk % perRow * length / perRow,
                      end = (chunk % perRow + 1) * length / perRow;
        const int64_t width = end - begin, tiles = Parts(width, kRows);
        const float *from = b.from + tap * b.perRow + begin;
        if (together) {
          at.clear();
          for (int64_t p = 0; p < places; p++) {
            memcpy(seen.data() + p * width, from + starts[p], width * sizeof(float));
            at.push_back(p * width);
          }
          from = seen.data();
        }
        for (int64_t j = 0; j < panels; j++)
          for (int64_t t = 0; t < tiles; t++) {
            const int64_t first = t * width / tiles, stop = (t + 1) * width / tiles, channel = j * kPanel;
            AnyKernelTile(stop - first, from + first, together ? at.data() : starts.data(), places,
                          packed.data() + channel * places, out + (tap * length + begin + first) * c.out + channel, c.out,
                          c.out - channel < kPanel ? c.out - channel : kPanel, i == 0);
          }
      }
    }
  }
}
