// Ops that TensorFlow has no fast kernel for on the CPU, registered with it when the addon loads:
//   MmtBatchNorm       batch normalisation by the batch's statistics, which move the running ones, with a residual and a ReLU
//   MmtBatchNormGrad   its gradient
//   MmtAdam            one step of Adam
//   MmtBlend           a · x + b · y
//   MmtResize          an RGB image resized by PIL's bicubic interpolation
// Each is one pass or two over memory where TensorFlow's own ops take three to ten; TensorFlow's own bicubic resize rounds
// otherwise than PIL's.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernel-api.h"
#include "tensorflow/c/ops.h"

namespace {

struct Norm {
  int64_t rows, channels, groups;
  float epsilon;
  bool relu;
  int threads;
};

struct AdamRates {
  float stepSize, correction, weightDecay, beta1, rest1, beta2, rest2, epsilon;
  int threads;
};

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
#include "kernel-loops.h"
}
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "kernel-loops.h"
}
#pragma GCC pop_options

bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}

// As many threads as TensorFlow shares an op among.
int Threads() {
  static const int threads = [] {
    const char *given = getenv("TF_NUM_INTRAOP_THREADS");
    const int asked = given ? atoi(given) : 0;
    return asked > 0 ? asked : (int)std::thread::hardware_concurrency();
  }();
  return threads;
}

struct StatusDeleter {
  void operator()(TF_Status *status) const { TF_DeleteStatus(status); }
};
struct TensorDeleter {
  void operator()(TF_Tensor *tensor) const { TF_DeleteTensor(tensor); }
};
using Status = std::unique_ptr<TF_Status, StatusDeleter>;
using Tensor = std::unique_ptr<TF_Tensor, TensorDeleter>;

// One call of a kernel. After a failure, which TensorFlow is told of, its tensors are null.
class Call {
 public:
  explicit Call(TF_OpKernelContext *context) : context_(context), status_(TF_NewStatus()) {}

  Tensor Input(int index) {
    TF_Tensor *tensor = nullptr;
    if (ok()) TF_GetInput(context_, index, &tensor, status_.get());
    return Tensor(Checked(tensor));
  }

  // An output as large as `like`, in the memory of the first of these inputs that nothing else needs any more. It must be
  // asked for while no Tensor of them is held.
  Tensor Output(int index, const std::vector<int64_t> &dims, std::initializer_list<int> reuse = {},
                TF_DataType type = TF_FLOAT) {
    TF_Tensor *tensor = nullptr;
    int forwarded = -1;
    if (ok() && reuse.size() > 0)
      tensor = TF_ForwardInputOrAllocateOutput(context_, reuse.begin(), reuse.size(), index, dims.data(), dims.size(),
                                               &forwarded, status_.get());
    else if (ok())
      tensor = TF_AllocateOutput(context_, index, type, dims.data(), dims.size(),
                                 Count(dims) * TF_DataTypeSize(type), status_.get());
    return Tensor(Checked(tensor));
  }

  std::vector<int64_t> Dims(int index) {
    const Tensor tensor = Input(index);
    std::vector<int64_t> dims;
    for (int i = 0; tensor && i < TF_NumDims(tensor.get()); i++) dims.push_back(TF_Dim(tensor.get(), i));
    return dims;
  }

  void Fail(const char *message) {
    TF_SetStatus(status_.get(), TF_INVALID_ARGUMENT, message);
    Checked(nullptr);
  }

  bool ok() const { return TF_GetCode(status_.get()) == TF_OK; }

  static int64_t Count(const std::vector<int64_t> &dims) {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    return count;
  }

 private:
  TF_Tensor *Checked(TF_Tensor *tensor) {
    if (!ok()) TF_OpKernelContext_Failure(context_, status_.get());
    return tensor;
  }

  TF_OpKernelContext *context_;
  Status status_;
};

template <class T = float>
T *Data(const Tensor &tensor) {
  return static_cast<T *>(TF_TensorData(tensor.get()));
}
int64_t Size(const Tensor &tensor) { return tensor ? TF_TensorElementCount(tensor.get()) : 0; }

// Reads attributes of an op; the first that is missing fails its construction.
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction *construction) : construction_(construction), status_(TF_NewStatus()) {}
  ~Attributes() {
    if (TF_GetCode(status_.get()) != TF_OK) TF_OpKernelConstruction_Failure(construction_, status_.get());
  }
  float Float(const char *name) {
    float value = 0;
    if (ok()) TF_OpKernelConstruction_GetAttrFloat(construction_, name, &value, status_.get());
    return value;
  }
  int64_t Int(const char *name) {
    int64_t value = 1;
    if (ok()) TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status_.get());
    return value;
  }
  bool Bool(const char *name) {
    unsigned char value = 0;
    if (ok()) TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status_.get());
    return value;
  }

 private:
  bool ok() const { return TF_GetCode(status_.get()) == TF_OK; }
  TF_OpKernelConstruction *construction_;
  Status status_;
};

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

struct AdamOp {
  AdamRates rates;
  explicit AdamOp(Attributes a) {
    // 1 − β is rounded once, from float64, as PyTorch does.
    const double beta1 = a.Float("beta1"), beta2 = a.Float("beta2");
    rates = {0, 1, a.Float("weight_decay"), (float)beta1, a.Float("rest1"), (float)beta2, a.Float("rest2"), a.Float("epsilon"), 1};
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

// Each of these outputs has the shape of the input of the same entry in `Like`; all others are unknown before they are there.
template <int... Like>
void ShapesLike(TF_ShapeInferenceContext *context, TF_Status *status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
  int output = 0;
  for (const int input : {Like...}) {
    TF_ShapeHandle *shape = TF_NewShapeHandle();
    if (TF_GetCode(status) == TF_OK && input >= 0) {
      TF_ShapeInferenceContextGetInput(context, input, shape, status);
      if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, output, shape, status);
    }
    TF_DeleteShapeHandle(shape);
    output++;
  }
}

template <class Op>
void *Create(TF_OpKernelConstruction *construction) {
  return new Op(Attributes(construction));
}
template <class Op>
void Compute(void *op, TF_OpKernelContext *context) {
  Call call(context);
  (*static_cast<Op *>(op))(call);
}
template <class Op>
void Delete(void *op) {
  delete static_cast<Op *>(op);
}

using Texts = std::initializer_list<const char *>;

// Inputs and outputs are float32 where their text names no type.
std::string Typed(const std::string &text) { return text.find(':') == std::string::npos ? text + ": float" : text; }

template <class Op>
void Register(const char *name, const Texts &inputs, const Texts &outputs, const Texts &attributes,
              void (*shapes)(TF_ShapeInferenceContext *, TF_Status *)) {
  const Status status(TF_NewStatus());
  TF_OpDefinitionBuilder *definition = TF_NewOpDefinitionBuilder(name);
  for (const char *input : inputs) TF_OpDefinitionBuilderAddInput(definition, Typed(input).c_str());
  for (const char *output : outputs) TF_OpDefinitionBuilderAddOutput(definition, Typed(output).c_str());
  for (const char *attribute : attributes) TF_OpDefinitionBuilderAddAttr(definition, attribute);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, shapes);
  TF_RegisterOpDefinition(definition, status.get());
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", Create<Op>, Compute<Op>, Delete<Op>), status.get());
}

[[maybe_unused]] const bool registered = [] {
  Register<BatchNormOp>("MmtBatchNorm", {"x", "scale", "shift", "running_mean", "running_variance", "residual"},
                        {"y", "mean", "variance", "moved_mean", "moved_variance"},
                        {"relu: bool", "groups: int", "epsilon: float", "momentum: float"}, ShapesLike<0, -1, -1, 3, 4>);
  Register<BatchNormGradOp>("MmtBatchNormGrad", {"dy", "x", "y", "scale", "shift", "mean", "variance"},
                            {"dx", "dscale", "dshift", "dresidual"},
                            {"relu: bool", "residual: bool", "groups: int", "epsilon: float"}, ShapesLike<1, 3, 3>);
  Register<AdamOp>("MmtAdam", {"variable", "m", "v", "gradient", "step_size", "correction"}, {"moved", "moved_m", "moved_v"},
                   {"weight_decay: float", "beta1: float", "rest1: float", "beta2: float", "rest2: float", "epsilon: float"},
                   ShapesLike<0, 0, 0>);
  Register<BlendOp>("MmtBlend", {"x", "y", "a", "b"}, {"blended"}, {}, ShapesLike<0>);
  Register<ResizeOp>("MmtResize", {"image: uint8"}, {"resized: uint8"}, {"height: int", "width: int"}, ShapesLike<-1>);
  return true;
}();

}  // namespace
