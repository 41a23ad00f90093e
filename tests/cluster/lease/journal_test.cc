// The journal against every cut and every flipped bit; the CRC against published values.
#include "cluster/lease/journal.h"

#include <gtest/gtest.h>

#include <fstream>

#include "src/base/error.h"
#include "tests/cluster/lease/world.h"
#include "tests/store/temporary.h"

namespace whyrec::cluster {
namespace {

// Check value of the CRC catalogues; the others are from RFC 3720, B.4.
TEST(Crc32c, HasThePublishedValues) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(Crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(Crc32c(""), 0u);
}

wire::JournalHeader Header(const std::string& job = "job") {
  wire::JournalHeader header;
  header.set_version(1);
  header.set_job(job);
  header.set_units(3);
  return header;
}

wire::JournalRecord DoneRecord(int64_t unit) {
  wire::JournalRecord record;
  record.mutable_done()->set_unit(unit);
  record.mutable_done()->set_result(Cat("result ", unit));
  return record;
}

class JournalTest : public testing::Test {
 protected:
  // Opens what stands on the disk; the units found.
  std::vector<int64_t> Open(Disk& disk, uint64_t* torn = nullptr) {
    std::vector<int64_t> units;
    Journal journal(std::make_unique<SimulatedFile>(disk, rng_), Header(),
                    [&](const wire::JournalRecord& record, uint64_t offset) {
                      units.push_back(record.done().unit());
                      offsets_.push_back(offset);
                    });
    if (torn != nullptr) *torn = journal.torn_bytes();
    return units;
  }
  Disk Written(int64_t units) {
    Disk disk;
    Journal journal(std::make_unique<SimulatedFile>(disk, rng_), Header(), {});
    for (int64_t unit = 0; unit < units; ++unit) {
      journal.Append(DoneRecord(unit));
      journal.Sync();
      ends_.push_back(disk.content.size());
    }
    return disk;
  }

  Rng rng_{1, "journal"};
  std::vector<uint64_t> offsets_;
  std::vector<size_t> ends_;
};

TEST_F(JournalTest, EveryCutLeavesTheRecordsBefore) {
  const Disk whole = Written(3);
  for (size_t length = 0; length <= whole.content.size(); ++length) {
    Disk disk{.content = whole.content.substr(0, length)};
    const auto expected =
        static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), length) - ends_.begin());
    uint64_t torn = 0;
    EXPECT_EQ(Open(disk, &torn).size(), expected) << length;
    if (expected > 0) {
      EXPECT_EQ(torn, length - ends_[expected - 1]) << length;
    }
    EXPECT_EQ(disk.content, disk.durable) << length;
    EXPECT_EQ(Open(disk, &torn).size(), expected) << "again after a cut at " << length;
    EXPECT_EQ(torn, 0u);
  }
}

TEST_F(JournalTest, EveryFlippedBitIsNoticed) {
  const Disk whole = Written(3);
  for (size_t at = ends_[0]; at < whole.content.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Disk disk = whole;
      disk.content[at] ^= static_cast<char>(1 << bit);
      EXPECT_EQ(Open(disk).size(), at < ends_[1] ? 1u : 2u) << at << " " << bit;
    }
  }
}

TEST_F(JournalTest, ZeroedPagesAreNoRecords) {
  Disk disk = Written(2);
  disk.content.append(4096, '\0');
  EXPECT_EQ(Open(disk).size(), 2u);
  EXPECT_EQ(disk.content.size(), ends_[1]);
}

void ExpectRefused(Disk disk, const wire::JournalHeader& header, const std::string& why) {
  Rng rng(1, "refused");
  const std::string before = disk.content;
  try {
    Journal journal(std::make_unique<SimulatedFile>(disk, rng), header, {});
    ADD_FAILURE() << "not refused: " << why;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kData);
    EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what();
  }
  EXPECT_EQ(disk.content, before) << "touched";
}

TEST_F(JournalTest, OtherFilesAreRefusedAndLeftAlone) {
  const Disk disk = Written(1);
  ExpectRefused(disk, Header("another"), "identity job, here another");
  wire::JournalHeader header = Header();
  header.set_units(4);
  ExpectRefused(disk, header, "3 units, here 4");
  header = Header();
  header.set_version(2);
  ExpectRefused(disk, header, "format 1, here 2");
  header = Header();
  header.set_costs("x");
  ExpectRefused(disk, header, "costs differ");
  ExpectRefused({.content = "a diary"}, Header(), "is not a journal of leased work");
}

TEST_F(JournalTest, RecordsAreReadBackFromAFile) {
  const Temporary folder;
  const std::filesystem::path file = folder / "journal";
  std::vector<uint64_t> offsets;
  {
    Journal journal(OpenJournalFile(file), Header(), {});
    EXPECT_THROW(OpenJournalFile(file), Error) << "locked";
    for (int64_t unit = 0; unit < 100; ++unit) offsets.push_back(journal.Append(DoneRecord(unit)));
    EXPECT_TRUE(journal.gathered());
    journal.Sync();
    EXPECT_EQ(journal.Read(offsets[42]).done().result(), "result 42");
  }
  std::ofstream(file, std::ios::app | std::ios::binary) << "torn";
  std::vector<uint64_t> found;
  Journal journal(OpenJournalFile(file), Header(),
                  [&](const wire::JournalRecord&, uint64_t offset) { found.push_back(offset); });
  EXPECT_EQ(found, offsets);
  EXPECT_EQ(journal.torn_bytes(), 4u);
  journal.Append(DoneRecord(100));
  journal.Sync();
  EXPECT_EQ(journal.Read(found.back()).done().unit(), 99);
  EXPECT_THROW(journal.Read(found[1] + 1), Error);
}

}  // namespace
}  // namespace whyrec::cluster
