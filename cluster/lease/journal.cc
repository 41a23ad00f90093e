#include "cluster/lease/journal.h"

#include <array>

#include "src/base/error.h"

namespace whyrec::cluster {
namespace {

constexpr std::string_view kMagic = "wrLEASE\n";
constexpr size_t kPrefix = 8;                    // length and CRC32C, little-endian
constexpr uint32_t kLongest = 64 * 1024 * 1024;  // a record; more is not ours

void Put32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xff);
}

uint32_t Get32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

// CRC32C (Castagnoli), eight bytes a step: kTables[k][b] is the CRC of byte b and k zero bytes.
using Tables = std::array<std::array<uint32_t, 256>, 8>;
constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k)
    for (size_t b = 0; b < 256; ++b)
      tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 0xff];
  return tables;
}
constexpr Tables kTables = MakeTables();

uint32_t Continue(uint32_t crc, std::string_view bytes) {
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    const uint32_t low = crc ^ Get32(bytes);
    uint32_t next = 0;
    for (size_t i = 0; i < 4; ++i) {
      next ^= kTables[7 - i][low >> 8 * i & 0xff];
      next ^= kTables[3 - i][static_cast<unsigned char>(bytes[4 + i])];
    }
    crc = next;
  }
  for (const char byte : bytes)
    crc = crc >> 8 ^ kTables[0][(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  return crc;
}

// Over the length too: a wrong length must not make another record look whole.
uint32_t Check(std::string_view length, std::string_view payload) {
  return ~Continue(Continue(~0u, length), payload);
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) { return Check({}, bytes); }

Journal::Journal(std::unique_ptr<JournalFile> file, const wire::JournalHeader& header,
                 const std::function<void(const wire::JournalRecord&, uint64_t)>& replay)
    : file_(std::move(file)) {
  const std::string magic = file_->Read(0, kMagic.size());
  if (!kMagic.starts_with(magic))
    Fail(Exit::kData, file_->name(), ": is not a journal of leased work; move it away");

  wire::JournalRecord record;
  uint64_t next = 0;
  end_ = kMagic.size();
  const bool stands = magic == kMagic && ReadAt(end_, record, next);
  if (!stands) {  // new, or its first sync was interrupted: nothing was ever acknowledged
    const uint64_t size = file_->Size();
    if (size > 4096 + header.ByteSizeLong())
      Fail(Exit::kData, file_->name(), ": the journal's header is broken; move it away");
    file_->Truncate(0);
    record.mutable_header()->CopyFrom(header);
    gathered_ = kMagic;
    end_ = 0;
    Append(record);
    Sync();
    return;
  }
  CheckHeader(record, header);
  for (end_ = next; ReadAt(end_, record, next); end_ = next) replay(record, end_);
  torn_bytes_ = file_->Size() - end_;
  if (torn_bytes_ > 0) file_->Truncate(end_);
  file_->Sync();  // data written by a killed process may not be on disk yet
}

void Journal::CheckHeader(const wire::JournalRecord& first,
                          const wire::JournalHeader& header) const {
  const wire::JournalHeader& stored = first.header();
  auto refuse = [&](const std::string& why) {
    Fail(Exit::kData, file_->name(), ": the journal belongs to other work (", why,
         "); remove it or use another folder");
  };
  if (!first.has_header()) refuse("it has no header");
  if (stored.version() != header.version())
    refuse(Cat("format ", stored.version(), ", here ", header.version()));
  if (stored.job() != header.job()) refuse(Cat("identity ", stored.job(), ", here ", header.job()));
  if (stored.units() != header.units())
    refuse(Cat(stored.units(), " units, here ", header.units()));
  if (stored.costs() != header.costs()) refuse("the units' costs differ");
}

bool Journal::ReadAt(uint64_t offset, wire::JournalRecord& record, uint64_t& next) {
  const std::string prefix = file_->Read(offset, kPrefix);
  if (prefix.size() < kPrefix) return false;
  const uint32_t length = Get32(prefix);
  if (length > kLongest || length > file_->Size() - offset - kPrefix) return false;
  const std::string payload = file_->Read(offset + kPrefix, length);
  if (payload.size() != length ||
      Check(std::string_view(prefix).substr(0, 4), payload) != Get32(prefix.substr(4)))
    return false;
  next = offset + kPrefix + length;
  // An empty payload is what zeroed pages would look like, were their CRC right.
  return length > 0 && record.ParseFromString(payload);
}

uint64_t Journal::Append(const wire::JournalRecord& record) {
  const uint64_t offset = end_ + gathered_.size();
  const std::string payload = record.SerializeAsString();
  WR_CHECK(payload.size() <= kLongest, payload.size());
  const size_t at = gathered_.size();
  Put32(gathered_, static_cast<uint32_t>(payload.size()));
  Put32(gathered_, Check(std::string_view(gathered_).substr(at), payload));
  gathered_ += payload;
  return offset;
}

void Journal::Sync() {
  if (gathered_.empty()) return;
  file_->Append(gathered_);
  file_->Sync();
  end_ += gathered_.size();
  gathered_.clear();
}

wire::JournalRecord Journal::Read(uint64_t offset) {
  wire::JournalRecord record;
  uint64_t next = 0;
  if (!ReadAt(offset, record, next))
    Fail(Exit::kData, file_->name(), ": the record at byte ", offset, " is broken");
  return record;
}

}  // namespace whyrec::cluster
