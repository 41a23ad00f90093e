#include "cluster/collective/by_place.h"

#include <cstdlib>

#include "cluster/collective/module.h"
#include "src/base/error.h"
#include "src/base/log.h"

namespace whyrec::cluster {
namespace {

class ByPlace final : public Communicator {
 public:
  ByPlace(std::shared_ptr<Communicator> host, std::unique_ptr<Communicator> devices,
          std::string why)
      : host_(std::move(host)), why_(std::move(why)), devices_(std::move(devices)) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  void AllReduce(void* values, int64_t count, DType dtype, Reduce op, Place at) override {
    Of(at).AllReduce(values, count, dtype, op, at);
  }
  std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype, Reduce op,
                                          Place at) override {
    return Of(at).StartAllReduce(values, count, dtype, op, at);
  }
  void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype, Reduce op,
                     Place at) override {
    Of(at).ReduceScatter(values, own, counts, dtype, op, at);
  }
  void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at) override {
    Of(at).AllGatherInto(own, all, bytes, at);
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    return host_->AllGather(bytes, n);
  }
  void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                Place at) override {
    Of(at).AllToAll(in, send, out, receive, at);
  }
  void Broadcast(void* bytes, size_t n, int root, Place at) override {
    Of(at).Broadcast(bytes, n, root, at);
  }
  void Barrier(Waiting waiting) override { host_->Barrier(waiting); }
  void Abort(int code) override { host_->Abort(code); }

 private:
  Communicator& Of(const Place& at) {
    if (at.kind == Place::Kind::kHost) return *host_;
    if (!devices_) Fail(Exit::kLaunch, "buffers of devices need NCCL, which is not used: ", why_);
    return *devices_;
  }

  std::shared_ptr<Communicator> host_;
  std::string why_;
  std::unique_ptr<Communicator> devices_;  // last: it ends over the host
};

// The device of this rank; without one, why.
struct OwnDevice {
  int device = -1;
  std::string why;
};

OwnDevice ChooseDevice(const Launch& launch, const std::string& wanted) {
  const char* use = std::getenv("WHYREC_NCCL");
  if (use != nullptr && std::string(use) == "off") return {.why = "WHYREC_NCCL is off"};
  try {
    const WhyrecNcclTable& table = NcclTable();
    int visible = 0, cuda = 0;
    const bool answers = table.device_count(&visible, &cuda) == 0;
    const std::string why = answers ? "no device is visible" : table.explain();
    const std::string name = DeviceName(wanted, launch, answers ? visible : 0, why);
    if (name == "cpu") return {.why = why};
    return {.device = std::stoi(name.substr(name.find(':') + 1)), .why = ""};
  } catch (const Error& e) {
    return {.why = e.what()};
  }
}

// Of the first rank that has no device; "" when all have one. `some`: any has.
std::string WhyNot(Communicator& host, const OwnDevice& mine, bool& some) {
  std::string first;
  int rank = 0;
  for (const auto& block : host.AllGather(mine.why.data(), mine.why.size())) {
    const std::string why(reinterpret_cast<const char*>(block.data()), block.size());
    if (why.empty())
      some = true;
    else if (first.empty())
      first = Cat("rank ", rank, ": ", why);
    ++rank;
  }
  return first;
}

}  // namespace

std::unique_ptr<Communicator> MakeByPlace(std::shared_ptr<Communicator> host,
                                          std::unique_ptr<Communicator> devices,
                                          const std::string& why) {
  return std::make_unique<ByPlace>(std::move(host), std::move(devices), why);
}

std::unique_ptr<Communicator> WithNccl(std::shared_ptr<Communicator> host, const Launch& launch,
                                       const CommunicatorOptions& options) {
  const OwnDevice mine = ChooseDevice(launch, options.device);
  bool some = false;
  std::string why = WhyNot(*host, mine, some);
  std::unique_ptr<Communicator> nccl;
  const bool demanded = options.device.starts_with("cuda");
  try {
    if (!why.empty() && demanded && why.find("WHYREC_NCCL") == why.npos) Fail(Exit::kLaunch, why);
    if (why.empty()) nccl = MakeNccl(*host, mine.device, options);
  } catch (const Error& e) {  // decided from all ranks' devices, so the same on every rank
    if (demanded) throw;
    why = e.what();
  }
  if (!nccl && some && host->rank() == 0) Warn("NCCL is not used: " + why);
  return MakeByPlace(std::move(host), std::move(nccl), why);
}

}  // namespace whyrec::cluster
