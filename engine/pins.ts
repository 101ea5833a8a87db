/**
 * The wheels of the Python package index that the engine is made of, pinned by version, size and digest. The NVIDIA ones are
 * what `tensorflow[and-cuda]` 2.21.0 asks for, each in the newest version that it admits.
 */
import type { Flavour } from "#engine/layout.ts"
import { tensorflowVersion } from "#engine/layout.ts"

/** A wheel: its project and version, its size in bytes, its digest, and which of its files are wanted (shell patterns). */
export interface Wheel {
  readonly project: string
  readonly version: string
  readonly size: number
  readonly sha256: string
  readonly files: ReadonlyArray<string>
}

const tensorflowFiles = [
  "tensorflow/libtensorflow_cc.so.2",
  "tensorflow/libtensorflow_framework.so.2",
  "tensorflow/include/tensorflow/c/*",
  "tensorflow/include/tensorflow/core/platform/ctstring*",
  "tensorflow/include/tsl/platform/ctstring*",
  "tensorflow/include/xla/tsl/c/*"
]

function tensorflow(project: string, size: number, sha256: string): Wheel {
  return { project, version: tensorflowVersion, size, sha256, files: tensorflowFiles }
}

function nvidia(name: string, version: string, size: number, sha256: string): Wheel {
  return { project: `nvidia-${name}-cu12`, version, size, sha256, files: ["nvidia/*/lib/*", "nvidia/cuda_nvcc/*"] }
}

/** What each build of TensorFlow needs, in the order of installation: TensorFlow itself comes first. */
export const wheels: Readonly<Record<Flavour, ReadonlyArray<Wheel>>> = {
  cpu: [tensorflow("tensorflow-cpu", 273829956, "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c")],
  cuda: [
    tensorflow("tensorflow", 572440367, "9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124"),
    nvidia("cublas", "12.9.3.13", 581217458, "d7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72"),
    nvidia("cuda-cupti", "12.9.79", 10814997, "096bcf334f13e1984ba36685ad4c1d6347db214de03dbb6eebb237b41d9d934f"),
    nvidia("cuda-nvcc", "12.9.86", 40546229, "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0"),
    nvidia("cuda-nvrtc", "12.9.86", 89568129, "210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4"),
    nvidia("cuda-runtime", "12.9.79", 3493179, "25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3"),
    nvidia("cudnn", "9.28.0.42", 716538495, "9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375"),
    nvidia("cufft", "11.4.1.4", 200877592, "c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28"),
    nvidia("curand", "10.3.10.19", 68295626, "49b274db4780d421bd2ccd362e1415c13887c53c214f0d4b761752b8f9f6aa1e"),
    nvidia("cusolver", "11.7.5.82", 338117415, "15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88"),
    nvidia("cusparse", "12.5.10.65", 366465088, "73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78"),
    nvidia("nccl", "2.32.3", 351526311, "bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c"),
    nvidia("nvjitlink", "12.9.86", 39748338, "e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9")
  ]
}

/** The platforms that pip is told it may serve: wheels built for this glibc or an older one. */
export const platforms = [
  "manylinux_2_27_x86_64",
  "manylinux_2_25_x86_64",
  "manylinux_2_17_x86_64",
  "manylinux2014_x86_64",
  "manylinux_2_12_x86_64",
  "manylinux2010_x86_64"
]

/** The Python that pip is told it serves; the engine runs no Python, so any on the machine will do. */
export const pythonVersion = "3.11"
