/**
 * Convolutions with PyTorch's geometry, on images in TensorFlow's layout (NHWC): square strides, borders of zeros. On the CPU
 * each is one op of `addon/convolution.cc`; on a GPU it is composed of TensorFlow's own.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { bordered } from "#engine/border.ts"
import { type After, followed } from "#engine/normalisation.ts"
import { backendOf, runOp } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

type Images = tfjs.Tensor4D

/**
 * A 2-D convolution without bias, as PyTorch's Conv2d. `x` [N, H, W, in], `kernel` [height, width, in, out]; `padding` zeros on
 * each side.
 */
export type Convolve = (tf: TensorFlow, x: Images, kernel: Images, stride: number, padding: number) => Images

/** The same with a bias [out] and what follows it, for inference: it has no gradient. */
export type ConvolveBiased = (
  tf: TensorFlow,
  x: Images,
  kernel: Images,
  stride: number,
  padding: number,
  bias: tfjs.Tensor,
  after: After
) => Images

export const conv2d: Convolve = (tf, ...given) =>
  (backendOf(tf).isUsingGpuDevice ? composedConv2d : ownConv2d)(tf, ...given)

export const biasedConv2d: ConvolveBiased = (tf, ...given) =>
  (backendOf(tf).isUsingGpuDevice ? composedBiasedConv2d : ownBiasedConv2d)(tf, ...given)

/** By TensorFlow's ops, on any device. (TensorFlow's 'same' pads strided convolutions otherwise than PyTorch.) */
export const composedConv2d: Convolve = (tf, x, kernel, stride, padding) => {
  if (padding === 0) return tf.conv2d(x, kernel, stride, "valid")
  if (stride === 1 && kernel.shape[0] === 2 * padding + 1 && kernel.shape[1] === kernel.shape[0])
    return tf.conv2d(x, kernel, 1, "same")
  return tf.conv2d(bordered(tf, x, padding, 0), kernel, stride, "valid")
}

const biasAdd = { T: { type: "float32" }, data_format: { string: "NHWC" } } as const

export const composedBiasedConv2d: ConvolveBiased = (tf, x, kernel, stride, padding, bias, after) => {
  const [biased] = runOp(tf, "BiasAdd", biasAdd, [composedConv2d(tf, x, kernel, stride, padding), bias], 1)
  return followed(tf, biased as Images, after)
}

const geometry = (stride: number, padding: number) => ({ stride: { int: stride }, padding: { int: padding } })

/** By the CPU's own ops. */
export const ownBiasedConv2d: ConvolveBiased = (tf, x, kernel, stride, padding, bias, { residual, relu = false }) => {
  const attributes = { ...geometry(stride, padding), relu: { bool: relu } }
  const [y] = runOp(tf, "MmtConvolution", attributes, [x, kernel, bias, residual ?? tf.tensor1d([])], 1)
  return y as Images
}

export const ownConv2d: Convolve = (tf, x, kernel, stride, padding) => {
  const op = tf.customGrad((...given) => {
    const save = given.pop() as tfjs.GradSaveFunc
    const [input, weight] = given as [Images, Images]
    save([input, weight])
    const gradFunc = (dy: tfjs.Tensor, saved: Array<tfjs.Tensor>) => {
      const [x, kernel] = saved as [Images, Images]
      const sized = ([height, width]: ReadonlyArray<number>) => ({
        ...geometry(stride, padding),
        height: { int: height! },
        width: { int: width! }
      })
      const [dx] = runOp(tf, "MmtConvolutionInputGrad", sized(x.shape.slice(1)), [dy, kernel], 1)
      const [dKernel] = runOp(tf, "MmtConvolutionKernelGrad", sized(kernel.shape), [x, dy], 1)
      return [dx, dKernel]
    }
    return { value: ownBiasedConv2d(tf, input, weight, stride, padding, tf.tensor1d([]), {}), gradFunc }
  })
  return op(x, kernel) as Images
}
