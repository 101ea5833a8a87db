// Convolutions of images by square strides and borders of zeros, as PyTorch's Conv2d has them, on TensorFlow's layout:
//   MmtConvolution             y = x * kernel, with an offset of each channel, a residual and a ReLU where they are asked for
//   MmtConvolutionInputGrad    the gradient of x
//   MmtConvolutionKernelGrad   the gradient of the kernel
#include <omp.h>

#include <array>
#include <atomic>
#include <utility>

#include "convolution-blocks.h"
#include "kernel.h"

namespace {

namespace plain {
constexpr int kLanes = 4, kVectors = 2, kRows = 6;
#include "convolution-loops.h"
}  // namespace plain
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
constexpr int kLanes = 8, kVectors = 2, kRows = 6;
#include "convolution-loops.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw")
namespace avx512 {
constexpr int kLanes = 16, kVectors = 2, kRows = 12;
#include "convolution-loops.h"
}  // namespace avx512
// For channels that would leave half of the last panel empty.
namespace avx512narrow {
constexpr int kLanes = 16, kVectors = 1, kRows = 10;
#include "convolution-loops.h"
}  // namespace avx512narrow
#pragma GCC pop_options

// One convolution at work. Those that run at the same time share the threads that TensorFlow has for all of its ops; a result
// does not depend on how many it got.
class Share {
 public:
  Share() : threads_(All() / ++running) {}
  ~Share() { --running; }
  Share(const Share &) = delete;
  Share &operator=(const Share &) = delete;
  int threads() const { return threads_ < 1 ? 1 : threads_; }

 private:
  static int All() {
    static const int all = [] {
      const char *given = getenv("TF_NUM_INTEROP_THREADS");
      const int ops = given ? atoi(given) : 1, cores = (int)std::thread::hardware_concurrency();
      const int asked = Threads() * (ops > 1 ? ops : 1);
      return asked < cores ? asked : cores;
    }();
    return all;
  }
  static inline std::atomic<int> running{0};
  const int threads_;
};

using Dims = std::vector<int64_t>;

// Completes a convolution by the shapes of its images, of its kernel and, where it is there already, of its result.
bool Fit(Call &call, Convolution &c, const Dims &images, const Dims &kernel, const Dims *result = nullptr) {
  if (images.size() != 4 || kernel.size() != 4 || Call::Count(images) < 1 || Call::Count(kernel) < 1 ||
      images[3] != kernel[2] || c.stride < 1 || c.padding < 0 || images[1] + 2 * c.padding < kernel[0] ||
      images[2] + 2 * c.padding < kernel[1]) {
    call.Fail("expected images [N, H, W, in] and a kernel [height, width, in, out] that fits into them");
    return false;
  }
  c.images = images[0], c.height = images[1], c.width = images[2], c.in = images[3];
  c.kernelHeight = kernel[0], c.kernelWidth = kernel[1], c.out = kernel[3];
  c.outHeight = (c.height + 2 * c.padding - c.kernelHeight) / c.stride + 1;
  c.outWidth = (c.width + 2 * c.padding - c.kernelWidth) / c.stride + 1;
  if (result && *result != Dims{c.images, c.outHeight, c.outWidth, c.out})
    call.Fail("expected a gradient of the result's shape");
  return call.ok();
}

// Of the same loop for several instruction sets that for this CPU, whose panels go `across` so many channels.
template <class Loop>
Loop Fastest(const Convolution &c, int64_t across, Loop avx512, Loop avx512narrow, Loop avx2, Loop plain) {
  if (!HasAvx512()) return HasAvx2() ? avx2 : plain;
  return across % 32 == 0 && (!ByWinograd(c) || (c.in % 32 == 0 && c.out % 32 == 0)) ? avx512 : avx512narrow;
}

Convolution Declared(Attributes &a) {
  Convolution c = {};
  c.stride = a.Int("stride"), c.padding = a.Int("padding");
  return c;
}

struct ConvolutionOp {
  Convolution declared;
  bool relu;
  explicit ConvolutionOp(Attributes a) : declared(Declared(a)), relu(a.Bool("relu")) {}

  void operator()(Call &call) const {
    Convolution c = declared;
    const Dims offsets = call.Dims(2), added = call.Dims(3);
    if (!Fit(call, c, call.Dims(0), call.Dims(1))) return;
    const Dims dims = {c.images, c.outHeight, c.outWidth, c.out};
    const bool offset = Call::Count(offsets) > 0, residual = Call::Count(added) > 0;
    if (offset && Call::Count(offsets) != c.out) return call.Fail("expected an offset of each channel");
    if (residual && added != dims) return call.Fail("expected a residual of the result's shape");
    const Tensor y = call.Output(0, dims), x = call.Input(0), kernel = call.Input(1), from = call.Input(2),
                 other = call.Input(3);
    if (!call.ok()) return;
    const Share share;
    c.threads = share.threads();
    const auto run = Fastest(c, c.out, avx512::Forward, avx512narrow::Forward, avx2::Forward, plain::Forward);
    run(c, Data(x), Data(kernel), offset ? Data(from) : nullptr, residual ? Data(other) : nullptr, relu, Data(y));
  }
};

struct InputGradOp {
  Convolution declared;
  int64_t height, width;
  explicit InputGradOp(Attributes a) : declared(Declared(a)), height(a.Int("height")), width(a.Int("width")) {}

  void operator()(Call &call) const {
    Convolution c = declared;
    const Dims result = call.Dims(0), dims = call.Dims(1);
    if (result.size() != 4 || dims.size() != 4)
      return call.Fail("expected a gradient [N, H, W, out] and a kernel [height, width, in, out]");
    const Dims images = {result[0], height, width, dims[2]};
    if (!Fit(call, c, images, dims, &result)) return;
    const Tensor dx = call.Output(0, images), dy = call.Input(0), kernel = call.Input(1);
    if (!call.ok()) return;
    const Share share;
    c.threads = share.threads();
    const auto run =
        Fastest(c, c.in, avx512::InputGradient, avx512narrow::InputGradient, avx2::InputGradient, plain::InputGradient);
    run(c, Data(dy), Data(kernel), Data(dx));
  }
};

struct KernelGradOp {
  Convolution declared;
  int64_t height, width;
  explicit KernelGradOp(Attributes a) : declared(Declared(a)), height(a.Int("height")), width(a.Int("width")) {}

  void operator()(Call &call) const {
    Convolution c = declared;
    const Dims images = call.Dims(0), result = call.Dims(1);
    if (images.size() != 4 || result.size() != 4)
      return call.Fail("expected images [N, H, W, in] and a gradient [N, H, W, out]");
    const Dims dims = {height, width, images[3], result[3]};
    if (!Fit(call, c, images, dims, &result)) return;
    const Tensor dkernel = call.Output(0, dims), x = call.Input(0), dy = call.Input(1);
    if (!call.ok()) return;
    const Share share;
    c.threads = share.threads();
    const auto run =
        Fastest(c, c.out, avx512::KernelGradient, avx512narrow::KernelGradient, avx2::KernelGradient, plain::KernelGradient);
    run(c, Data(x), Data(dy), Data(dkernel));
  }
};

[[maybe_unused]] const bool registered = [] {
  Register<ConvolutionOp>("MmtConvolution", {"x", "kernel", "offset", "residual"}, {"y"},
                          {"stride: int", "padding: int", "relu: bool"}, ShapesLike<-1>);
  Register<InputGradOp>("MmtConvolutionInputGrad", {"dy", "kernel"}, {"dx"},
                        {"stride: int", "padding: int", "height: int", "width: int"}, ShapesLike<-1>);
  Register<KernelGradOp>("MmtConvolutionKernelGrad", {"x", "dy"}, {"dkernel"},
                         {"stride: int", "padding: int", "height: int", "width: int"}, ShapesLike<-1>);
  return true;
}();

}  // namespace
