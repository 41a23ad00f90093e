// Opens libwhyrec_mpi.so and libwhyrec_nccl.so at run time, so that the program also starts on
// machines without MPI or NCCL.
#pragma once

#include <string>

#include "cluster/collective/mpi_table.h"
#include "cluster/collective/nccl_table.h"

namespace whyrec::cluster {

// The address of `symbol` in lib<name>.so, looked for beside the program, then by name.
// Error(kLaunch) with `need` ("several ranks need MPI") and `remedy` when it cannot be opened.
void* OpenModule(const std::string& name, const char* symbol, const std::string& need,
                 const std::string& remedy);

// The modules' tables. Error(kLaunch) when a module is missing.
const WhyrecMpiTable& MpiTable();
const WhyrecNcclTable& NcclTable();

}  // namespace whyrec::cluster
