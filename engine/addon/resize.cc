// MmtResize: an RGB image resized by PIL's bicubic interpolation, to the byte. TensorFlow's own bicubic resize rounds otherwise.
#include "kernel.h"

namespace {

// How one dimension is resized: each place of the output is a weighted sum of `count` places of the input from `first` on.
// The weights of place i start at weights[i · taps]; they are fixed-point numbers.
struct Resampling {
  int64_t size, taps;
  std::vector<int64_t> first, count;
  std::vector<int32_t> weights;
};

// Bits behind the point of a resampling's weights.
constexpr int kPrecision = 22;

namespace plain {
#include "resize-loops.h"
}
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "resize-loops.h"
}
#pragma GCC pop_options

// Keys' cubic convolution with a = −0.5.
double Cubic(double x) {
  x = fabs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

// PIL's bicubic resampling of one dimension. Where the output is smaller, the kernel is as much wider, so that it averages.
Resampling Bicubic(int64_t from, int64_t to) {
  const double scale = (double)from / to, stretch = scale < 1 ? 1 : scale, support = 2 * stretch;
  const int64_t taps = (int64_t)ceil(support) * 2 + 1;
  Resampling r = {to, taps, std::vector<int64_t>(to), std::vector<int64_t>(to), std::vector<int32_t>(to * taps)};
  std::vector<double> weights(taps);
  for (int64_t i = 0; i < to; i++) {
    const double centre = (i + 0.5) * scale;
    int64_t first = (int64_t)(centre - support + 0.5), end = (int64_t)(centre + support + 0.5);
    if (first < 0) first = 0;
    if (end > from) end = from;
    double sum = 0;
    for (int64_t t = 0; t < end - first; t++) sum += weights[t] = Cubic((t + first - centre + 0.5) * (1 / stretch));
    for (int64_t t = 0; t < end - first; t++) {
      const double weight = sum != 0 ? weights[t] / sum : weights[t];
      r.weights[i * taps + t] = (int32_t)(weight * (1 << kPrecision) + (weight < 0 ? -0.5 : 0.5));
    }
    r.first[i] = first, r.count[i] = end - first;
  }
  return r;
}

struct ResizeOp {
  int64_t height, width;
  explicit ResizeOp(Attributes a) : height(a.Int("height")), width(a.Int("width")) {}

  void operator()(Call &call) const {
    const auto dims = call.Dims(0);
    if (dims.size() != 3 || dims[0] < 1 || dims[1] < 1 || dims[2] != 3 || height < 1 || width < 1)
      return call.Fail("expected an image [height, width, 3] of at least one pixel, and as much of it");
    const Tensor image = call.Input(0), resized = call.Output(0, {height, width, 3}, {}, TF_UINT8);
    if (!call.ok()) return;
    const Resampling rows = Bicubic(dims[0], height), columns = Bicubic(dims[1], width);
    const auto run = HasAvx2() ? avx2::Resize : plain::Resize;
    run(Data<uint8_t>(image), dims[0], dims[1], rows, columns, Data<uint8_t>(resized));
  }
};

[[maybe_unused]] const bool registered = [] {
  Register<ResizeOp>("MmtResize", {"image: uint8"}, {"resized: uint8"}, {"height: int", "width: int"}, ShapesLike<-1>);
  return true;
}();

}  // namespace
