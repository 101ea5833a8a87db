// The loops of updates.cc, which includes this file once for each instruction set. All arrays are float32.

// Fewer numbers than this are not worth a second thread.
constexpr int64_t kShared = 1 << 16;

// Adam as torch.optim.Adam: weight decay is added to the gradient, ε to the root of the corrected second moment.
void Adam(const AdamRates &a, int64_t size, const float *__restrict p, const float *__restrict m, const float *__restrict v,
          const float *__restrict gradient, float *__restrict p1, float *__restrict m1, float *__restrict v1) {
#pragma omp parallel for num_threads(a.threads) schedule(static) if (a.threads > 1 && size > kShared)
  for (int64_t i = 0; i < size; i++) {
    const float g = gradient[i] + p[i] * a.weightDecay;
    m1[i] = m[i] * a.beta1 + g * a.rest1;
    v1[i] = v[i] * a.beta2 + g * g * a.rest2;
    p1[i] = p[i] - m1[i] / (sqrtf(v1[i]) / a.correction + a.epsilon) * a.stepSize;
  }
}

// a · x + b · y.
void Blend(int64_t size, int threads, float a, const float *__restrict x, float b, const float *__restrict y,
           float *__restrict out) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && size > kShared)
  for (int64_t i = 0; i < size; i++) out[i] = a * x[i] + b * y[i];
}
