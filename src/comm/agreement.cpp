#include "comm/agreement.h"

#include "core/check.h"

namespace weft {

void throw_together(Communicator& world, const std::optional<Failure>& mine, Stream& stream) {
  const int first = world.all_reduce_value<std::int32_t>(mine ? world.rank() : world.size(),
                                                         ReduceOp::min, stream);
  if (first == world.size()) return;
  Failure failure = mine.value_or(Failure{});
  std::int64_t head[2] = {static_cast<std::int64_t>(failure.kind),
                          static_cast<std::int64_t>(failure.text.size())};
  world.broadcast(View(head, Dims{2}), first, stream);
  failure.kind = static_cast<FailureKind>(head[0]);
  if (world.rank() != first) failure.text.assign(static_cast<std::size_t>(head[1]), '\0');
  world.broadcast(View(static_cast<void*>(failure.text.data()), DType::u8, {head[1]}), first,
                  stream);
  rethrow(failure);
}

void on_first_rank(Communicator& world, Stream& stream, const std::function<void()>& body) {
  throw_together(world, world.rank() == 0 ? failure_of(body) : std::nullopt, stream);
}

std::vector<std::string> gather_texts(Communicator& world, const std::string& text,
                                      Stream& stream) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(world.size()));
  const auto mine = static_cast<std::int64_t>(text.size());
  world.all_gather(View(sizes.data(), Dims{world.size()}), ConstView(&mine, Dims{1}), stream);
  std::int64_t total = 0;
  for (const std::int64_t size : sizes) total += size;
  std::string joined(static_cast<std::size_t>(total), '\0');
  world.all_gather(View(static_cast<void*>(joined.data()), DType::u8, {total}),
                   ConstView(static_cast<const void*>(text.data()), DType::u8, {mine}), sizes,
                   stream);
  std::vector<std::string> all;
  std::size_t at = 0;
  for (const std::int64_t size : sizes) {
    all.push_back(joined.substr(at, static_cast<std::size_t>(size)));
    at += static_cast<std::size_t>(size);
  }
  return all;
}

}  // namespace weft
