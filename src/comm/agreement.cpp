#include "comm/agreement.h"

#include "core/check.h"

namespace weft {

void agree(Communicator& world, const std::string& error, Stream& stream) {
  const int first = world.all_reduce_value<std::int32_t>(error.empty() ? world.size() : world.rank(), ReduceOp::min, stream);
  if (first == world.size()) return;
  auto size = static_cast<std::int64_t>(error.size());
  world.broadcast(View(&size, Dims{1}), first, stream);
  std::string text = world.rank() == first ? error : std::string(static_cast<std::size_t>(size), '\0');
  world.broadcast(View(static_cast<void*>(text.data()), DType::u8, {size}), first, stream);
  throw UserError(text);
}

void on_first_rank(Communicator& world, Stream& stream, const std::function<void()>& body) {
  agree(world, world.rank() == 0 ? caught(body) : "", stream);
}

}  // namespace weft
