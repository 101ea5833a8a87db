// The loops of greatest.cc, which includes this file once for each instruction set. A matrix is row-major.

// Puts a value into a list of `count` in descending order, whose last one it takes the place of. Of equal ones the first comes first.
inline void Insert(float value, int32_t index, int64_t count, float *values, int32_t *indices) {
  int64_t at = count - 1;
  for (; at > 0 && values[at - 1] < value; at--) values[at] = values[at - 1], indices[at] = indices[at - 1];
  values[at] = value, indices[at] = index;
}

// One pass for the lists of all rows and all columns. A row's floor, and in `column_floors` a column's, is what a value must be
// above to get into its list; it rises to the list's last value.
void Greatest(const float *__restrict matrix, int64_t height, int64_t width, int64_t count,
              const float *__restrict row_floors, const Lists &rows, float *__restrict column_floors, const Lists &columns) {
  constexpr int64_t kAtOnce = 32;
  for (int64_t i = 0; i < height; i++) {
    float floor = row_floors[i];
    for (int64_t start = 0; start < width; start += kAtOnce) {
      const int64_t end = start + kAtOnce < width ? start + kAtOnce : width;
      const float *values = matrix + i * width;
      if (end == start + kAtOnce) {
        int above = 0;
        for (int64_t j = start; j < start + kAtOnce; j++) above |= (values[j] > floor) | (values[j] > column_floors[j]);
        if (!above) continue;
      }
      for (int64_t j = start; j < end; j++) {
        const float value = values[j];
        if (value > floor) {
          Insert(value, (int32_t)j, count, rows.values + i * count, rows.indices + i * count);
          floor = std::max(floor, rows.values[(i + 1) * count - 1]);
        }
        if (value > column_floors[j]) {
          Insert(value, (int32_t)i, count, columns.values + j * count, columns.indices + j * count);
          column_floors[j] = std::max(column_floors[j], columns.values[(j + 1) * count - 1]);
        }
      }
    }
  }
}
