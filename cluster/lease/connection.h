// Frames over one TCP connection (Boost.Asio); for coordinator.cc and socket_link.cc.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "cluster/lease/frames.h"

namespace google::protobuf {
class MessageLite;
}

namespace whyrec::cluster {

// All calls and callbacks are on the thread that runs the socket's io_context.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Events {
    std::function<void(const std::string& frame)> frame;
    // Once, unless Close came first. `problem` is set when the other side broke the protocol.
    std::function<void(const std::string& problem)> lost;
  };

  Connection(boost::asio::ip::tcp::socket socket, size_t limit);
  void Start(Events events);  // sends the preamble, begins to read
  void Send(const google::protobuf::MessageLite& message);
  void set_limit(size_t limit) { reader_.set_limit(limit); }
  // Sends what is queued, then shuts down sending; received frames are ignored. `lost` is called
  // when the other side closes.
  void CloseAfterSending();
  void Close();  // no callback follows
  bool open() const { return open_; }
  std::string peer() const { return peer_; }

 private:
  void Read();
  void Write();
  void Lose(const std::string& problem);

  boost::asio::ip::tcp::socket socket_;
  FrameReader reader_;
  Events events_;
  std::string peer_, chunk_, outbox_, writing_;
  bool open_ = true, closing_ = false;
};

}  // namespace whyrec::cluster
