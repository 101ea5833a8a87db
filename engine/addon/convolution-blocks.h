// How convolution.cc goes through images: in blocks of places whose windows are in the cache together.
#pragma once
#include <stdint.h>
#include <string.h>

#include <vector>

#include "memory.h"

namespace {

struct Convolution {
  int64_t images, height, width, in, outHeight, outWidth, out, kernelHeight, kernelWidth, stride, padding;
  int threads;
};

// Whether convolution-winograd.h has it: from 32 channels on the products are the greater part of the work.
inline bool ByWinograd(const Convolution &c) {
  return c.stride == 1 && c.kernelHeight == 3 && c.kernelWidth == 3 && c.in % 16 == 0 && c.out % 16 == 0 && c.in >= 32 &&
         c.out >= 32;
}

inline int64_t Parts(int64_t count, int64_t most) { return (count + most - 1) / most; }

// Images [n, height, width, channels] seen through windows: the window of place (y, x) of a grid starts at (y · stride − top,
// x · stride − left); what is beside the image is 0.
struct View {
  int64_t images, height, width, channels;
  int64_t gridHeight, gridWidth, stride, top, left, windowHeight, windowWidth;

  bool inside() const {
    return top <= 0 && left <= 0 && (gridHeight - 1) * stride - top + windowHeight <= height &&
           (gridWidth - 1) * stride - left + windowWidth <= width;
  }
  int64_t depth() const { return windowHeight * windowWidth * channels; }
};

// A block of places: some images, and of these some rows of the grid; and what the windows of these see.
struct Block {
  int64_t image, images, y, rows;
  const float *from;
  // Numbers from one image to the next and from one row to the next.
  int64_t perImage, perRow;
};

struct Blocks {
  const View view;
  int64_t images, rows, bands, count;

  Blocks(const View &v, int64_t places) : view(v) {
    rows = places / v.gridWidth < 1 ? 1 : places / v.gridWidth;
    images = 1;
    if (rows >= v.gridHeight) {
      rows = v.gridHeight;
      images = places / (rows * v.gridWidth) < 1 ? 1 : places / (rows * v.gridWidth);
    }
    rows = Parts(v.gridHeight, Parts(v.gridHeight, rows));
    bands = Parts(v.gridHeight, rows);
    count = Parts(v.images, images) * bands;
  }
  int64_t mostPlaces() const { return images * rows * view.gridWidth; }
  int64_t paddedWidth() const { return (view.gridWidth - 1) * view.stride + view.windowWidth; }
  int64_t paddedRows() const { return (rows - 1) * view.stride + view.windowHeight; }
  int64_t bufferSize() const { return view.inside() ? 0 : images * paddedRows() * paddedWidth() * view.channels; }

  // The block's number i; what its windows see is copied with its border of zeros where there is one.
  Block At(int64_t i, const float *x, float *buffer) const {
    const View &v = view;
    Block b;
    b.image = i / bands * images;
    b.images = b.image + images > v.images ? v.images - b.image : images;
    b.y = i % bands * rows;
    b.rows = b.y + rows > v.gridHeight ? v.gridHeight - b.y : rows;
    if (v.inside()) {
      b.perRow = v.width * v.channels;
      b.perImage = v.height * b.perRow;
      b.from = x + b.image * b.perImage + (b.y * v.stride - v.top) * b.perRow - v.left * v.channels;
      return b;
    }
    b.perRow = paddedWidth() * v.channels;
    b.perImage = paddedRows() * b.perRow;
    b.from = buffer;
    const int64_t begin = v.left > 0 ? v.left : 0;
    const int64_t most = v.width + v.left < paddedWidth() ? v.width + v.left : paddedWidth(), end = most > begin ? most : begin;
    for (int64_t n = 0; n < b.images; n++)
      for (int64_t r = 0; r < (b.rows - 1) * v.stride + v.windowHeight; r++) {
        float *to = buffer + n * b.perImage + r * b.perRow;
        const int64_t y = b.y * v.stride - v.top + r;
        if (y < 0 || y >= v.height) {
          memset(to, 0, b.perRow * sizeof(float));
          continue;
        }
        memset(to, 0, begin * v.channels * sizeof(float));
        memcpy(to + begin * v.channels, x + (((b.image + n) * v.height + y) * v.width + begin - v.left) * v.channels,
               (end - begin) * v.channels * sizeof(float));
        memset(to + end * v.channels, 0, (paddedWidth() - end) * v.channels * sizeof(float));
      }
    return b;
  }
};

// Where the results of a grid's places are: place (y, x) at (y · stride + top, x · stride + left) of images [n, height, width,
// channels].
struct Target {
  float *to;
  int64_t height, width, channels, stride, top, left;
};

inline View ViewOf(const Convolution &c) {
  return {c.images, c.height,  c.width,   c.in,           c.outHeight,  c.outWidth,
          c.stride, c.padding, c.padding, c.kernelHeight, c.kernelWidth};
}

// Of one axis: the pixels whose windows' places are all in phase, and the taps of the kernel that meet them.
struct Phase {
  int64_t tap, taps, begin, count, before;

  Phase(int64_t phase, int64_t size, int64_t kernel, int64_t stride, int64_t padding) : tap(phase) {
    taps = kernel > phase ? Parts(kernel - phase, stride) : 0;
    begin = ((phase - padding) % stride + stride) % stride;
    count = size > begin ? Parts(size - begin, stride) : 0;
    // Of the first pixel's places, how far the first one is before the grid.
    before = taps - 1 - (begin + padding - phase) / stride;
  }
};

// Where the windows of a block's places start.
inline void Starts(const Convolution &c, const Block &b, std::vector<int> &at) {
  at.clear();
  for (int64_t n = 0; n < b.images; n++)
    for (int64_t y = 0; y < b.rows; y++)
      for (int64_t p = 0; p < c.outWidth; p++) at.push_back(n * b.perImage + (y * b.perRow + p * c.in) * c.stride);
}

}  // namespace
