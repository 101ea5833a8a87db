// The loops of normalisation.cc, which includes this file once for each instruction set. All arrays are float32; a matrix is
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
