// The loops of resize.cc, which includes this file once for each instruction set. Images are bytes, a matrix is row-major.

// Places [from, from + N) of one row of the output: a weighted sum of rows of the input, which are `width` long.
template <int N>
inline void WeightRows(const uint8_t *__restrict rows, int64_t width, int64_t count, const int32_t *__restrict weights,
                       uint8_t *__restrict out) {
  int32_t sum[N];
  for (int c = 0; c < N; c++) sum[c] = 1 << (kPrecision - 1);
  for (int64_t t = 0; t < count; t++) {
    const int32_t weight = weights[t];
    for (int c = 0; c < N; c++) sum[c] += rows[t * width + c] * weight;
  }
  for (int c = 0; c < N; c++) {
    const int32_t value = sum[c] >> kPrecision;
    out[c] = value < 0 ? 0 : value > 255 ? 255 : value;
  }
}

// Resamples the rows of a matrix of bytes that is `width` wide.
void ResampleRows(const uint8_t *from, int64_t width, const Resampling &r, uint8_t *to) {
  for (int64_t i = 0; i < r.size; i++) {
    const uint8_t *rows = from + r.first[i] * width;
    const int32_t *weights = &r.weights[i * r.taps];
    uint8_t *out = to + i * width;
    int64_t c = 0;
    for (; c + 32 <= width; c += 32) WeightRows<32>(rows + c, width, r.count[i], weights, out + c);
    for (; c < width; c++) WeightRows<1>(rows + c, width, r.count[i], weights, out + c);
  }
}

// Swaps rows and columns of an RGB image.
void Transpose(const uint8_t *__restrict from, int64_t height, int64_t width, uint8_t *__restrict to) {
  // Four bytes a pixel are one move; the fourth is overwritten by the next pixel, which the last one has not.
  const int64_t last = height * width - 1;
  for (int64_t x = 0; x < width; x++)
    for (int64_t y = 0; y < height; y++, to += 3) memcpy(to, from + (y * width + x) * 3, y * width + x < last ? 4 : 3);
}

void ResampleColumns(const uint8_t *from, int64_t height, int64_t width, const Resampling &r, uint8_t *to) {
  const std::unique_ptr<uint8_t[]> on_side(new uint8_t[height * width * 3]);
  const std::unique_ptr<uint8_t[]> resampled(new uint8_t[height * r.size * 3]);
  Transpose(from, height, width, on_side.get());
  ResampleRows(on_side.get(), height * 3, r, resampled.get());
  Transpose(resampled.get(), r.size, height, to);
}

// Resizes an RGB image of height × width as PIL does since its version 13: one dimension, rounded to bytes, then the other.
// Columns come first unless the height loses more than twice as many pixels as the width; a dimension that stays is left out.
void Resize(const uint8_t *image, int64_t height, int64_t width, const Resampling &rows, const Resampling &columns,
            uint8_t *resized) {
  const bool down = rows.size != height, across = columns.size != width;
  if (!down && !across) memcpy(resized, image, height * width * 3);
  else if (!across) ResampleRows(image, width * 3, rows, resized);
  else if (!down) ResampleColumns(image, height, width, columns, resized);
  else if (height > rows.size && height - rows.size > 2 * (width - columns.size)) {
    const std::unique_ptr<uint8_t[]> between(new uint8_t[rows.size * width * 3]);
    ResampleRows(image, width * 3, rows, between.get());
    ResampleColumns(between.get(), rows.size, width, columns, resized);
  } else {
    const std::unique_ptr<uint8_t[]> between(new uint8_t[height * columns.size * 3]);
    ResampleColumns(image, height, width, columns, between.get());
    ResampleRows(between.get(), columns.size * 3, rows, resized);
  }
}
