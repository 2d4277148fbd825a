// View and ConstView: pointer, dtype, dims, device. Contiguous (last dim fastest), own nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/check.h"
#include "core/device.h"

namespace weft {

enum class DType : std::uint8_t { f32, bf16, f16, f64, i8, u8, u16, i32, i64 };

std::size_t dtype_bytes(DType dtype);
std::string_view dtype_name(DType dtype);  // "fp32", "bf16", … as the command line spells them

// Storage-only 16-bit floats; arithmetic happens in fp32.
struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};
float to_float(BFloat16 x);
float to_float(Float16 x);
BFloat16 to_bfloat16(float x);  // round to nearest even; NaN stays NaN
Float16 to_float16(float x);    // round to nearest even; overflow to infinity

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<Float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<std::int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<std::uint16_t> {
  static constexpr DType value = DType::u16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};

constexpr int kMaxRank = 5;

// The dims of a tensor; at most kMaxRank of them.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> dims)
      : Dims(std::span<const std::int64_t>(dims.begin(), dims.size())) {}
  explicit Dims(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t elems() const;  // 1 for rank 0
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }
  std::string str() const;  // "(2, 3, 4)"
  friend bool operator==(const Dims& a, const Dims& b);

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

// Pointer is `void*` (View) or `const void*` (ConstView).
template <class Pointer>
class BasicView {
  static constexpr bool kConst = std::is_same_v<Pointer, const void*>;
  template <class T>
  using Elem = std::conditional_t<kConst, const T, T>;

 public:
  BasicView() = default;  // the empty view: what an absent optional tensor is
  BasicView(Pointer data, DType dtype, Dims shape, Device device = {})
      : data_(data), shape_(shape), dtype_(dtype), device_(device) {}
  template <class T>
  BasicView(T* data, Dims shape)
      : BasicView(static_cast<Pointer>(data), DTypeOf<std::remove_const_t<T>>::value, shape) {}
  template <class Other>
  requires(kConst&& std::is_same_v<Other, void*>)
      BasicView(const BasicView<Other>& other)  // a View is a ConstView
      : BasicView(other.data(), other.dtype(), other.shape(), other.device()) {}

  bool empty() const { return data_ == nullptr; }
  explicit operator bool() const { return data_ != nullptr; }
  Pointer data() const { return data_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  const Dims& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  std::int64_t dim(int i) const { return shape_[i]; }
  std::int64_t elems() const { return shape_.elems(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elems()) * dtype_bytes(dtype_); }

  // auto [B, T, C] = x.dims<3>();   binds and checks the rank
  template <std::size_t N>
  std::array<std::int64_t, N> dims() const {
    CHECK(static_cast<std::size_t>(shape_.rank()) == N, "expected {} dims, got {}", N,
          shape_.str());
    std::array<std::int64_t, N> out;
    for (std::size_t i = 0; i < N; ++i) out[i] = shape_[static_cast<int>(i)];
    return out;
  }

  // The typed pointer, for the host to read; checks the dtype and that it can (else:
  // core/staging.h, core/host_copy.h).
  template <class T>
  Elem<T>* as() const {
    CHECK(device_.type == DeviceType::cpu, "{} in a GPU's memory is read by the host",
          shape_.str());
    CHECK(dtype_ == DTypeOf<T>::value, "expected {}, got {} {}", dtype_name(DTypeOf<T>::value),
          dtype_name(dtype_), shape_.str());
    return static_cast<Elem<T>*>(data_);
  }

  // The same elements under other dims.
  BasicView reshape(Dims shape) const {
    CHECK(shape.elems() == elems(), "cannot reshape {} to {}", shape_.str(), shape.str());
    return {data_, dtype_, shape, device_};
  }

  // Rows [begin, end) of the first dim.
  BasicView rows(std::int64_t begin, std::int64_t end) const {
    CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0], "rows {}..{} of {}", begin,
          end, shape_.str());
    Dims shape = shape_;
    shape[0] = end - begin;
    const std::size_t row_bytes =
        shape_[0] == 0 ? 0 : bytes() / static_cast<std::size_t>(shape_[0]);
    using Byte = std::conditional_t<kConst, const std::byte, std::byte>;
    return {static_cast<Byte*>(data_) + static_cast<std::size_t>(begin) * row_bytes, dtype_, shape,
            device_};
  }

 private:
  Pointer data_ = nullptr;
  Dims shape_;
  DType dtype_ = DType::f32;
  Device device_;
};

using View = BasicView<void*>;
using ConstView = BasicView<const void*>;

}  // namespace weft
