// Memory for a kernel's own use while it works.
#pragma once
#include <stdint.h>
#include <stdlib.h>

#include <mutex>
#include <vector>

namespace {

// `count` numbers from where a cache line begins. They take the place of earlier ones that nobody needs any more: the pages of
// new memory cost more time than some kernels take.
class Memory {
 public:
  explicit Memory(int64_t count) {
    while (Bytes() < count * static_cast<int64_t>(sizeof(float))) size_++;
    const std::lock_guard<std::mutex> lock(mutex);
    std::vector<float *> &left = unused[size_];
    if (left.empty()) {
      data_ = static_cast<float *>(aligned_alloc(64, Bytes()));
    } else {
      data_ = left.back();
      left.pop_back();
    }
  }
  ~Memory() {
    const std::lock_guard<std::mutex> lock(mutex);
    unused[size_].push_back(data_);
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  float *data() const { return data_; }

 private:
  int64_t Bytes() const { return int64_t{64} << size_; }

  static inline std::mutex mutex;
  // By size.
  static inline std::vector<float *> unused[48];
  int size_ = 0;
  float *data_;
};

}  // namespace
