// The loops of kernels.cc, which includes this file once for each instruction set. Arrays are float32, images bytes; a matrix is
// row-major, its columns are channels. Sums run over few rows in float32 and over these partial sums in float64, in an order that
// depends on the shape alone: equal bytes for any number of threads, and less rounding than one long sum has.

// Rows are taken together until they are this wide, so that a loop over few channels is as fast as one over many.
constexpr int64_t kWidth = 256;
// Numbers of a block of rows, which is summed in float32 and stays in the cache between two passes.
constexpr int64_t kBlock = 16384;
// Fewer numbers than this are not worth a second thread.
constexpr int64_t kShared = 1 << 16;

// A matrix of `rows` × `width`, each of its rows `copies` rows of the given one.
struct Shape {
  int64_t rows, width, copies, block, blocks;

  Shape(int64_t given, int64_t channels) : rows(given), width(channels), copies(1) {
    while (rows % 2 == 0 && width * 2 <= kWidth) rows /= 2, width *= 2, copies *= 2;
    block = kBlock / width < 8 ? 8 : kBlock / width > 256 ? 256 : kBlock / width;
    blocks = (rows + block - 1) / block;
  }
  int64_t size(int64_t b) const { return b + 1 < blocks ? block : rows - b * block; }
};

void Repeat(const float *values, int64_t channels, int64_t copies, float *out) {
  for (int64_t k = 0; k < copies; k++)
    for (int64_t c = 0; c < channels; c++) out[k * channels + c] = values[c];
}

// Mean of each column, and the sum of the squared differences from it.
void BlockMoments(const float *__restrict x, int64_t rows, int64_t width, float *__restrict mean, float *__restrict m2) {
  for (int64_t c = 0; c < width; c++) mean[c] = m2[c] = 0;
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float *a = x + r * width, *b = a + width, *d = b + width, *e = d + width;
    for (int64_t c = 0; c < width; c++) mean[c] += (a[c] + b[c]) + (d[c] + e[c]);
  }
  for (; r < rows; r++)
    for (int64_t c = 0; c < width; c++) mean[c] += x[r * width + c];
  const float share = 1.0f / rows;
  for (int64_t c = 0; c < width; c++) mean[c] *= share;
  for (r = 0; r + 2 <= rows; r += 2) {
    const float *a = x + r * width, *b = a + width;
    for (int64_t c = 0; c < width; c++) {
      const float p = a[c] - mean[c], q = b[c] - mean[c];
      m2[c] += p * p + q * q;
    }
  }
  for (; r < rows; r++)
    for (int64_t c = 0; c < width; c++) m2[c] += (x[r * width + c] - mean[c]) * (x[r * width + c] - mean[c]);
}

// Mean and (biased) variance of each channel of `rows` × `channels`.
void Moments(const float *x, int64_t rows, int64_t channels, int threads, float *mean, float *variance) {
  const Shape shape(rows, channels);
  const int64_t width = shape.width;
  std::vector<float> parts(2 * shape.blocks * width);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && rows * channels > kShared)
  for (int64_t b = 0; b < shape.blocks; b++)
    BlockMoments(x + b * shape.block * width, shape.size(b), width, &parts[2 * b * width], &parts[(2 * b + 1) * width]);
  std::vector<double> total(channels, 0.0), squares(channels, 0.0);
  for (int64_t b = 0; b < shape.blocks; b++)
    for (int64_t k = 0; k < shape.copies; k++)
      for (int64_t c = 0; c < channels; c++)
        total[c] += (double)shape.size(b) * parts[2 * b * width + k * channels + c];
  for (int64_t c = 0; c < channels; c++) total[c] /= rows;
  for (int64_t b = 0; b < shape.blocks; b++)
    for (int64_t k = 0; k < shape.copies; k++)
      for (int64_t c = 0; c < channels; c++) {
        const int64_t at = 2 * b * width + k * channels + c;
        const double apart = parts[at] - total[c];
        squares[c] += parts[at + width] + shape.size(b) * apart * apart;
      }
  for (int64_t c = 0; c < channels; c++) mean[c] = total[c], variance[c] = squares[c] / rows;
}

// scale / √(variance + ε): what a value's distance from the mean is multiplied with.
void Factors(const float *scale, const float *variance, int64_t channels, float epsilon, float *out) {
  for (int64_t c = 0; c < channels; c++) out[c] = scale[c] / sqrtf(variance[c] + epsilon);
}

// Coefficients of each column of a shape's rows.
struct Columns {
  std::vector<float> mean, factor, shift;

  Columns(const Shape &shape, int64_t channels, const float *scale, const float *shifts, const float *means,
          const float *variance, float epsilon)
      : mean(shape.width), factor(shape.width), shift(shape.width) {
    std::vector<float> one(channels);
    Factors(scale, variance, channels, epsilon, one.data());
    Repeat(one.data(), channels, shape.copies, factor.data());
    Repeat(means, channels, shape.copies, mean.data());
    Repeat(shifts, channels, shape.copies, shift.data());
  }
};

// y = (x − mean) · factor + shift, plus the residual, then ReLU; either may be absent. y may be x.
template <bool Relu, bool Residual>
void Normalise(const float *x, const float *residual, const Shape &shape, const Columns &columns, int threads, float *y) {
  const float *__restrict mean = columns.mean.data(), *__restrict factor = columns.factor.data();
  const float *__restrict shift = columns.shift.data();
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && shape.rows * shape.width > kShared)
  for (int64_t r = 0; r < shape.rows; r++) {
    const float *from = x + r * shape.width, *other = residual + r * shape.width;
    float *to = y + r * shape.width;
#pragma GCC ivdep
    for (int64_t c = 0; c < shape.width; c++) {
      float z = (from[c] - mean[c]) * factor[c] + shift[c];
      if (Residual) z += other[c];
      // In this order NaN stays NaN.
      to[c] = Relu ? (z < 0 ? 0 : z) : z;
    }
  }
}

void BatchNorm(const Norm &n, const float *x, const float *residual, const float *scale, const float *shift, float *y,
               float *mean, float *variance) {
  const int64_t rows = n.rows / n.groups, size = rows * n.channels;
  const Shape shape(rows, n.channels);
  for (int64_t g = 0; g < n.groups; g++) {
    const float *from = x + g * size, *other = residual ? residual + g * size : nullptr;
    float *m = mean + g * n.channels, *v = variance + g * n.channels;
    Moments(from, rows, n.channels, n.threads, m, v);
    const Columns columns(shape, n.channels, scale, shift, m, v, n.epsilon);
    if (residual) {
      if (n.relu) Normalise<true, true>(from, other, shape, columns, n.threads, y + g * size);
      else Normalise<false, true>(from, other, shape, columns, n.threads, y + g * size);
    } else if (n.relu) Normalise<true, false>(from, from, shape, columns, n.threads, y + g * size);
    else Normalise<false, false>(from, from, shape, columns, n.threads, y + g * size);
  }
}

// How the ReLU behind the normalisation passes a gradient on: none is there, its sign follows from x, or from its output.
enum class Mask { kNone, kInput, kOutput };

// Sums of each column of dz and of dz · (x − mean), dz being the gradient behind the ReLU. kOutput writes dz down.
template <Mask M>
void BlockGradients(const float *__restrict dy, const float *__restrict x, const float *__restrict y, int64_t rows,
                    const Shape &shape, const Columns &columns, float *dz, float *__restrict sum, float *__restrict along) {
  const float *__restrict mean = columns.mean.data(), *__restrict factor = columns.factor.data();
  const float *__restrict shift = columns.shift.data();
  for (int64_t c = 0; c < shape.width; c++) sum[c] = along[c] = 0;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t at = r * shape.width;
#pragma GCC ivdep
    for (int64_t c = 0; c < shape.width; c++) {
      const float apart = x[at + c] - mean[c];
      float d = dy[at + c];
      if (M == Mask::kInput) d = apart * factor[c] + shift[c] > 0 ? d : 0;
      if (M == Mask::kOutput) dz[at + c] = d = y[at + c] > 0 ? d : 0;
      sum[c] += d;
      along[c] += d * apart;
    }
  }
}

// dx = factor · (dz − mean of dz − (x − mean) · mean of dz·(x − mean) / (variance + ε)), the means being over the rows.
template <Mask M>
void GradientRows(const float *dz, const float *x, const Shape &shape, const Columns &columns, const float *__restrict offset,
                  const float *__restrict slope, int threads, float *dx) {
  const float *__restrict mean = columns.mean.data(), *__restrict factor = columns.factor.data();
  const float *__restrict shift = columns.shift.data();
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && shape.rows * shape.width > kShared)
  for (int64_t r = 0; r < shape.rows; r++) {
    const int64_t at = r * shape.width;
#pragma GCC ivdep
    for (int64_t c = 0; c < shape.width; c++) {
      const float apart = x[at + c] - mean[c];
      float d = dz[at + c];
      if (M == Mask::kInput) d = apart * factor[c] + shift[c] > 0 ? d : 0;
      dx[at + c] = factor[c] * (d - offset[c] - apart * slope[c]);
    }
  }
}

template <Mask M>
void GroupGradient(const Norm &n, const float *dy, const float *x, const float *y, const float *scale, const float *shift,
                   const float *mean, const float *variance, float *dx, double *dscale, double *dshift, float *dz) {
  const int64_t rows = n.rows / n.groups, channels = n.channels;
  const Shape shape(rows, channels);
  const Columns columns(shape, channels, scale, shift, mean, variance, n.epsilon);
  const int64_t width = shape.width;
  std::vector<float> parts(2 * shape.blocks * width);
#pragma omp parallel for num_threads(n.threads) schedule(static) if (n.threads > 1 && rows * channels > kShared)
  for (int64_t b = 0; b < shape.blocks; b++) {
    const int64_t at = b * shape.block * width;
    BlockGradients<M>(dy + at, x + at, y + at, shape.size(b), shape, columns, dz + at, &parts[2 * b * width],
                      &parts[(2 * b + 1) * width]);
  }
  std::vector<double> sum(channels, 0.0), along(channels, 0.0);
  for (int64_t b = 0; b < shape.blocks; b++)
    for (int64_t k = 0; k < shape.copies; k++)
      for (int64_t c = 0; c < channels; c++) {
        sum[c] += parts[2 * b * width + k * channels + c];
        along[c] += parts[(2 * b + 1) * width + k * channels + c];
      }
  std::vector<float> one(2 * channels), offset(width), slope(width);
  for (int64_t c = 0; c < channels; c++) {
    const double deviation = sqrt((double)variance[c] + n.epsilon);
    dshift[c] += sum[c];
    dscale[c] += along[c] / deviation;
    one[c] = sum[c] / rows;
    one[channels + c] = along[c] / rows / (deviation * deviation);
  }
  Repeat(&one[0], channels, shape.copies, offset.data());
  Repeat(&one[channels], channels, shape.copies, slope.data());
  constexpr Mask rest = M == Mask::kOutput ? Mask::kNone : M;
  GradientRows<rest>(M == Mask::kOutput ? dz : dy, x, shape, columns, offset.data(), slope.data(), n.threads, dx);
}

// The gradients of x, scale, shift and (where there was one, in `dz`) of the residual. dx or dz may be dy.
void BatchNormGradient(const Norm &n, const float *dy, const float *x, const float *y, const float *scale,
                       const float *shift, const float *mean, const float *variance, float *dx, float *dscale, float *dshift,
                       float *dz) {
  const int64_t size = n.rows / n.groups * n.channels;
  std::vector<double> scales(n.channels, 0.0), shifts(n.channels, 0.0);
  for (int64_t g = 0; g < n.groups; g++) {
    const auto gradient = !n.relu ? GroupGradient<Mask::kNone> : dz ? GroupGradient<Mask::kOutput> : GroupGradient<Mask::kInput>;
    gradient(n, dy + g * size, x + g * size, y ? y + g * size : x, scale, shift, mean + g * n.channels,
             variance + g * n.channels, dx + g * size, scales.data(), shifts.data(), dz ? dz + g * size : dx);
  }
  for (int64_t c = 0; c < n.channels; c++) dscale[c] = scales[c], dshift[c] = shifts[c];
}

// Adam as torch.optim.Adam: weight decay is added to the gradient, ε to the root of the corrected second moment.
void Adam(const AdamRates &a, int64_t size, const float *__restrict p, const float *__restrict m, const float *__restrict v,
          const float *__restrict gradient, float *__restrict p1, float *__restrict m1, float *__restrict v1) {
#pragma omp parallel for num_threads(a.threads) schedule(static) if (a.threads > 1 && size > kShared)
  for (int64_t i = 0; i < size; i++) {
    const float g = gradient[i] + p[i] * a.weightDecay;
    m1[i] = m[i] * a.beta1 + g * a.rest1;
    v1[i] = v[i] * a.beta2 + g * g * a.rest2;
    p1[i] = p[i] - m1[i] / (sqrtf(v1[i]) / a.correction + a.epsilon) * a.stepSize;
  }
}

// a · x + b · y.
void Blend(int64_t size, int threads, float a, const float *__restrict x, float b, const float *__restrict y,
           float *__restrict out) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && size > kShared)
  for (int64_t i = 0; i < size; i++) out[i] = a * x[i] + b * y[i];
}

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
