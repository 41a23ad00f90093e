// The journal of leased work: records that are only ever appended, each as length, CRC32C and a
// Protobuf message. What has been synced is never lost; an unfinished end is cut off.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/wire.pb.h"

namespace whyrec::cluster {

uint32_t Crc32c(std::string_view bytes);

// The bytes below a journal: a file; in tests a disk that forgets what was not synced.
class JournalFile {
 public:
  virtual ~JournalFile() = default;
  virtual std::string name() const = 0;
  virtual uint64_t Size() = 0;
  virtual std::string Read(uint64_t offset, size_t n) = 0;  // shorter at the end
  virtual void Append(std::string_view bytes) = 0;
  virtual void Sync() = 0;
  virtual void Truncate(uint64_t size) = 0;
};

// Created when absent, locked for this process: Error(kUsage) when another one has it.
// Error(kCannotWrite) from here on when the disk refuses.
std::unique_ptr<JournalFile> OpenJournalFile(const std::filesystem::path& file);

class Journal {
 public:
  // Reads what stands, calling replay(record, offset) for every record after the header, cuts off a
  // torn end and syncs. Error(kData) when the file is no journal, or one of other work than
  // `header` says.
  Journal(std::unique_ptr<JournalFile> file, const wire::JournalHeader& header,
          const std::function<void(const wire::JournalRecord&, uint64_t)>& replay);

  // Returns the record's offset. It is gathered in memory until Sync.
  uint64_t Append(const wire::JournalRecord& record);
  bool gathered() const { return !gathered_.empty(); }
  void Sync();  // all that was appended is on the disk

  wire::JournalRecord Read(uint64_t offset);  // of a synced record; Error(kData) when it is broken
  uint64_t torn_bytes() const { return torn_bytes_; }  // that the start cut off

 private:
  bool ReadAt(uint64_t offset, wire::JournalRecord& record, uint64_t& next);
  void CheckHeader(const wire::JournalRecord& first, const wire::JournalHeader& header) const;

  std::unique_ptr<JournalFile> file_;
  uint64_t end_ = 0;  // of the records on the disk
  uint64_t torn_bytes_ = 0;
  std::string gathered_;
};

}  // namespace whyrec::cluster
