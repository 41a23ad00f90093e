// The journal of leased work: an append-only file of records, each a length, a CRC32C and a
// Protobuf message. Synced records are never lost; an incomplete last record is cut off.
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

// Created when absent, locked for this process: Error(kUsage) when another process holds the lock.
// Its methods throw Error(kCannotWrite) when writing fails.
std::unique_ptr<JournalFile> OpenJournalFile(const std::filesystem::path& file);

class Journal {
 public:
  // Reads the existing records, calling replay(record, offset) for each after the header, cuts off
  // an incomplete last one and syncs. Error(kData) when the file is not a journal, or is the
  // journal of other work than `header` says.
  Journal(std::unique_ptr<JournalFile> file, const wire::JournalHeader& header,
          const std::function<void(const wire::JournalRecord&, uint64_t)>& replay);

  // Returns the record's offset. Records are buffered in memory until Sync.
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
