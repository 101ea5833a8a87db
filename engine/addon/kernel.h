// What the kernels of this folder share: one call of a kernel, the attributes of its op, and its registration with TensorFlow.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <initializer_list>
#include <string>
#include <thread>
#include <vector>

#include "handles.h"
#include "kernel-api.h"
#include "tensorflow/c/ops.h"

namespace {

// Whether the loops that are compiled for an instruction set may be used: MMT_MAX_CPU_ISA ("plain", "avx2", "avx512") leaves out
// those beyond it.
inline bool Allowed(const char *name) {
  const char *most = getenv("MMT_MAX_CPU_ISA");
  return !most || strcmp(most, "avx512") == 0 || strcmp(most, name) == 0;
}
// Whether this CPU runs the loops for AVX2.
inline bool HasAvx2() {
  static const bool has = Allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}
// Whether it runs those for AVX-512.
inline bool HasAvx512() {
  static const bool has = HasAvx2() && Allowed("avx512") && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw");
  return has;
}

// As many threads as TensorFlow shares an op among.
inline int Threads() {
  static const int threads = [] {
    const char *given = getenv("TF_NUM_INTRAOP_THREADS");
    const int asked = given ? atoi(given) : 0;
    return asked > 0 ? asked : (int)std::thread::hardware_concurrency();
  }();
  return threads;
}

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
inline int64_t Size(const Tensor &tensor) { return tensor ? TF_TensorElementCount(tensor.get()) : 0; }

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
inline std::string Typed(const std::string &text) { return text.find(':') == std::string::npos ? text + ": float" : text; }

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

}  // namespace
