// Ops of batch normalisation by the batch's statistics, which TensorFlow has no fast kernel for on the CPU:
//   MmtBatchNorm       moves the running statistics, adds a residual and rectifies in the same pass
//   MmtBatchNormGrad   its gradient
// They take two passes over memory where TensorFlow's own ops take up to ten.
#include "kernel.h"

namespace {

struct Norm {
  int64_t rows, channels, groups;
  float epsilon;
  bool relu;
  int threads;
};

namespace plain {
#include "normalisation-loops.h"
}
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "normalisation-loops.h"
}
#pragma GCC pop_options

// The matrix that a tensor [.., channels] is to a normalisation.
bool Fit(Call &call, Norm &n, const std::vector<int64_t> &dims, int64_t scales) {
  n.channels = dims.empty() ? 0 : dims.back();
  n.rows = n.channels > 0 ? Call::Count(dims) / n.channels : 0;
  n.threads = Threads();
  if (n.channels != scales || n.rows == 0 || n.groups < 1 || n.rows % n.groups != 0)
    call.Fail("expected x [.., channels] of at least one row, scale [channels], and groups that divide the rows");
  return call.ok();
}

struct BatchNormOp {
  Norm norm;
  float momentum;
  explicit BatchNormOp(Attributes a) : momentum(a.Float("momentum")) {
    norm = {0, 0, a.Int("groups"), a.Float("epsilon"), a.Bool("relu"), 1};
  }

  void operator()(Call &call) const {
    Norm n = norm;
    const auto dims = call.Dims(0), other = call.Dims(5), moving = call.Dims(3);
    if (!Fit(call, n, dims, Call::Count(call.Dims(1)))) return;
    const bool residual = Call::Count(other) > 0, moves = Call::Count(moving) > 0;
    if (residual && other != dims) return call.Fail("expected a residual of x's shape");
    const Tensor y = call.Output(0, dims, {0});
    const std::vector<int64_t> statistics = {n.groups * n.channels};
    const Tensor mean = call.Output(1, statistics), variance = call.Output(2, statistics);
    const Tensor moved_mean = call.Output(3, moving), moved_variance = call.Output(4, moving);
    const Tensor x = call.Input(0), scale = call.Input(1), shift = call.Input(2), from = call.Input(5);
    const Tensor running_mean = call.Input(3), running_variance = call.Input(4);
    if (!call.ok()) return;
    const auto run = HasAvx2() ? avx2::BatchNorm : plain::BatchNorm;
    run(n, Data(x), residual ? Data(from) : nullptr, Data(scale), Data(shift), Data(y), Data(mean), Data(variance));
    if (!moves) return;
    const int64_t rows = n.rows / n.groups;
    const float unbiased = rows > 1 ? (float)rows / (rows - 1) : 1;
    for (int64_t c = 0; c < n.channels; c++) {
      Data(moved_mean)[c] = Data(running_mean)[c] * (1 - momentum) + Data(mean)[c] * momentum;
      Data(moved_variance)[c] = Data(running_variance)[c] * (1 - momentum) + Data(variance)[c] * unbiased * momentum;
    }
  }
};

struct BatchNormGradOp {
  Norm norm;
  bool residual;
  explicit BatchNormGradOp(Attributes a) : residual(a.Bool("residual")) {
    norm = {0, 0, a.Int("groups"), a.Float("epsilon"), a.Bool("relu"), 1};
  }

  void operator()(Call &call) const {
    Norm n = norm;
    const auto dims = call.Dims(1);
    if (!Fit(call, n, dims, Call::Count(call.Dims(3)))) return;
    if (call.Dims(0) != dims) return call.Fail("expected a gradient of x's shape");
    const bool masked = n.relu && residual;
    if (masked && call.Dims(2) != dims) return call.Fail("expected y of x's shape");
    // What is written in the first pass must not be read in the second one.
    const Tensor dz = masked ? call.Output(3, dims, {0}) : call.Output(3, {0});
    const Tensor dx = masked ? call.Output(0, dims) : call.Output(0, dims, {0});
    const Tensor dscale = call.Output(1, {n.channels}), dshift = call.Output(2, {n.channels});
    const Tensor dy = call.Input(0), x = call.Input(1), y = call.Input(2), scale = call.Input(3), shift = call.Input(4);
    const Tensor mean = call.Input(5), variance = call.Input(6);
    if (!call.ok()) return;
    const auto run = HasAvx2() ? avx2::BatchNormGradient : plain::BatchNormGradient;
    run(n, Data(dy), Data(x), masked ? Data(y) : nullptr, Data(scale), Data(shift), Data(mean), Data(variance), Data(dx),
        Data(dscale), Data(dshift), masked ? Data(dz) : nullptr);
  }
};

[[maybe_unused]] const bool registered = [] {
  Register<BatchNormOp>("MmtBatchNorm", {"x", "scale", "shift", "running_mean", "running_variance", "residual"},
                        {"y", "mean", "variance", "moved_mean", "moved_variance"},
                        {"relu: bool", "groups: int", "epsilon: float", "momentum: float"}, ShapesLike<0, -1, -1, 3, 4>);
  Register<BatchNormGradOp>("MmtBatchNormGrad", {"dy", "x", "y", "scale", "shift", "mean", "variance"},
                            {"dx", "dscale", "dshift", "dresidual"},
                            {"relu: bool", "residual: bool", "groups: int", "epsilon: float"}, ShapesLike<1, 3, 3>);
  return true;
}();

}  // namespace
