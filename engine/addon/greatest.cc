// MmtGreatest: of each row of a matrix its greatest values above a floor, and of each column, in one pass. TensorFlow's own choice of
// the greatest takes as long as half the matrix product before it, and for the columns it needs the matrix on its side.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "kernel.h"

namespace {

// Lists of one length, one after the other: values in descending order, and where they are.
struct Lists {
  float *values;
  int32_t *indices;
};

namespace plain {
#include "greatest-loops.h"
}
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "greatest-loops.h"
}
#pragma GCC pop_options

struct GreatestOp {
  int64_t count;
  explicit GreatestOp(Attributes a) : count(a.Int("count")) {}

  void operator()(Call &call) const {
    constexpr float kLeast = -std::numeric_limits<float>::infinity();
    const auto dims = call.Dims(0);
    if (dims.size() != 2 || count < 1) return call.Fail("expected a matrix, and lists of at least one value");
    const int64_t height = dims[0], width = dims[1];
    const Tensor matrix = call.Input(0), row_floors = call.Input(1), column_floors = call.Input(2);
    if (!call.ok()) return;
    if (Size(row_floors) != height || Size(column_floors) != width)
      return call.Fail("expected a floor for each row and for each column");
    const Tensor row_values = call.Output(0, {height, count}), row_indices = call.Output(1, {height, count}, {}, TF_INT32);
    const Tensor column_values = call.Output(2, {width, count}),
                 column_indices = call.Output(3, {width, count}, {}, TF_INT32);
    if (!call.ok()) return;
    const Lists by_row = {Data(row_values), Data<int32_t>(row_indices)};
    const Lists by_column = {Data(column_values), Data<int32_t>(column_indices)};
    for (const auto &[lists, of] : {std::pair(by_row, height), std::pair(by_column, width)}) {
      std::fill_n(lists.values, of * count, kLeast);
      std::fill_n(lists.indices, of * count, -1);
    }
    std::vector<float> floors(Data(column_floors), Data(column_floors) + width);
    const auto run = HasAvx2() ? avx2::Greatest : plain::Greatest;
    run(Data(matrix), height, width, count, Data(row_floors), by_row, floors.data(), by_column);
  }
};

[[maybe_unused]] const bool registered = [] {
  Register<GreatestOp>("MmtGreatest", {"matrix", "row_floors", "column_floors"},
                       {"row_values", "row_indices: int32", "column_values", "column_indices: int32"},
                       {"count: int"}, ShapesLike<-1, -1, -1, -1>);
  return true;
}();

}  // namespace
