// The started MPI of a test program that runs on several ranks.
#pragma once

#include "comm/communicator.h"

weft::Mpi& test_mpi();
