// Ops that update variables, each in one pass over memory:
//   MmtAdam    one step of Adam
//   MmtBlend   a · x + b · y
#include "kernel.h"

namespace {

struct AdamRates {
  float stepSize, correction, weightDecay, beta1, rest1, beta2, rest2, epsilon;
  int threads;
};

namespace plain {
#include "updates-loops.h"
}
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "updates-loops.h"
}
#pragma GCC pop_options

struct AdamOp {
  AdamRates rates;
  explicit AdamOp(Attributes a) {
    rates = {0, 1, a.Float("weight_decay"), a.Float("beta1"), a.Float("rest1"), a.Float("beta2"), a.Float("rest2"),
             a.Float("epsilon"), 1};
  }

  void operator()(Call &call) const {
    AdamRates a = rates;
    const auto dims = call.Dims(0);
    for (int i = 1; i < 4; i++)
      if (call.ok() && call.Dims(i) != dims) return call.Fail("expected moments and gradient of the variable's shape");
    const Tensor step = call.Input(4), correction = call.Input(5);
    if (!call.ok()) return;
    if (Size(step) != 1 || Size(correction) != 1) return call.Fail("expected scalars for the step size and the correction");
    const Tensor p1 = call.Output(0, dims), m1 = call.Output(1, dims), v1 = call.Output(2, dims);
    const Tensor p = call.Input(0), m = call.Input(1), v = call.Input(2), gradient = call.Input(3);
    if (!call.ok()) return;
    a.stepSize = *Data(step), a.correction = *Data(correction), a.threads = Threads();
    const auto run = HasAvx2() ? avx2::Adam : plain::Adam;
    run(a, Size(p), Data(p), Data(m), Data(v), Data(gradient), Data(p1), Data(m1), Data(v1));
  }
};

struct BlendOp {
  explicit BlendOp(Attributes) {}

  void operator()(Call &call) const {
    const auto dims = call.Dims(0);
    if (call.Dims(1) != dims) return call.Fail("expected two tensors of one shape");
    const Tensor a = call.Input(2), b = call.Input(3), out = call.Output(0, dims);
    const Tensor x = call.Input(0), y = call.Input(1);
    if (!call.ok()) return;
    if (Size(a) != 1 || Size(b) != 1) return call.Fail("expected scalars for both weights");
    const auto run = HasAvx2() ? avx2::Blend : plain::Blend;
    run(Size(x), Threads(), *Data(a), Data(x), *Data(b), Data(y), Data(out));
  }
};

[[maybe_unused]] const bool registered = [] {
  Register<AdamOp>("MmtAdam", {"variable", "m", "v", "gradient", "step_size", "correction"}, {"moved", "moved_m", "moved_v"},
                   {"weight_decay: float", "beta1: float", "rest1: float", "beta2: float", "rest2: float", "epsilon: float"},
                   ShapesLike<0, 0, 0>);
  Register<BlendOp>("MmtBlend", {"x", "y", "a", "b"}, {"blended"}, {}, ShapesLike<0>);
  return true;
}();

}  // namespace
