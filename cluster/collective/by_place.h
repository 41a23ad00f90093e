// A communicator that sends host buffers over one communicator and device buffers over another.
#pragma once

#include <memory>

#include "cluster/collective/communicator.h"

namespace whyrec::cluster {

// Device buffers go over `devices`; host buffers, barriers and the shutdown over `host`. When
// `devices` is null, a device buffer is an Error(kLaunch) that says `why`. `devices` is destroyed
// first.
std::unique_ptr<Communicator> MakeByPlace(std::shared_ptr<Communicator> host,
                                          std::unique_ptr<Communicator> devices,
                                          const std::string& why = "");

// Adds NCCL for the devices that the ranks choose by options.device, provided each rank has a GPU
// of its own. Otherwise: with "auto" the job continues without NCCL, with a warning if there are
// GPUs; when GPUs are asked for, an Error(kLaunch) says what is missing, the same on all ranks.
// WHYREC_NCCL=off switches NCCL off. All ranks must call it.
std::unique_ptr<Communicator> WithNccl(std::shared_ptr<Communicator> host, const Launch& launch,
                                       const CommunicatorOptions& options);

}  // namespace whyrec::cluster
