// A worker's connection to its coordinator: a socket, or a direct call within rank 0's process.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "proto/wire.pb.h"

namespace whyrec::cluster {

class Link {
 public:
  // Called from the link's thread, one at a time, until the link is destroyed.
  struct Events {
    std::function<void()> connected;  // again after every loss
    std::function<void(const wire::FromCoordinator&)> message;
    std::function<void()> lost;                            // and it will try to reconnect
    std::function<void(const std::string& why)> given_up;  // and it will not
  };

  virtual ~Link() = default;
  virtual void Start(Events events) = 0;
  // From any thread; what is sent while there is no connection is dropped.
  virtual void Send(wire::FromWorker message) = 0;
};

// Where the coordinator is. It may start later than its workers, and at another port after a
// restart, so a file is read again before every try.
struct CoordinatorAddress {
  std::string address;                 // host:port; else
  std::filesystem::path address_file;  // with host:port, or "finished"
  double patience = 60;                // seconds of trying before giving up
};

std::unique_ptr<Link> MakeSocketLink(const CoordinatorAddress& where);

}  // namespace whyrec::cluster
