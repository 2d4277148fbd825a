// A file that ranks fill together. The one source of io/ that sees MPI: HDF5 wants its handle.
#include <hdf5.h>

#include "comm/agreement.h"
#include "comm/mpi_communicator.h"
#include "core/check.h"
#include "io/hdf5/hdf5.h"
#include "io/hdf5/impl.h"

namespace weft {

bool Hdf5File::Impl::any(bool mine) const {
  if (!group) return mine;
  return group->all_reduce_value<std::int32_t>(mine, ReduceOp::max, *stream) != 0;
}

void Hdf5File::fill_together(const std::filesystem::path& rank_0s, Communicator& group,
                             Stream& stream, const std::function<void(Hdf5File&)>& body) {
  const std::filesystem::path file = gather_texts(group, rank_0s.string(), stream)[0];
  Hdf5File out(std::make_unique<Impl>());
  Impl& impl = *out.impl_;
  impl.path = file;
  impl.writes = true;
  impl.group = &group;
  impl.stream = &stream;
  // Nothing that fails on one rank may keep it from the collective close; and where not all have
  // opened it, closing would wait for ranks that have nothing to close: it stays open (~Impl).
  throw_together(group, failure_of([&] {
                   const Hdf5Handle access = hdf5_access(Hdf5Lock::none);
                   const auto comm = mpi_comm_of(group);
                   // Opened by each for itself, ranks would overwrite what others have written.
                   CHECK(comm || group.size() == 1, "{}: a group of {} ranks without MPI's handle",
                         file.string(), group.size());
                   if (comm)
                     CHECK_MACHINE(H5Pset_fapl_mpio(access, *comm, MPI_INFO_NULL) >= 0,
                                   "{}: parallel access failed ({})", file.string(),
                                   hdf5_reason().text);
                   impl.file = H5Fopen(file.c_str(), H5F_ACC_RDWR, access);
                   CHECK_MACHINE(impl.file >= 0, "{}: cannot be opened for writing ({})",
                                 file.string(), hdf5_reason().text);
                 }),
                 stream);
  auto failure = failure_of([&] { body(out); });
  const auto closed = failure_of([&] { out.close(failure.has_value()); });
  throw_together(group, failure ? failure : closed, stream);
}

}  // namespace weft
