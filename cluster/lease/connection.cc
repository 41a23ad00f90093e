#include "cluster/lease/connection.h"

#include <google/protobuf/message_lite.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include "src/base/error.h"

namespace whyrec::cluster {

Connection::Connection(boost::asio::ip::tcp::socket socket, size_t limit)
    : socket_(std::move(socket)), reader_(limit), chunk_(64 << 10, '\0') {
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  socket_.set_option(boost::asio::socket_base::keep_alive(true), ignored);
  const auto peer = socket_.remote_endpoint(ignored);
  if (!ignored) peer_ = Cat(peer.address().to_string(), ":", peer.port());
}

void Connection::Start(Events events) {
  events_ = std::move(events);
  outbox_ = std::string(kPreamble) + outbox_;
  Write();
  Read();
}

void Connection::Read() {
  auto self = shared_from_this();
  socket_.async_read_some(
      boost::asio::buffer(chunk_), [self](const boost::system::error_code& error, size_t n) {
        if (!self->open_) return;
        if (error) return self->Lose("");
        self->reader_.Feed({self->chunk_.data(), n});
        std::string frame;
        auto got = FrameReader::Got::kMore;
        while (self->open_ && (got = self->reader_.Next(frame)) == FrameReader::Got::kFrame)
          if (!self->closing_) self->events_.frame(frame);
        if (!self->open_) return;
        if (got == FrameReader::Got::kBroken) return self->Lose(self->reader_.problem());
        self->Read();
      });
}

void Connection::Send(const google::protobuf::MessageLite& message) {
  if (!open_ || closing_) return;
  outbox_ += Frame(message.SerializeAsString());
  if (writing_.empty()) Write();
}

void Connection::Write() {
  if (outbox_.empty()) {
    // Closing with unread bytes would take our last words from the other side: it closes first.
    boost::system::error_code ignored;
    if (closing_) socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
    return;
  }
  writing_.swap(outbox_);
  auto self = shared_from_this();
  boost::asio::async_write(socket_, boost::asio::buffer(writing_),
                           [self](const boost::system::error_code& error, size_t) {
                             if (!self->open_) return;
                             if (error) return self->Lose("");
                             self->writing_.clear();
                             self->Write();
                           });
}

void Connection::CloseAfterSending() {
  closing_ = true;
  if (open_ && writing_.empty()) Write();
}

void Connection::Close() {
  if (!open_) return;
  open_ = false;
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void Connection::Lose(const std::string& problem) {
  Close();
  if (auto lost = std::exchange(events_.lost, nullptr)) lost(problem);
}

}  // namespace whyrec::cluster
