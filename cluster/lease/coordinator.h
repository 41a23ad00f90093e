// The coordinator of leased work: a LeaseService on a thread of its own, for workers of this
// process and, when it listens, for others over TCP.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cluster/lease/link.h"
#include "cluster/lease/service.h"

namespace whyrec::cluster {

class Coordinator {
 public:
  struct Options {
    std::string listen;                               // IP address; "": no socket
    uint16_t port = 0;                                // 0: the system chooses
    std::function<void(const LeaseTable&)> progress;  // from the coordinator's thread
  };

  // The service belongs to the coordinator's thread until Stop. Error(kLaunch) when the address
  // cannot be listened on.
  Coordinator(LeaseService& service, Options options);
  ~Coordinator();

  uint16_t port() const;
  std::unique_ptr<Link> LocalLink();  // for a worker in this process; ends before the coordinator
  // Whether all units are done or set aside and that is on disk. Rethrows an exception that ended
  // the coordinator's thread.
  bool Finished() const;
  size_t sessions() const;
  void Drain(wire::End::Reason reason);
  // Waits that long for workers to disconnect, then closes all connections.
  void Stop(double grace_seconds);

 private:
  struct State;
  class Local;
  std::shared_ptr<State> state_;
};

}  // namespace whyrec::cluster
