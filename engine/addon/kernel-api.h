// What kernel.h calls of TensorFlow's C API for kernels. Its own header, tensorflow/c/kernels.h, includes C++ headers that
// the engine does not unpack; the functions are part of the stable C API.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "tensorflow/c/tf_datatype.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

extern "C" {
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;

TF_KernelBuilder *TF_NewKernelBuilder(const char *op, const char *device, void *(*create)(TF_OpKernelConstruction *),
                                      void (*compute)(void *, TF_OpKernelContext *), void (*destroy)(void *));
void TF_RegisterKernelBuilder(const char *name, TF_KernelBuilder *builder, TF_Status *status);

void TF_OpKernelConstruction_GetAttrFloat(TF_OpKernelConstruction *, const char *name, float *value, TF_Status *);
void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction *, const char *name, int64_t *value, TF_Status *);
void TF_OpKernelConstruction_GetAttrBool(TF_OpKernelConstruction *, const char *name, unsigned char *value, TF_Status *);
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction *, TF_Status *);

void TF_GetInput(TF_OpKernelContext *, int index, TF_Tensor **tensor, TF_Status *);
TF_Tensor *TF_AllocateOutput(TF_OpKernelContext *, int index, TF_DataType, const int64_t *dims, int rank, size_t bytes,
                             TF_Status *);
TF_Tensor *TF_ForwardInputOrAllocateOutput(TF_OpKernelContext *, const int *candidates, int count, int index,
                                           const int64_t *dims, int rank, int *forwarded, TF_Status *);
void TF_OpKernelContext_Failure(TF_OpKernelContext *, TF_Status *);
}
