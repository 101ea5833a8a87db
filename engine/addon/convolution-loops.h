// The loops of convolution.cc, which includes this file once for each instruction set. Images are float32 in TensorFlow's
// layout [N, H, W, C], kernels [height, width, in, out]. Each number is summed in an order that depends on the shapes alone:
// equal bytes for any number of threads, and on all CPUs with FMA.
#include "convolution-tiles.h"
#include "convolution-products.h"
#include "convolution-winograd.h"

// y = x * kernel (+ offset, + residual, rectified).
void Forward(const Convolution &c, const float *x, const float *kernel, const float *offset, const float *residual, bool relu,
             float *y) {
  const View view = ViewOf(c);
  const auto multiply = ByWinograd(c) ? MultiplyByWinograd : Multiply;
  Memory panels(Parts(c.out, kPanel) * kPanel * view.depth());
  Pack(view.depth(), c.out, 1, [&](int64_t r) { return kernel + r * c.out; }, panels.data(), c.threads);
  multiply(view, x, panels.data(), {y, c.outHeight, c.outWidth, c.out, 1, 0, 0}, {offset, residual, y, relu}, c.threads);
}

// dx: of each phase of the stride a convolution of dy by the taps that meet it, in reverse.
void InputGradient(const Convolution &c, const float *dy, const float *kernel, float *dx) {
  if (c.stride > c.kernelHeight || c.stride > c.kernelWidth)
    memset(dx, 0, c.images * c.height * c.width * c.in * sizeof(float));
  const auto multiply = ByWinograd(c) ? MultiplyByWinograd : Multiply;
  Memory panels(Parts(c.in, kPanel) * kPanel * c.kernelHeight * c.kernelWidth * c.out);
  for (int64_t phaseY = 0; phaseY < c.stride; phaseY++)
    for (int64_t phaseX = 0; phaseX < c.stride; phaseX++) {
      const Phase down(phaseY, c.height, c.kernelHeight, c.stride, c.padding);
      const Phase along(phaseX, c.width, c.kernelWidth, c.stride, c.padding);
      if (down.taps * along.taps * down.count * along.count == 0) continue;
      const View view = {c.images, c.outHeight, c.outWidth,   c.out,     down.count, along.count,
                         1,        down.before, along.before, down.taps, along.taps};
      const auto row = [&](int64_t r) {
        const int64_t tapY = down.tap + c.stride * (down.taps - 1 - r / c.out / along.taps);
        const int64_t tapX = along.tap + c.stride * (along.taps - 1 - r / c.out % along.taps);
        return kernel + (tapY * c.kernelWidth + tapX) * c.in * c.out + r % c.out;
      };
      Pack(view.depth(), c.in, c.out, row, panels.data(), c.threads);
      multiply(view, dy, panels.data(), {dx, c.height, c.width, c.in, c.stride, down.begin, along.begin}, {}, c.threads);
    }
}

// The gradient of the kernel.
void KernelGradient(const Convolution &c, const float *x, const float *dy, float *out) {
  (ByWinograd(c) ? SumKernelByWinograd : SumKernel)(c, x, dy, out);
}
