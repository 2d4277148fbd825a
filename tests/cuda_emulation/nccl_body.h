// NCCL as nccl.cpp emulates it.
#pragma once

#define WEFT_NCCL_ABSENCE() std::string()
#define WEFT_FIND_IN_NCCL(function) &::function
