// Two communicators of the same ranks as one.
#pragma once

#include <memory>

#include "cluster/collective/communicator.h"

namespace whyrec::cluster {

// Buffers on a device go over `devices`, those of the host, barriers and the end over `host`. Where
// `devices` is null, a device buffer is an Error(kLaunch) that says `why`. `devices` ends first.
std::unique_ptr<Communicator> MakeByPlace(std::shared_ptr<Communicator> host,
                                          std::unique_ptr<Communicator> devices,
                                          const std::string& why = "");

// Adds NCCL for the devices that the ranks choose by options.device, when all of them have one of
// their own. With "auto" the job goes on without, and says so where there are devices; when devices
// are asked for, what is missing is an Error(kLaunch), the same on all ranks. WHYREC_NCCL=off
// leaves it out. All ranks call it.
std::unique_ptr<Communicator> WithNccl(std::shared_ptr<Communicator> host, const Launch& launch,
                                       const Options& options);

}  // namespace whyrec::cluster
