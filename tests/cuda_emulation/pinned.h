// Copies between pinned and device memory that the host has not waited for: the host must neither
// write what they read nor touch what they write. No hook hears the host, so what is read is
// compared with what it was, and what is written is closed (device_memory.h) meanwhile.
#pragma once

#include "accesses.h"

namespace weft::emulation {

void pinned_copy_begins(const Range& range, const Stamp& copy, const Clock& clock);
// Of a copy that runs now, or of all that the host has now waited for. Throws a Fault.
void pinned_copy_runs(const Stamp& copy);
void host_has_waited(const Clock& host);
void forget_pinned(const void* memory, std::size_t bytes);  // it is freed
void forget_pinned_copies();                                // after a fault

}  // namespace weft::emulation
